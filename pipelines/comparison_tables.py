"""Tables of a comparison, the same for the console, a web page and LaTeX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.comparison import metric_names
from pipelines.evaluation_groups import OVERALL, TITLES

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
        return figures(self.mean, self.mean)

    @property
    def interval(self) -> str:
        """Bounds to as many places as the mean, in brackets; empty if there are none."""
        if math.isnan(self.low):
            return ""
        return f"[{figures(self.low, self.mean)}, {figures(self.high, self.mean)}]"

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
    """Names of the runs that predict a target, the lowest mean relative L2 error first."""
    errors = comparison[
        (comparison["target"] == target)
        & (comparison["group"] == OVERALL)
        & (comparison["metric"] == "relative_l2")
    ]
    return [str(name) for name in errors.sort_values("mean", kind="stable")["run"]]


def overview(comparison: pd.DataFrame, target: str) -> Table:
    """Every metric over all cases.

    Parameters
    ----------
    comparison : DataFrame
        As `pipelines.comparison.compare` makes it.
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
