"""What is written on a picture: names, units, headings and colour bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import pyvista as pv
from PIL import ImageFont

from lpbf_dataset.schema import VARIABLES, resolve_scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpbf_dataset import Case

INK = "#222222"
FAINT_INK = "#606060"

_UNITS = {"degC": "°C", "percent": "%", "1": ""}

# Height of the letters relative to that of the picture: 31 and 22 pixels of 900.
HEADING_SIZE = 0.034
TEXT_SIZE = 0.025


def field_label(name: str) -> str:
    """Name of a scalar field in words.

    Parameters
    ----------
    name : str
        As `lpbf_dataset.Case.scalar` takes it.

    Returns
    -------
    str
        ``"von Mises stress"``, ``"displacement z"``; ``"displacement magnitude"`` for a whole vector
        or tensor.
    """
    variable, component = resolve_scalar(name)
    if component is not None:
        return name.replace("_", " ")
    if VARIABLES[variable].component is not None:
        return name.replace("_", " ") + " magnitude"
    return VARIABLES[variable].long_name


def field_units(name: str) -> str:
    """Units of a scalar field as engineers write them; empty where it has none."""
    units = VARIABLES[resolve_scalar(name)[0]].units
    return _UNITS.get(units, units)


def with_units(label: str, units: str) -> str:
    """``"displacement z [mm]"``, or the label alone where there are no units."""
    return f"{label} [{units}]" if units else label


def case_label(case: Case) -> str:
    """Name of a case and the split that it belongs to."""
    return f"case {case.case_id} ({case.split} split)" if case.split else f"case {case.case_id}"


def deformation_label(factor: float) -> str:
    """How much the drawn deformation is exaggerated."""
    return f"deformation \N{MULTIPLICATION SIGN} {factor:g}" if factor else "undeformed"


def add_text(
    plotter: pv.Plotter,
    text: str,
    position: tuple[float, float],
    *,
    size: float = TEXT_SIZE,
    align: Literal["left", "center", "right"] = "center",
    color: str = INK,
) -> None:
    """Write on the active panel.

    Parameters
    ----------
    plotter : pyvista.Plotter
        The scene.
    text : str
        One line.
    position : (float, float)
        Where the line starts, is centred, or ends, vertically centred, as fractions of the panel.
    size : float, optional
        Height of the letters, as a fraction of that of the whole picture; less where the line would
        be wider than the panel.
    align : {"left", "center", "right"}, optional
        Which part of the line is at `position`.
    color : str, optional
        Colour of the letters.
    """
    actor = plotter.add_text(
        text, position=position, viewport=True, color=color, font_file=str(font_file()), render=False
    )
    actor.prop.font_size = _fitting(text, _pixels(plotter, size), plotter.renderer.width)
    actor.prop.justification_horizontal = align
    actor.prop.justification_vertical = "center"


def add_bar(
    plotter: pv.Plotter,
    mapper: pv.DataSetMapper,
    title: str,
    box: tuple[float, float, float, float],
    *,
    vertical: bool = False,
    labels: int = 5,
    text_size: float = TEXT_SIZE,
) -> None:
    """Draw the colour bar of a surface on the active panel, with its title above.

    Parameters
    ----------
    plotter : pyvista.Plotter
        The scene.
    mapper : pyvista.DataSetMapper
        Of the surface, which may be on another panel.
    title : str
        With units.
    box : (float, float, float, float)
        Left, bottom, width and height of the bar with its labels, as fractions of the panel.
    vertical : bool, optional
        Which way the bar runs; a vertical bar belongs at the right edge of the picture.
    labels : int, optional
        How many numbers stand beside it.
    text_size : float, optional
        Height of the letters, as for `add_text`.
    """
    left, bottom, width, height = box
    bar = plotter.scalar_bars.add_scalar_bar(
        mapper=mapper,
        n_labels=labels,
        fmt="%.4g",
        vertical=vertical,
        position_x=left,
        position_y=bottom,
        width=width,
        height=height,
        unconstrained_font_size=True,
        unique_bar=True,
    )
    lettering = pv.TextProperty(color=INK, font_file=str(font_file()))
    lettering.font_size = _pixels(plotter, text_size)
    bar.SetLabelTextProperty(lettering)
    title_height = bottom + height + 1.6 * text_size * plotter.window_size[1] / plotter.renderer.height
    if vertical:
        # The bar is narrow and stands at the edge of the picture: a centred title would run out of it.
        add_text(plotter, title, (0.985, title_height), size=text_size, align="right")
    else:
        add_text(plotter, title, (left + width / 2, title_height), size=text_size)


def add_label(plotter: pv.Plotter, text: str, point: Sequence[float]) -> None:
    """Write at a point in space, on the active panel; it follows the camera."""
    plotter.add_point_labels(
        [point],
        [text],
        font_size=_pixels(plotter, TEXT_SIZE),
        font_file=str(font_file()),
        text_color=INK,
        shape=None,
        show_points=False,
        always_visible=True,
        reset_camera=False,
        render=False,
    )


def font_file(*, mono: bool = False) -> Path:
    """Return DejaVu Sans of matplotlib: easier to read, and with more signs, than VTK's own fonts."""
    name = "DejaVuSansMono.ttf" if mono else "DejaVuSans.ttf"
    return Path(mpl.get_data_path(), "fonts", "ttf", name)


def _fitting(text: str, pixels: int, width: int) -> int:
    """Size of letters in which a line is no wider than a panel; measured in that font, to scale."""
    if not text:
        return pixels
    drawn = ImageFont.truetype(font_file(), 100).getlength(text) / 100
    return min(pixels, max(6, int(0.97 * width / drawn)))


def _pixels(plotter: pv.Plotter, fraction: float) -> int:
    return max(8, round(fraction * plotter.window_size[1]))
