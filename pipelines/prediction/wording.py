"""How figures and pictures stand on the page of a predicted part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset.report.markup import Html, png, table
from lpbf_dataset.report.text import NARROW_SPACE, number, unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def mm(value: float) -> str:
    """Write a length with its unit."""
    return f"{length(value)}{NARROW_SPACE}mm"


def length(value: float) -> str:
    """Write a number of millimetres; nothing printed is measured to less than a micrometre."""
    return f"<{NARROW_SPACE}0.001" if 0.0 < value < 0.001 else short(value)


def short(value: float) -> str:
    """Three significant digits: no prediction is good for more."""
    return number(float(f"{value:.3g}"))


def field_table(caption: str, fields: Mapping[str, Any]) -> Html:
    """Tabulate the range of each field, as `pipelines.prediction.figures.figures` gives it."""
    rows = [
        (name, *(short(of[end]) for end in ("min", "max")), unit(of["unit"])) for name, of in fields.items()
    ]
    return table((caption, "least", "largest", "unit"), rows, numeric=(1, 2))


def picture(path: Path, description: str) -> Html:
    """Embed a picture; nothing where there is none."""
    return png(path.read_bytes(), description) if path.is_file() else Html("")
