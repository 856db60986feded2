"""Flat patches of a triangulated surface: what a CAD program drew as one plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from lpbf_dataset.mesh.half_edges import twins

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CHAIN = 8
"""Slivers that lie side by side and join a patch one after the other."""


class FlatPatches(NamedTuple):
    """Triangles grouped by the planes they lie in.

    Attributes
    ----------
    labels : (m,) int64 ndarray
        Patch of each triangle, from 0; -1 for a sliver whose longest edge is that of another sliver, and for
        those beside such a pair.
    normals : (p, 3) float64 ndarray
        Unit normal of each patch.
    """

    labels: NDArray[np.int64]
    normals: NDArray[np.float64]


def flat_patches(vertices: NDArray[np.floating], faces: NDArray[np.integer], tolerance: float) -> FlatPatches:
    """Group neighbouring triangles that lie in one plane.

    Patches grow from the best-shaped triangles, as long as all vertices lie within the tolerance of the plane
    of the first one.  A sliver, lower than the tolerance, has no plane of its own: it joins the patch at its
    longest edge, even round a corner, from which its vertices are no farther than twice the tolerance.

    Parameters
    ----------
    vertices : (n, 3) float ndarray
        Corners of the triangles.
    faces : (m, 3) integer ndarray
        Vertices of each triangle.
    tolerance : float
        In the unit of `vertices`.

    Returns
    -------
    FlatPatches
    """
    points = np.asarray(vertices, dtype=np.float64)
    corners = points[faces]
    twin = twins(faces)
    lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    heights = areas / np.maximum(lengths.max(axis=1), np.finfo(float).tiny)
    is_sliver = heights < tolerance
    normals[~is_sliver] /= areas[~is_sliver, None]
    seeds = np.argsort(-heights, kind="stable")[: np.count_nonzero(~is_sliver)]
    labels, first = _grown(corners, normals, twin, is_sliver, seeds, tolerance)
    across = twin[3 * np.arange(len(faces)) + lengths.argmax(axis=1)]
    for _ in range(MAX_CHAIN):
        left = np.flatnonzero((labels < 0) & (across >= 0))
        labels[left] = labels[across[left] // 3]
    return FlatPatches(labels, normals[first])


@njit(cache=True, nogil=True)
def _grown(corners, normals, twin, is_sliver, seeds, tolerance):  # type: ignore[no-untyped-def]
    """Patch of each triangle (m,), and the triangle (p,) that each patch grew from."""
    labels = np.full(len(corners), -1)
    first = np.empty(len(seeds), dtype=np.int64)
    stack = np.empty(len(corners), dtype=np.int64)
    count = 0
    for seed in seeds:
        if labels[seed] >= 0:
            continue
        normal, origin = normals[seed], corners[seed, 0]
        first[count] = seed
        labels[seed] = count
        stack[0], size = seed, 1
        while size:
            size -= 1
            face = stack[size]
            for k in range(3):
                other = twin[3 * face + k] // 3
                if other < 0 or labels[other] >= 0 or is_sliver[other] or normals[other] @ normal <= 0.0:
                    continue
                is_flat = True
                for corner in corners[other]:
                    is_flat = is_flat and abs((corner - origin) @ normal) <= tolerance
                if is_flat:
                    labels[other] = count
                    stack[size] = other
                    size += 1
        count += 1
    return labels, first[:count]
