"""A comparison as Markdown tables, for a README or an issue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.comparison.tables import Estimate, overview

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from pipelines.comparison.tables import Table


def markdown(comparison: pd.DataFrame) -> str:
    """Write the overview of each target as a table of GitHub-flavoured Markdown.

    Parameters
    ----------
    comparison : DataFrame
        As `pipelines.comparison.compare.compare` makes it.
    """
    tables = (overview(comparison, target) for target in comparison["target"].unique())
    return "\n\n".join("\n".join(markdown_lines(table)) for table in tables) + "\n"


def markdown_lines(table: Table) -> Iterator[str]:
    """Write a table under its title in bold."""
    yield f"**{escape(table.title)}**"
    yield ""
    yield _row(map(escape, table.headers))
    yield _row("---" if column < table.texts else "---:" for column in range(len(table.headers)))
    for row in table.rows:
        yield _row(
            f"{cell.value} {cell.details(counted=table.counted)}".strip()
            if isinstance(cell, Estimate)
            else escape(cell)
            for cell in row
        )


def escape(text: str) -> str:
    r"""Write text so that Markdown shows it as it is.

    >>> print(escape("run_1 | <b>"))
    run\_1 \| \<b\>
    """
    return re.sub(r"([\\`*_{}\[\]<>()#|&~!])", r"\\\1", text)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
