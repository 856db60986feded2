"""Surfaces whose vertices can follow a distortion, and which keep their triangles meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.mesh.edge_collapse import collapse_short_edges
from lpbf_dataset.mesh.edge_flips import flipped_to_delaunay
from lpbf_dataset.mesh.edge_splitting import split_long_edges
from lpbf_dataset.mesh.flat_patches import flat_patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLATNESS = 2.5e-4
"""How far in mm from its plane a flat patch may stray, and the lowest triangle and shortest edge that count:
a quarter of a micrometre, a hundred times the rounding of an STL file of a part of 60 mm."""


MAX_ROUNDS = 8
"""Slivers that lie on slivers take a round each to get at the faces beside them; most parts have none."""


def refined(surface: trimesh.Trimesh, longest_edge: float) -> trimesh.Trimesh:
    """Triangulate a surface anew so that it can warp, as a flat face of two triangles cannot.

    Edges are added until none is too long, and those within flat patches are flipped for the best triangles.
    The shape stays within a micrometre: its vertices do, but for those closer than `FLATNESS` to another, and
    so do the edges between faces.

    Parameters
    ----------
    surface : trimesh.Trimesh
        In mm; it is left as it is.
    longest_edge : float
        Longest edge that is left, in mm.  Two of the finest cells of the solver resolve all that its field
        has to tell.

    Returns
    -------
    trimesh.Trimesh
        As closed as it was.

    Raises
    ------
    ValueError
        If the length is not positive or takes too many triangles; see `split_long_edges`.
    """
    vertices = np.asarray(surface.vertices)
    faces = _improved(vertices, surface.faces, np.inf)
    vertices, faces = split_long_edges(vertices, faces, longest_edge)
    faces = _improved(vertices, faces, longest_edge)
    used, faces = np.unique(faces, return_inverse=True)
    return trimesh.Trimesh(vertices[used], faces.reshape(-1, 3), process=False)


def _improved(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], longest_edge: float
) -> NDArray[np.int64]:
    """Rid a surface of needles and caps, as far as its vertices allow."""
    for _ in range(MAX_ROUNDS):
        faces = collapse_short_edges(vertices, faces, FLATNESS)
        patches = flat_patches(vertices, faces, FLATNESS)
        faces = flipped_to_delaunay(vertices, faces, patches, longest_edge)
        if (patches.labels >= 0).all():
            break
    return faces


def moved(surface: trimesh.Trimesh, vertices: NDArray[np.floating]) -> trimesh.Trimesh:
    """Return the same triangles with their corners elsewhere, (v, 3)."""
    return trimesh.Trimesh(np.asarray(vertices, dtype=np.float64), surface.faces, process=False)


def vertex_areas(surface: trimesh.Trimesh) -> NDArray[np.float64]:
    """Area that each vertex stands for, (v,) float64: a third of that of its triangles."""
    areas = np.zeros(len(surface.vertices))
    np.add.at(areas, surface.faces, surface.area_faces[:, None] / 3.0)
    return areas
