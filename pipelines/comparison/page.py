"""A comparison as one HTML file that loads nothing, runs no script and may be passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset import __version__
from lpbf_dataset.report.markup import Html, document, element, join, page_style, section
from lpbf_dataset.report.markup import table as html_table
from pipelines.comparison.bootstrap import RESAMPLES
from pipelines.comparison.compare import notes
from pipelines.comparison.figures import distribution, intervals, reliability
from pipelines.comparison.groups import OVERALL
from pipelines.comparison.tables import Estimate, calibration_tables, detail_tables, overview, ranked
from pipelines.scoring.calibration import LEVELS
from pipelines.scoring.metrics import PUBLISHED_MEAN, PUBLISHED_STD
from pipelines.steps.plots import has_steps, steps_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from lpbf_dataset.report.markup import Section
    from pipelines.comparison.compare import Entry
    from pipelines.comparison.tables import Cell, Table

_TITLE = "LPBF surrogates compared"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
td { overflow-wrap: break-word; }
td small { display: block; color: var(--muted); }
table { margin-bottom: 0.5rem; }
"""
_DEFINITIONS = (
    ("relative L2", "‖prediction - truth‖ / ‖truth‖ over the nodes of a case, in physical units"),
    ("R2", "1 - squared error / squared deviation of the truth from its mean over the nodes of the case"),
    ("MAE, P95 error, max error", "mean, 95th percentile and maximum of |prediction - truth| over the nodes"),
    (
        "published_relative_l2",
        "not a physical error, but what the published LPBF figures are: their code decodes the target with a "
        f"random affine map, ‖s (prediction - truth)‖ / ‖s truth + m‖ with s = {PUBLISHED_STD} and "
        f"m = {PUBLISHED_MEAN}",
    ),
    (
        "interval",
        f"95 % percentile bootstrap interval of the mean over cases, {RESAMPLES} resamples of whole designs: "
        "bodies of one design resemble each other",
    ),
    (
        "displacement",
        "the whole vector: norms over nodes and components, and of a node the length of the difference",
    ),
    (
        "error more than the best",
        "mean over the cases that both runs were scored on of the relative L2 error less that of the best "
        "run on the same case, with its interval from the paired bootstrap: a run is worse if the whole "
        "interval is above 0",
    ),
    (
        "spread / error",
        "of an ensemble or other uncertainty: root mean square over nodes of the standard deviation, times "
        "√(1 + 1/K) for K members, over that of the error; 1 is right, less is too sure",
    ),
    (
        "in 50 %, in 95 %, ...",
        "share of the nodes whose truth is in the central interval of that probability, of Student's t with "
        "K - 1 degrees of freedom for K members, else of a Gaussian",
    ),
    ("calibration error", f"mean of |share - probability| over {len(LEVELS)} such intervals"),
    (
        "negative log likelihood, rank correlation",
        "mean over nodes for a Gaussian, in nats; Spearman's, of |error| and standard deviation over nodes",
    ),
    (
        "sibling or duplicate in train",
        "a body of the same design, or one of nearly the same shape, is among the training cases",
    ),
    ("surface nodes, interior nodes", "the same metrics over these nodes of each case alone"),
    (
        "rolled out, teacher-forced",
        "of a model of the steps of builds all figures are means over the steps of a case, up to the removal "
        "of the plate unless it learnt that too: each step predicted from the prediction of the one before, "
        "or from the truth",
    ),
)


def page(entries: Sequence[Entry], comparison: pd.DataFrame) -> str:
    """Write the page.

    Parameters
    ----------
    entries : sequence of Entry
        What was compared.
    comparison : DataFrame
        As `pipelines.comparison.compare.compare` makes it of them.

    Returns
    -------
    str
        The same comparison gives the same page.
    """
    sections = [_target(entries, comparison, str(target)) for target in comparison["target"].unique()]
    sections.append(section("What the columns mean", "definitions", html_table(("", ""), _DEFINITIONS)))
    sections.append(_provenance(entries))
    style = page_style() + _STYLE
    body = element(
        "body",
        element(
            "header", element("h1", _TITLE), element("p", f"lpbf-toolkit {__version__}", class_="subtitle")
        ),
        *(element("p", note, class_="warning") for note in notes(entries)),
        element("nav", *(element("a", part.title, href=f"#{part.anchor}") for part in sections)),
        element("main", *(part.html() for part in sections)),
    )
    return document(_TITLE, _POLICY, Html(style), body)


def _target(entries: Sequence[Entry], comparison: pd.DataFrame, target: str) -> Section:
    overall = overview(comparison, target)
    order = ranked(comparison, target)
    by_name = {entry.name: entry for entry in entries}
    column = overall.headers.index("relative L2")
    estimates = [row[column] for row in overall.rows]
    parts = [
        _table(overall),
        intervals(order, [estimate for estimate in estimates if isinstance(estimate, Estimate)]),
        element("h3", "Share of the cases below an error"),
        distribution([by_name[name] for name in order], target),
    ]
    of_steps = [by_name[name] for name in order if has_steps(by_name[name].scores)]
    if of_steps:
        parts += [element("h3", "Error over the build"), steps_figure(of_steps, target)]
    for table in calibration_tables(comparison, target):
        parts += [element("h3", table.title), _table(table), reliability(_coverages(comparison, target))]
    for table in detail_tables(comparison, target):
        parts += [element("h3", table.title), _table(table)]
    return section(overall.title, target, *parts)


def _coverages(comparison: pd.DataFrame, target: str) -> dict[str, list[float]]:
    """Mean over cases of the coverage at each level, of the runs with uncertainty."""
    chosen = comparison[(comparison["target"] == target) & (comparison["group"] == OVERALL)]
    means = {str(run): rows.set_index("metric")["mean"] for run, rows in chosen.groupby("run")}
    return {
        run: means[run][list(LEVELS)].tolist()
        for run in ranked(comparison, target)
        if set(LEVELS) <= set(means[run].index)
    }


def _table(table: Table) -> Html:
    rows = [[_cell(cell, counted=table.counted) for cell in row] for row in table.rows]
    return html_table(table.headers, rows, numeric=range(table.texts, len(table.headers)))


def _cell(cell: Cell, *, counted: bool) -> str:
    if not isinstance(cell, Estimate):
        return cell
    return join((cell.value, element("small", cell.details(counted=counted))))


def _provenance(entries: Sequence[Entry]) -> Section:
    headers = ("run", "model", "scored on", "split by", "cases", "designs")
    rows = (
        (
            entry.name,
            entry.model,
            entry.data,
            entry.split_method,
            f"{len(entry.cases)} {entry.split}",
            str(entry.scores["design_id"].nunique()),
        )
        for entry in entries
    )
    return section("What was compared", "runs", html_table(headers, rows, numeric=(5,)))
