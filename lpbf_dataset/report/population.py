"""Section on what the kept cases are like, beside the published set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lpbf_dataset.report import published
from lpbf_dataset.report.curation import known
from lpbf_dataset.report.figures import cell_quantiles, histogram
from lpbf_dataset.report.markup import element, join, section, table
from lpbf_dataset.report.text import label, label_with_unit, number, percent, quantity

if TYPE_CHECKING:
    import pandas as pd

    from lpbf_dataset.report.curation import Curation
    from lpbf_dataset.report.markup import Section


def published_section(curation: Curation) -> Section:
    """Table of this set beside the published one, with the quantiles of the cells per case."""
    counts = curation.split_counts()
    rows = [
        _count("simulated cases", len(curation.readable), published.SIMULATED_CASES),
        _count("kept cases", len(curation.kept), published.KEPT_CASES),
        *(_count(f"{name} cases", counts[name], there) for name, there in published.SPLIT_CASES.items()),
        _count("kept cases with a sibling", siblings(curation.kept), published.CASES_WITH_SIBLINGS),
        _statistic("mean", "simulated", curation.readable, "cells", published.SIMULATED_CELLS_MEAN),
    ]
    for summary, facts in (("mean", published.KEPT_MEANS), ("maximum", published.KEPT_MAXIMA)):
        rows += [_statistic(summary, "kept", curation.kept, name, value) for name, value in facts.items()]
    has_cells = "cells" in curation.distributions
    return section(
        "Beside the published set",
        "published",
        element("p", f"The published figures are those of {published.SOURCE}, and of its release."),
        table(("", "this set", "published", "this / published"), rows, numeric=(1, 2, 3)),
        *([element("h3", "Cells per case"), cell_quantiles(curation)] if has_cells else []),
    )


def siblings(cases: pd.DataFrame) -> int:
    """Count the cases that share their design with another of them."""
    return int(cases["design_id"].duplicated(keep=False).sum())


def _count(what: str, here: int, there: int) -> tuple[str, str, str, str]:
    return what, number(here), number(there), percent(here / there)


def _statistic(
    summary: str, group: str, cases: pd.DataFrame, statistic: str, there: float
) -> tuple[str, str, str, str]:
    values = known(cases, statistic) if statistic in cases else None
    here = math.nan
    if values is not None and len(values):
        here = float(values.mean() if summary == "mean" else values.max())
    ours = "" if math.isnan(here) else quantity(here, statistic)
    text = f"{summary} over {group} cases: {label(statistic)}"
    return text, ours, quantity(there, statistic), percent(here / there)


def statistics_section(curation: Curation) -> Section:
    """Histograms and a table of every statistic."""
    rows = []
    for name in curation.statistics:
        values = known(curation.kept, name)
        summary = (values.min(), *values.quantile([0.05, 0.5, 0.95]), values.max(), values.mean())
        rows.append((label_with_unit(name), number(len(values)), *map(number, summary)))
    headers = ("statistic", "cases", "minimum", "5 %", "median", "95 %", "maximum", "mean")
    figures = (histogram(curation, name) for name in curation.distributions)
    return section(
        "Statistics",
        "statistics",
        element("div", join(figures), class_="grid"),
        element("h3", "Kept cases"),
        table(headers, rows, numeric=range(1, len(headers))),
    )
