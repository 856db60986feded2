"""Displacement as arrows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv
from matplotlib import colormaps
from scipy.spatial import cKDTree

from viz.annotations import add_label, case_label
from viz.checks import finite_displacement
from viz.colors import field_scale
from viz.scenes import (
    AMBIENT,
    DEFAULT_SIZE,
    DIFFUSE,
    PART_FRAME,
    add_plain,
    annotate,
    finish_panel,
)
from viz.warp import automatic_warp, hexahedra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset import Case

_ENLARGEMENT = 2.0
"""Of arrows over deformed shapes, which show smaller displacements."""

_GAP = 0.06
"""Between the part and the arrow of the legend, relative to the longest side of the part."""


def arrows_scene(
    case: Case,
    *,
    count: int = 400,
    size: tuple[int, int] = DEFAULT_SIZE,
    off_screen: bool = True,
) -> pv.Plotter:
    """Draw the displacement of the surface as arrows from where the part was designed.

    Arrows are all exaggerated by one factor; a grey one in front of the part says how long a round
    displacement is drawn.

    Parameters
    ----------
    case : Case
        The part.
    count : int, optional
        Number of arrows, about; they are spread evenly over the surface.
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
        If the displacement is not finite everywhere.
    """
    displacement = finite_displacement(case)
    factor = _ENLARGEMENT * automatic_warp(case.points, displacement)
    mesh = hexahedra(case)
    surface = mesh.extract_surface(algorithm=None, pass_pointid=True, pass_cellid=False)
    nodes = np.asarray(surface["vtkOriginalPointIds"])
    chosen = nodes[evenly_spread(case.points[nodes], surface.area, count)]
    arrows = pv.PolyData(case.points[chosen])
    arrows["vectors"] = factor * displacement[chosen]
    arrows["values"] = np.linalg.norm(displacement[chosen], axis=1)

    plotter = pv.Plotter(window_size=list(size), off_screen=off_screen)
    add_plain(plotter, surface, opacity=0.3)
    scale = field_scale("displacement", case.scalar("displacement"))
    actor = plotter.add_mesh(
        arrows.glyph(orient="vectors", scale="vectors", geom=_arrow()),
        scalars="values",
        cmap=colormaps[scale.cmap],
        clim=scale.limits,
        show_scalar_bar=False,
        ambient=AMBIENT,
        diffuse=DIFFUSE,
        reset_camera=False,
        render=False,
    )
    legend = _add_legend(plotter, case.points, float(arrows["values"].max()), factor)
    note = f"arrows \N{MULTIPLICATION SIGN} {factor:g}"
    annotate(plotter, actor.mapper, "displacement", case_label(case), note)
    seen = [case.points, case.points[chosen] + arrows["vectors"], legend]
    finish_panel(plotter, np.concatenate(seen), PART_FRAME)
    return plotter


def evenly_spread(points: NDArray[np.floating], area: float, count: int) -> NDArray[np.intp]:
    """Choose points of a surface that lie about equally far from each other.

    Parameters
    ----------
    points : (n, 3) float ndarray
        On the surface, mm.
    area : float
        Of the surface, mm2.
    count : int
        How many are wanted, about.

    Returns
    -------
    (k,) intp ndarray
        Indices of `points`, ascending.  No two of the points are nearer to each other than the side of
        a square of the share of the area that each would have; all points, where they are further apart.
    """
    distance = math.sqrt(area / count)
    neighbours = cKDTree(points).query_ball_point(points, 0.999 * distance)
    free = np.ones(len(points), bool)
    chosen = []
    for index, near in enumerate(neighbours):
        if free[index]:
            chosen.append(index)
            free[near] = False
    return np.array(chosen, np.intp)


def _add_legend(
    plotter: pv.Plotter, points: NDArray[np.floating], largest: float, factor: float
) -> NDArray[np.floating]:
    """Draw an arrow of a round length in front of the part; returns its ends, (2, 3)."""
    low = points.min(axis=0)
    exponent = math.floor(math.log10(largest)) if largest > 0.0 else 0
    length = math.floor(largest / 10.0**exponent) * 10.0**exponent if largest > 0.0 else 1.0
    start = np.array([low[0], low[1] - _GAP * float(np.ptp(points, axis=0).max()), low[2]])
    end = start + np.array([factor * length, 0.0, 0.0])
    add_plain(plotter, _arrow().scale(factor * length).translate(start))
    add_label(plotter, f" {length:g} mm", end)
    return np.array([start, end])


def _arrow() -> pv.PolyData:
    """From the origin to 1 on the x axis."""
    return pv.Arrow(tip_length=0.35, tip_radius=0.13, shaft_radius=0.045)
