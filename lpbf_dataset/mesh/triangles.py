"""Loose triangles, as an STL file has them, joined into a surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from trimesh import Trimesh


def welded(triangles: NDArray[np.floating]) -> Trimesh:
    """Join triangles at the corners that they share.

    Parameters
    ----------
    triangles : (n, 3, 3) float ndarray
        Corners of each triangle, finite.

    Returns
    -------
    trimesh.Trimesh
        Corners that trimesh holds to be equal (1e-8 apart at most, in the unit of `triangles`) are one
        vertex.  Triangles of which two corners are one are left out: single precision may merge corners of
        a thin triangle, which then is an edge and bounds nothing, but would count as a gap.
    """
    from trimesh import Trimesh

    corners = triangles.reshape(-1, 3).astype(np.float64)
    surface = Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=True)
    surface.update_faces((np.diff(np.sort(surface.faces, axis=1), axis=1) > 0).all(axis=1))
    return surface


def is_closed(surface: Trimesh) -> bool:
    """Tell whether a surface has an inside: it has triangles, two at every edge."""
    # To trimesh, no triangles at all are watertight.
    return len(surface.faces) > 0 and bool(surface.is_watertight)
