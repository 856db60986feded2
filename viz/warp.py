"""The deformed part, with its displacement exaggerated until it can be seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pyvista as pv

from lpbf_dataset.mesh.boundary import boundary
from viz.cuts import visible_surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.sources.base import Step
    from viz.cuts import Cut, Mesh

Warp: TypeAlias = float | Literal["auto"]
"""Factor that exaggerates the displacement, or "auto" for `automatic_warp`."""

DRAWN_FRACTION = 0.1
"""Largest displacement as `automatic_warp` draws it, relative to the longest side of the part."""


def automatic_warp(points: NDArray[np.floating], displacement: NDArray[np.floating]) -> float:
    """Factor that makes a displacement visible.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Undeformed, mm.
    displacement : (n, 3) float ndarray
        mm.

    Returns
    -------
    float
        The largest number of one significant digit that draws the largest displacement as at most
        a tenth of the longest side of the part (and so as more than a twentieth); 1 where this
        would shrink it, or where nothing moves.
    """
    largest = float(np.linalg.norm(displacement, axis=1).max())
    if largest == 0.0:
        return 1.0
    factor = DRAWN_FRACTION * float(np.ptp(points, axis=0).max()) / largest
    if factor < 1.0:
        return 1.0
    digit = 10 ** math.floor(math.log10(factor))
    return float(math.floor(factor / digit) * digit)


def warp_factor(points: NDArray[np.floating], displacement: NDArray[np.floating], warp: Warp) -> float:
    """Factor to draw a displacement with, computed where `warp` is "auto"."""
    return automatic_warp(points, displacement) if warp == "auto" else warp


def hexahedra(case: Case | Step) -> pv.UnstructuredGrid:
    """Undeformed mesh of a case, or of a step of its build, without data."""
    return pv.UnstructuredGrid({pv.CellType.HEXAHEDRON: case.cells}, case.points)


def deformed_surface(
    mesh: Mesh,
    values: NDArray[np.floating],
    displacement: NDArray[np.floating],
    factor: float,
    *,
    cut: Cut | None = None,
) -> pv.PolyData:
    """Surface of a part where a displacement takes it, with one number per node.

    Parameters
    ----------
    mesh : pyvista.UnstructuredGrid or pyvista.PolyData
        The part, undeformed, in mm.
    values : (n,) float ndarray
        Put on the surface as its point data ``"values"``.
    displacement : (n, 3) float ndarray
        mm.
    factor : float
        Exaggeration of the displacement.
    cut : Slice, Clip, ClipBox or Threshold, optional
        What to show of the part; all by default.

    Returns
    -------
    pyvista.PolyData
        In mm.

    Raises
    ------
    SceneError
        If the cut leaves nothing.
    """
    surface = visible_surface(mesh, values, displacement, cut)
    surface.points += np.float32(factor) * np.asarray(surface["displacement"], np.float32)
    return surface


def sharp_edges(mesh: Mesh) -> pv.PolyData:
    """Lines where the undeformed surface of a part turns by more than 30 degrees, or ends."""
    if isinstance(mesh, pv.UnstructuredGrid):
        # Faces between cells of different size lie inside: they have no edges to show.
        outside = boundary(
            np.asarray(mesh.points), np.asarray(mesh.cell_connectivity.reshape(-1, 8), np.int32)
        )
        mesh = pv.PolyData.from_regular_faces(outside.vertices, outside.triangles.astype(int))
    return mesh.extract_feature_edges(non_manifold_edges=False, clear_data=True)
