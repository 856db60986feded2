"""A scene of one field on one part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv
from matplotlib import colormaps

from viz.annotations import (
    FAINT_INK,
    HEADING_SIZE,
    INK,
    add_bar,
    add_text,
    case_label,
    deformation_label,
    field_label,
    field_units,
    with_units,
)
from viz.camera import look_at
from viz.colors import field_scale
from viz.warp import deformed_surface, warp_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from viz.colors import ColorScale
    from viz.warp import Warp

DEFAULT_SIZE = (1600, 900)

# Much of the light comes from everywhere: faces in the shade keep the colour that the bar names.
AMBIENT = 0.55
DIFFUSE = 0.5


class SceneError(ValueError):
    """A case cannot be drawn as it is."""


def field_scene(
    case: Case,
    field: str,
    *,
    warp: Warp = "auto",
    size: tuple[int, int] = DEFAULT_SIZE,
    off_screen: bool = True,
) -> pv.Plotter:
    """Draw one field on the deformed part.

    Parameters
    ----------
    case : Case
        The part.
    field : str
        Scalar field, component of a vector, or vector (its magnitude), as `Case.scalar` takes it.
    warp : float or "auto", optional
        Factor that exaggerates the displacement; 0 draws the undeformed part.
    size : (int, int), optional
        Width and height in pixels.
    off_screen : bool, optional
        Draw into memory, or else into a window.

    Returns
    -------
    pyvista.Plotter
        Its ``show`` opens the window, its ``screenshot`` gives the image.

    Raises
    ------
    KeyError
        If the case has no such field.
    SceneError
        If the field or the displacement is not finite everywhere.
    """
    values = case.scalar(field)
    require_finite(values, f"{field} of case {case.case_id}")
    displacement = np.asarray(case.displacement, np.float32)
    require_finite(displacement, f"displacement of case {case.case_id}")
    factor = warp_factor(case, displacement, warp)

    plotter = pv.Plotter(window_size=list(size), off_screen=off_screen)
    surface = deformed_surface(case, values, displacement, factor)
    actor = add_surface(plotter, surface, field_scale(field, values))
    label = field_label(field)
    add_bar(
        plotter, actor.mapper, with_units(label, field_units(field)), (0.87, 0.2, 0.06, 0.62), vertical=True
    )
    add_text(plotter, f"{label}, {case_label(case)}", (0.5, 0.945), size=HEADING_SIZE)
    add_text(plotter, deformation_label(factor), (0.985, 0.04), align="right", color=FAINT_INK)
    finish_panel(plotter, surface.points, (0.12, 0.08, 0.82, 0.88))
    return plotter


def add_surface(plotter: pv.Plotter, surface: pv.PolyData, scale: ColorScale) -> pv.Actor:
    """Draw a surface of `viz.warp.deformed_surface` on the active panel, without a colour bar."""
    return plotter.add_mesh(
        surface,
        scalars="values",
        cmap=colormaps[scale.cmap],
        clim=scale.limits,
        show_scalar_bar=False,
        show_edges=True,
        edge_color="black",
        edge_opacity=0.2,
        line_width=max(1.0, plotter.window_size[1] / 900),
        ambient=AMBIENT,
        diffuse=DIFFUSE,
        reset_camera=False,
        render=False,
    )


def finish_panel(
    plotter: pv.Plotter, points: NDArray[np.floating], frame: tuple[float, float, float, float]
) -> None:
    """Give the active panel its axes, smooth edges and a camera with the points in the frame."""
    plotter.renderer.add_axes(color=INK, line_width=3, viewport=(0.0, 0.0, 0.24, 0.28))
    plotter.enable_anti_aliasing("ssaa", all_renderers=False)
    look_at(plotter.renderer, points, frame)


def require_finite(values: NDArray[np.floating], what: str) -> None:
    """Refuse numbers that no colour or place can stand for.

    Raises
    ------
    SceneError
        If a value is infinite or not a number.
    """
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise SceneError(f"{what} cannot be drawn: {bad} of {values.size} values are not finite")
