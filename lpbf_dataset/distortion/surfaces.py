"""Surfaces whose vertices can follow a distortion, and which keep their triangles meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.mesh.edge_splitting import split_long_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray


def refined(surface: trimesh.Trimesh, longest_edge: float) -> trimesh.Trimesh:
    """Add vertices to a surface, as a flat face of two triangles cannot warp.

    Parameters
    ----------
    surface : trimesh.Trimesh
        It is left as it is.
    longest_edge : float
        Longest edge that is left, in the unit of the surface.  Two of the finest cells of the solver resolve
        all that its field has to tell.

    Returns
    -------
    trimesh.Trimesh
        The same shape, as closed as it was; the vertices of `surface` come first.

    Raises
    ------
    ValueError
        If the length is not positive or takes too many triangles; see `split_long_edges`.
    """
    vertices, faces = split_long_edges(surface.vertices, surface.faces, longest_edge)
    return trimesh.Trimesh(vertices, faces, process=False)


def moved(surface: trimesh.Trimesh, vertices: NDArray[np.floating]) -> trimesh.Trimesh:
    """Return the same triangles with their corners elsewhere, (v, 3)."""
    return trimesh.Trimesh(np.asarray(vertices, dtype=np.float64), surface.faces, process=False)


def vertex_areas(surface: trimesh.Trimesh) -> NDArray[np.float64]:
    """Area that each vertex stands for, (v,) float64: a third of that of its triangles."""
    areas = np.zeros(len(surface.vertices))
    np.add.at(areas, surface.faces, surface.area_faces[:, None] / 3.0)
    return areas
