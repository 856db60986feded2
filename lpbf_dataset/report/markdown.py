"""Tables and text of others in Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lpbf_dataset.report.text import unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lpbf_dataset.schema import Variable


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; cells are Markdown as they stand."""
    lines = (headers, ["---"] * len(headers), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def variable_table(variables: Iterable[Variable]) -> str:
    """Tabulate ragged variables of a store."""
    rows = ((f"`{v.name}`", _shape(v), v.dtype, unit(v.units), v.long_name) for v in variables)
    return table(("variable", "shape", "type", "unit", "meaning"), rows)


def _shape(variable: Variable) -> str:
    return f"({', '.join((f'{variable.dim}s', *map(str, variable.row_shape)))})"


def escape(text: str) -> str:
    """Keep text that others wrote from being markup: one line, no Markdown, no HTML."""
    readable = " ".join(text.encode(errors="backslashreplace").decode().split())
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", readable)
