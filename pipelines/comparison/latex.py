"""A comparison as LaTeX tables of the booktabs package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.comparison.tables import Estimate, calibration_tables, detail_tables, overview

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from pipelines.comparison.tables import Cell, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A row that begins with a bracket would be taken for the option of the \\ before it.
    "[": "{[}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape(text: str) -> str:
    r"""Write text so that LaTeX shows it as it is.

    >>> print(escape("run_1 & 95 %"))
    run\_1 \& 95 \%
    """
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda found: _SPECIAL[found[0]], text)


def latex(comparison: pd.DataFrame) -> str:
    r"""Write a comparison as the tables of a paper, to be read by ``\input``.

    Parameters
    ----------
    comparison : DataFrame
        As `pipelines.comparison.compare.compare` makes it.

    Returns
    -------
    str
        For each target its overview, and a table of its calibration, of the differences between runs and of
        each of its groups.
    """
    lines = [r"% Needs \usepackage{booktabs}."]
    for target in comparison["target"].unique():
        total = overview(comparison, target)
        lines += _lines(total, f"{total.title}: mean over cases with its 95 % confidence interval")
        for table in (*calibration_tables(comparison, target), *detail_tables(comparison, target)):
            lines += _lines(table, f"{total.title}: {table.title}")
    return "\n".join(lines) + "\n"


def _lines(table: Table, caption: str) -> Iterator[str]:
    alignment = "l" * table.texts + "r" * (len(table.headers) - table.texts)
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{escape(caption)}.}}"
    yield r"\small"
    yield rf"\begin{{tabular}}{{{alignment}}}"
    yield r"\toprule"
    yield _row(map(escape, table.headers))
    yield r"\midrule"
    for row in table.rows:
        yield _row(_cell(cell, counted=table.counted) for cell in row)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, *, counted: bool) -> str:
    if not isinstance(cell, Estimate):
        return escape(cell)
    details = cell.details(counted=counted)
    return f"{cell.value} {{\\scriptsize {details}}}" if details else cell.value
