"""Many parts in one picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from viz.annotations import (
    FAINT_INK,
    HEADING_SIZE,
    TEXT_SIZE,
    add_bar,
    add_text,
    field_label,
    field_units,
    with_units,
)
from viz.camera import look_at
from viz.checks import finite_displacement, finite_scalar
from viz.colors import field_scale
from viz.grid import framed_grid
from viz.scenes import add_surface
from viz.warp import automatic_warp, deformed_surface, hexahedra

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from viz.colors import ColorScale

_WIDTH = 1600
_HEADING_PIXELS, _PANEL_ASPECT = 80, 0.8
_BAR_PIXELS, _NOTE_PIXELS = 110, 50


def gallery_scene(
    cases: Sequence[Case],
    field: str,
    *,
    title: str = "",
    columns: int | None = None,
    common_range: bool = True,
    off_screen: bool = True,
) -> pv.Plotter:
    """Draw a field on many deformed parts in a grid.

    Each part fills its own panel and is exaggerated by its own factor: sizes do not compare, but shapes do.

    Parameters
    ----------
    cases : sequence of Case
        At least one.
    field : str
        As for `viz.scenes.field_scene`.
    title : str, optional
        What the cases are, added to the heading.
    columns : int, optional
        Panels in a row; by default somewhat more columns than rows.
    common_range : bool, optional
        Colour all parts by one range, or each by its own, with a colour bar in its panel.
    off_screen : bool, optional
        Draw into memory, or else into a window.

    Returns
    -------
    pyvista.Plotter
        1600 pixels wide, and as high as the rows need.

    Raises
    ------
    KeyError
        If a case has no such field.
    SceneError
        If a field or a displacement is not finite everywhere.
    """
    values = [finite_scalar(case, field) for case in cases]
    columns = columns or math.ceil(math.sqrt(1.5 * len(cases)))
    rows = math.ceil(len(cases) / columns)
    heights = (
        _HEADING_PIXELS,
        round(_PANEL_ASPECT * _WIDTH / columns),
        _BAR_PIXELS if common_range else _NOTE_PIXELS,
    )
    size = _WIDTH, heights[0] + rows * heights[1] + heights[2]
    plotter = framed_grid(rows, columns, heights, size, off_screen=off_screen)
    common = field_scale(field, *values)
    name = with_units(field_label(field), field_units(field))
    for index, (case, numbers) in enumerate(zip(cases, values, strict=True)):
        row, column = divmod(index, columns)
        plotter.subplot(1 + row, column)
        scale = common if common_range else field_scale(field, numbers)
        actor = _add_part(plotter, case, numbers, scale, with_bar=not common_range)

    plotter.subplot(0, 0)
    heading = f"{field_label(field) if common_range else name}, {title or f'{len(cases)} cases'}"
    add_text(plotter, heading, (0.5, 0.5), size=HEADING_SIZE * 900 / plotter.window_size[1])
    plotter.subplot(rows + 1, 0)
    letters = TEXT_SIZE * 900 / plotter.window_size[1]
    if common_range:
        add_bar(plotter, actor.mapper, name, (0.3, 0.1, 0.4, 0.38), text_size=letters)
    note = "each part in its own size and exaggeration"
    add_text(plotter, note, (0.99, 0.25), size=0.8 * letters, align="right", color=FAINT_INK)
    return plotter


def _add_part(
    plotter: pv.Plotter, case: Case, values: NDArray[np.floating], scale: ColorScale, *, with_bar: bool
) -> pv.Actor:
    """Draw a part on the active panel, with its name and, if asked for, a colour bar of its own."""
    displacement = finite_displacement(case)
    factor = automatic_warp(case.points, displacement)
    surface = deformed_surface(hexahedra(case), values, displacement, factor)
    actor = add_surface(plotter, surface, scale)
    letters = 0.055 * plotter.renderer.height / plotter.window_size[1]
    add_text(plotter, case.case_id, (0.5, 0.95), size=letters)
    if with_bar:
        add_bar(plotter, actor.mapper, "", (0.15, 0.02, 0.7, 0.14), labels=3, text_size=letters)
    plotter.enable_anti_aliasing("ssaa", all_renderers=False)
    look_at(plotter.renderer, surface.points, (0.06, 0.19 if with_bar else 0.05, 0.94, 0.89))
    return actor
