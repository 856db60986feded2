"""Tables of a comparison, the same for the console, a web page and LaTeX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.comparison.compare import metric_names
from pipelines.comparison.groups import OVERALL, TITLES
from pipelines.comparison.paired import PAIRED
from pipelines.scoring.calibration import NAMES as CALIBRATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

HEADINGS = {
    "relative_l2": "relative L2",
    "r2": "R2",
    "mean_absolute_error": "MAE",
    "p95_absolute_error": "P95 error",
    "max_absolute_error": "max error",
    "published_relative_l2": "published_relative_l2",
    "spread_skill_ratio": "spread / error",
    "calibration_error": "calibration error",
    "coverage_50": "in 50 %",
    "coverage_68": "in 68 %",
    "coverage_90": "in 90 %",
    "coverage_95": "in 95 %",
    "negative_log_likelihood": "negative log likelihood",
    "error_spread_correlation": "rank correlation",
}

_WITH_INTERVAL = ("relative_l2", "published_relative_l2")
_SIGNIFICANT = 3


class Estimate(NamedTuple):
    """A mean over cases, with the bounds of its confidence interval: NaN if there is none."""

    mean: float
    low: float
    high: float
    cases: int

    @property
    def value(self) -> str:
        """The mean."""
        return figures(self.mean, self._scale)

    @property
    def interval(self) -> str:
        """Bounds to as many places as the mean, in brackets; empty if there are none."""
        if math.isnan(self.low):
            return ""
        return f"[{figures(self.low, self._scale)}, {figures(self.high, self._scale)}]"

    @property
    def _scale(self) -> float:
        """What the digits are counted from: not from a mean that may as well be zero."""
        return self.mean if not self.low <= 0 <= self.high else max(-self.low, self.high)

    def details(self, *, counted: bool) -> str:
        """Write the interval and, if asked for, the number of cases."""
        count = f"{self.cases} case{'s' if self.cases != 1 else ''}" if counted else ""
        return ", ".join(filter(None, (self.interval, count)))


Cell = str | Estimate


@dataclass(frozen=True)
class Table:
    """A table with a row for each run.

    Parameters
    ----------
    title : str
        What it shows.
    headers : tuple of str
        Heads of the columns.
    rows : tuple of tuple of str or Estimate
        Cells, as many as headers.
    texts : int
        How many of the first columns are words; the others are numbers.
    counted : bool
        Whether the number of cases of each estimate is to be shown with it.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: int
    counted: bool = False


def figures(value: float, scale: float) -> str:
    """Write a number to the decimal places that give `scale` three significant digits.

    >>> figures(0.0185, 0.0185), figures(0.02, 0.0185), figures(1234.5, 1234.5)
    ('0.0185', '0.0200', '1234')
    """
    if not (math.isfinite(value) and math.isfinite(scale)):
        return str(value)
    magnitude = math.floor(math.log10(abs(scale))) if scale else 0
    # Values that all round to nothing are better told by their power of ten.
    if magnitude < -_SIGNIFICANT - 1:
        return f"{value:.{_SIGNIFICANT - 1}e}"
    return f"{value:.{max(_SIGNIFICANT - 1 - magnitude, 0)}f}"


def heading(metric: str, unit: str) -> str:
    """Head of the column of a metric, with its unit where it has one."""
    return f"{HEADINGS[metric]} [{unit}]" if metric.endswith("error") else HEADINGS[metric]


def ranked(comparison: pd.DataFrame, target: str) -> list[str]:
    """Names of the runs that predict a target, the lowest mean relative L2 error first.

    Those on stores that are split alike stand together, as the others are tested on other cases.
    """
    errors = comparison[
        (comparison["target"] == target)
        & (comparison["group"] == OVERALL)
        & (comparison["metric"] == "relative_l2")
    ]
    methods = list(errors["split_method"].unique())
    errors = errors.assign(method=errors["split_method"].map(methods.index))
    return [str(name) for name in errors.sort_values(["method", "mean"], kind="stable")["run"]]


def overview(comparison: pd.DataFrame, target: str) -> Table:
    """Every metric over all cases.

    Parameters
    ----------
    comparison : DataFrame
        As `pipelines.comparison.compare.compare` makes it.
    target : str
        One of its targets.
    """
    chosen = comparison[(comparison["target"] == target) & (comparison["group"] == OVERALL)]
    described = ["model", "split_method", *(["data"] if len(set(chosen["data"])) > 1 else [])]
    unit, names = chosen["unit"].iloc[0], metric_names(target)
    rows = []
    for run in ranked(comparison, target):
        of_run = _by(chosen[chosen["run"] == run], "metric")
        first = of_run["relative_l2"]
        cells: list[Cell] = [run, *(str(first[name]) for name in described), str(first["cases"])]
        for name in names:
            estimate = _estimate(of_run[name])
            cells.append(estimate if name in _WITH_INTERVAL else estimate.value)
            if name == "relative_l2":
                median = of_run[name]["median"]
                cells.append(figures(median, median))
        rows.append(tuple(cells))
    heads = [heading(name, unit) for name in names]
    headers = ("run", *(name.replace("split_method", "split by") for name in described), "cases")
    return Table(
        f"{target} [{unit}], {chosen['split'].iloc[0]} cases",
        (*headers, heads[0], "its median", *heads[1:]),
        tuple(rows),
        1 + len(described),
    )


def detail_tables(comparison: pd.DataFrame, target: str) -> Iterator[Table]:
    """Whatever there is to show of a target besides its overview and the calibration."""
    yield from differences_tables(comparison, target)
    yield from split_method_tables(comparison, target)
    yield from group_tables(comparison, target)


def differences_tables(comparison: pd.DataFrame, target: str) -> Iterator[Table]:
    """Relative L2 error of each run less that of the best on the same cases, if there are several runs."""
    chosen = comparison[(comparison["target"] == target) & (comparison["group"] == PAIRED)]
    if chosen.empty:
        return
    by_run = _by(chosen, "run")
    rows = tuple(
        (run, str(by_run[run]["level"]), _estimate(by_run[run]))
        for run in ranked(comparison, target)
        if run in by_run
    )
    headers = ("run", "best run", "error more than the best")
    yield Table("Difference of the relative L2 on the same cases", headers, rows, 2, counted=True)


def split_method_tables(comparison: pd.DataFrame, target: str) -> Iterator[Table]:
    """Relative L2 error of each model by how the store was split, if runs are on stores split differently."""
    chosen = comparison[
        (comparison["target"] == target)
        & (comparison["group"] == OVERALL)
        & (comparison["metric"] == "relative_l2")
    ]
    methods = list(chosen["split_method"].unique())
    if len(methods) < 2:
        return
    best: dict[tuple[str, str], Estimate] = {}
    for row in chosen.sort_values("mean", kind="stable").to_dict("records"):
        model = str(row["model"] or row["run"])
        best.setdefault((model, row["split_method"]), _estimate({str(name): row[name] for name in row}))
    rows = tuple(
        (model, *(best.get((model, method), "") for method in methods))
        for model in dict.fromkeys(model for model, _ in best)
    )
    title = "Relative L2 by how the store was split, best run of each model"
    headers = ("model", *(f"by {method}" if method else "unknown" for method in methods))
    yield Table(title, headers, rows, 1, counted=True)


def calibration_tables(comparison: pd.DataFrame, target: str) -> Iterator[Table]:
    """Uncertainty against error, if there are runs with uncertainty."""
    chosen = comparison[(comparison["target"] == target) & (comparison["group"] == OVERALL)]
    names = [name for name in CALIBRATION if name in HEADINGS]
    rows = []
    for run in ranked(comparison, target):
        of_run = _by(chosen[chosen["run"] == run], "metric")
        if names[0] in of_run:
            means = [of_run[name]["mean"] for name in names]
            rows.append((run, *(figures(mean, mean) for mean in means)))
    if rows:
        title = "Uncertainty compared with the error"
        yield Table(title, ("run", *(HEADINGS[name] for name in names)), tuple(rows), 1)


def group_tables(comparison: pd.DataFrame, target: str) -> Iterator[Table]:
    """Relative L2 error of each run in each group, a column for each level."""
    chosen = comparison[(comparison["target"] == target) & (comparison["metric"] == "relative_l2")]
    order = ranked(comparison, target)
    for group, title in TITLES.items():
        of_group = chosen[chosen["group"] == group]
        levels = tuple(of_group["level"].unique())
        if not levels:
            continue
        rows = []
        for run in (run for run in order if run in set(of_group["run"])):
            of_run = _by(of_group[of_group["run"] == run], "level")
            rows.append((run, *(_estimate(of_run[level]) if level in of_run else "" for level in levels)))
        yield Table(f"Relative L2 {title}", ("run", *levels), tuple(rows), 1, counted=True)


def _by(rows: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    """Rows by their value of a column."""
    return {
        str(row[column]): {str(name): value for name, value in row.items()} for row in rows.to_dict("records")
    }


def _estimate(row: dict[str, Any]) -> Estimate:
    return Estimate(row["mean"], row["low"], row["high"], row["cases"])


def console_lines(table: Table) -> Iterator[str]:
    """Write a table in columns of even width."""
    rows = [table.headers, *([_plain(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield table.title
    for row in rows:
        cells = (
            f"{text:<{width}}" if column < table.texts else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _plain(cell: Cell) -> str:
    return f"{cell.value} {cell.interval}".strip() if isinstance(cell, Estimate) else cell
