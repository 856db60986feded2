"""Shapes beside the shape that they should have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyvista as pv

from viz.annotations import FAINT_INK, HEADING_SIZE, add_bar, add_text, deformation_label
from viz.checks import SceneError, require_finite
from viz.colors import deviation_scale
from viz.grid import framed_grid
from viz.scenes import add_lines, add_surface, finish_panel
from viz.warp import deformed_surface, sharp_edges, warp_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from viz.warp import Warp

DEFAULT_SIZE = (1920, 800)
_HEADING, _SURFACES, _BAR = range(3)
_HEIGHTS = (11, 72, 17)


class Shape(NamedTuple):
    """A shape that a part has or may get.

    Parameters
    ----------
    caption : str
        What it is: ``"as printed"``.
    points : (n, 3) float ndarray
        Where the points of the nominal surface are on it, mm.
    deviation : (n,) float ndarray
        Signed distance from the nominal surface, positive outside it, mm.
    """

    caption: str
    points: NDArray[np.floating]
    deviation: NDArray[np.floating]


def deviation_scene(
    nominal: pv.PolyData,
    shapes: Sequence[Shape],
    title: str,
    *,
    warp: Warp = "auto",
    size: tuple[int, int] = DEFAULT_SIZE,
    off_screen: bool = True,
) -> pv.Plotter:
    """Draw shapes of a part side by side, coloured by how far they are from the nominal one.

    They share one colour range, one exaggeration and one camera; lines show the nominal shape.  Such
    shapes are the part as printed, the compensated part, and the compensated part as printed.

    Parameters
    ----------
    nominal : pyvista.PolyData
        The part as designed, mm.
    shapes : sequence of Shape
        At least one.
    title : str
        Which part it is.
    warp : float or "auto", optional
        Factor that exaggerates how far the shapes are from the nominal one.
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
    SceneError
        If a shape has not as many points as the nominal one, or a number is not finite.
    """
    for caption, points, deviation in shapes:
        if len(points) != nominal.n_points or len(deviation) != nominal.n_points:
            raise SceneError(f"{caption}, {title}: a point and a deviation are due for each nominal point")
        require_finite(points, f"{caption} of {title}")
        require_finite(deviation, f"deviation of {caption} of {title}")
    moves = [np.asarray(shape.points - nominal.points, np.float32) for shape in shapes]
    largest = max(moves, key=lambda move: float(np.linalg.norm(move, axis=1).max()))
    factor = warp_factor(np.asarray(nominal.points), largest, warp)
    bare = pv.PolyData(nominal.points, nominal.faces)
    surfaces = [
        deformed_surface(bare, shape.deviation, move, factor)
        for shape, move in zip(shapes, moves, strict=True)
    ]
    scale = deviation_scale(*(shape.deviation for shape in shapes))
    outline = sharp_edges(bare)
    seen = np.concatenate([bare.points, *(surface.points for surface in surfaces)])

    plotter = framed_grid(1, len(shapes), _HEIGHTS, size, off_screen=off_screen)
    for column, (shape, surface) in enumerate(zip(shapes, surfaces, strict=True)):
        plotter.subplot(_SURFACES, column)
        mapper = add_surface(plotter, surface, scale, edges=False).mapper
        add_lines(plotter, outline)
        add_text(plotter, shape.caption, (0.5, 0.96))
        add_text(plotter, _summary(shape.deviation), (0.5, 0.90), color=FAINT_INK)
        finish_panel(plotter, seen, (0.04, 0.06, 0.96, 0.85))
    plotter.link_views([plotter.renderers.loc_to_index((_SURFACES, column)) for column in range(len(shapes))])
    plotter.subplot(_HEADING, 0)
    add_text(plotter, f"deviation from the nominal shape, {title}", (0.5, 0.45), size=HEADING_SIZE)
    plotter.subplot(_BAR, 0)
    add_bar(plotter, mapper, "deviation, positive outwards [mm]", (0.3, 0.3, 0.4, 0.35))
    add_text(plotter, deformation_label(factor), (0.99, 0.2), align="right", color=FAINT_INK)
    return plotter


def _summary(deviation: NDArray[np.floating]) -> str:
    size = np.abs(deviation)
    rms = float(np.sqrt((size.astype(np.float64) ** 2).mean()))
    return f"RMS {rms:.2g} mm, 95 % within {np.percentile(size, 95):.2g} mm, largest {size.max():.2g} mm"
