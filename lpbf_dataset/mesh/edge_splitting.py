"""Refinement of a triangulated surface by splitting its long edges.

trimesh's `subdivide_to_size` splits each triangle on its own and leaves T-junctions where a triangle with a
long edge meets one without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_TRIANGLES = 4_000_000
"""More than this are refused: 200 MB as a binary STL file, and some 1 GB at work."""


def split_long_edges(
    vertices: NDArray[np.floating], triangles: NDArray[np.integer], longest: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Halve every edge that is too long, over and over, until none is.

    An edge is split for all of its triangles at once, so that the surface stays as closed as it was.  It does
    not change its shape: sharp edges stay, and flat faces stay flat.

    Parameters
    ----------
    vertices : (n, 3) float ndarray
        Corners of the triangles.
    triangles : (m, 3) integer ndarray
        Vertices of each triangle.
    longest : float
        Longest edge that is left, in the unit of `vertices`.

    Returns
    -------
    vertices : (n + k, 3) float64 ndarray
        Those given, then the new ones.
    triangles : (m + l, 3) int64 ndarray
        Wound as they were.

    Raises
    ------
    ValueError
        If `longest` is not positive, a vertex is not finite, or `MAX_TRIANGLES` would be exceeded.
    """
    points = np.asarray(vertices, dtype=np.float64)
    faces = np.asarray(triangles, dtype=np.int64)
    if not longest > 0:
        raise ValueError(f"the longest edge must be positive, not {longest}")
    if not np.isfinite(points).all():
        raise ValueError("a vertex of the surface is at no finite position")
    while True:
        # Edge k of a triangle is opposite to its corner k.
        ends = np.sort(faces[:, [[1, 2], [2, 0], [0, 1]]], axis=2)
        is_long = np.linalg.norm(points[ends[..., 1]] - points[ends[..., 0]], axis=2) > longest
        if not is_long.any():
            return points, faces
        if len(faces) + np.count_nonzero(is_long) > MAX_TRIANGLES:
            raise ValueError(
                f"edges of at most {longest:g} take more than {MAX_TRIANGLES} triangles; allow longer ones"
            )
        halved, middle = np.unique(ends[is_long], axis=0, return_inverse=True)
        middles = np.full(faces.shape, -1)
        middles[is_long] = len(points) + middle.ravel()
        points = np.concatenate([points, points[halved].mean(axis=1)])
        faces = _split(points, faces, middles)


def _split(
    points: NDArray[np.float64], faces: NDArray[np.int64], middles: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cut triangles at the middles of their edges (m, 3), -1 where an edge stays whole."""
    count = (middles >= 0).sum(axis=1)
    pieces = [faces[count == 0]]

    # One edge: rotated to be the one opposite to corner 0.
    (a, b, c), (m, _, _) = _rotated(faces, middles, count == 1, middles.argmax(axis=1))
    pieces += [_stack(a, b, m), _stack(a, m, c)]

    # Two edges: rotated so that the whole one is opposite to corner 0, whose tip is cut off.
    (a, b, c), (_, on_ca, on_ab) = _rotated(faces, middles, count == 2, middles.argmin(axis=1))
    pieces.append(_stack(a, on_ab, on_ca))
    # The shorter diagonal of the rest makes the better triangles.
    from_b = np.linalg.norm(points[b] - points[on_ca], axis=1)
    from_c = np.linalg.norm(points[c] - points[on_ab], axis=1)
    by_b = from_b <= from_c
    pieces += [
        _stack(on_ab, b, np.where(by_b, on_ca, c)),
        _stack(np.where(by_b, b, on_ab), c, on_ca),
    ]

    (a, b, c), (on_bc, on_ca, on_ab) = _rotated(faces, middles, count == 3, np.zeros_like(count))
    pieces += [_stack(a, on_ab, on_ca), _stack(b, on_bc, on_ab), _stack(c, on_ca, on_bc)]
    pieces.append(_stack(on_bc, on_ca, on_ab))
    return np.concatenate(pieces)


def _rotated(
    faces: NDArray[np.int64], middles: NDArray[np.int64], chosen: NDArray[np.bool_], first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners and middles, (3, k) each, of the chosen triangles, beginning with corner `first`."""
    order = (first[chosen, None] + np.arange(3)) % 3
    return (
        np.take_along_axis(faces[chosen], order, axis=1).T,
        np.take_along_axis(middles[chosen], order, axis=1).T,
    )


def _stack(*corners: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack(corners, axis=1)
