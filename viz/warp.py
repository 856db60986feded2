"""The deformed part, with its displacement exaggerated until it can be seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

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


def warp_factor(case: Case, displacement: NDArray[np.floating], warp: Warp) -> float:
    """Factor to draw a displacement with, computed where `warp` is "auto"."""
    return automatic_warp(case.points, displacement) if warp == "auto" else warp


def deformed_surface(
    case: Case, values: NDArray[np.floating], displacement: NDArray[np.floating], factor: float
) -> pv.PolyData:
    """Surface of the part where a displacement takes it, with one number per node.

    Where small cells hang on the face of a larger one, their shared face counts as surface too.
    It lies inside the part, out of sight.

    Parameters
    ----------
    case : Case
        The part.
    values : (nodes,) float ndarray
        Put on the surface as its point data ``"values"``.
    displacement : (nodes, 3) float ndarray
        mm.
    factor : float
        Exaggeration of the displacement.

    Returns
    -------
    pyvista.PolyData
        In mm.
    """
    grid = case.to_pyvista()
    grid.clear_data()
    grid.points = case.points + np.float32(factor) * displacement
    grid.point_data["values"] = values
    return grid.extract_surface(algorithm=None)
