"""Triangles of a surface that pierce each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-7
"""An edge pierces a triangle only if it passes this far, relative to its lengths, inside both; faces that
touch or share a corner up to the rounding of single precision do not count."""


def piercing_triangles(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the triangles that are pierced by an edge of another triangle, or whose edge pierces one.

    Triangles with a common vertex are not compared, nor are coplanar overlaps found.

    Parameters
    ----------
    vertices : (n, 3) float ndarray
        Corners, in any unit of length.
    faces : (m, 3) integer ndarray
        Corners of each triangle.

    Returns
    -------
    (m,) bool ndarray
        True for both triangles of a piercing pair.
    """
    corners = np.ascontiguousarray(vertices, dtype=np.float64)[faces]
    if not len(corners):
        return np.zeros(0, dtype=bool)
    low, high = corners.min(axis=1), corners.max(axis=1)
    tree = box_tree(low, high)
    order = tree.order
    found = np.zeros(len(corners), dtype=bool)
    found[order] = _piercing(
        corners[order], np.asarray(faces, np.int64)[order], low[order], high[order], tree.low, tree.high
    )
    return found


@njit(cache=True, nogil=True)
def _piercing(corners, faces, low, high, tree_low, tree_high):  # type: ignore[no-untyped-def]
    """Compare every triangle, in the order of the leaves of a tree of boxes, with those after it."""
    found = np.zeros(len(corners), dtype=np.bool_)
    first_leaf = len(tree_low) // 2
    stack = np.empty(64, dtype=np.int64)
    for i in range(len(corners)):
        stack[0], size = 0, 1
        while size:
            size -= 1
            box = stack[size]
            if _apart(low, high, i, tree_low, tree_high, box):
                continue
            if box < first_leaf:
                stack[size], stack[size + 1] = 2 * box + 2, 2 * box + 1
                size += 2
                continue
            start = (box - first_leaf) * LEAF_SIZE
            for j in range(max(start, i + 1), min(start + LEAF_SIZE, len(corners))):
                if (
                    (found[i] and found[j])
                    or _apart(low, high, i, low, high, j)
                    or _share_vertex(faces[i], faces[j])
                ):
                    continue
                if _edge_pierces(corners[i], corners[j]) or _edge_pierces(corners[j], corners[i]):
                    found[i] = True
                    found[j] = True
    return found


@njit(cache=True, nogil=True)
def _apart(low, high, i, other_low, other_high, j):  # type: ignore[no-untyped-def]
    """Whether box i and another box j do not meet."""
    return (
        low[i, 0] > other_high[j, 0]
        or low[i, 1] > other_high[j, 1]
        or low[i, 2] > other_high[j, 2]
        or other_low[j, 0] > high[i, 0]
        or other_low[j, 1] > high[i, 1]
        or other_low[j, 2] > high[i, 2]
    )


@njit(cache=True, nogil=True)
def _share_vertex(first, second):  # type: ignore[no-untyped-def]
    for a in first:
        for b in second:
            if a == b:
                return True
    return False


@njit(cache=True, nogil=True)
def _edge_pierces(edges_of, triangle):  # type: ignore[no-untyped-def]
    """Whether an edge of the first triangle passes through the inside of the second."""
    a, b, c = triangle[0], triangle[1], triangle[2]
    normal = _cross(_way(a, b), _way(a, c))
    doubled_area = np.sqrt(_dot(normal, normal))
    if doubled_area == 0.0:
        return False
    above = (
        _dot(_way(a, edges_of[0]), normal),
        _dot(_way(a, edges_of[1]), normal),
        _dot(_way(a, edges_of[2]), normal),
    )
    if min(above) > 0.0 or max(above) < 0.0:
        return False
    for k in range(3):
        start, end = edges_of[k], edges_of[(k + 1) % 3]
        along = _way(start, end)
        slack = RELATIVE_TOLERANCE * (np.sqrt(_dot(along, along)) + np.sqrt(doubled_area)) * doubled_area
        first, last = above[k], above[(k + 1) % 3]
        if not ((first > slack and last < -slack) or (first < -slack and last > slack)):
            continue
        share = first / (first - last)
        at = (start[0] + along[0] * share, start[1] + along[1] * share, start[2] + along[2] * share)
        # Barycentric coordinates: all three lie strictly between 0 and 1 inside.
        least = 10 * RELATIVE_TOLERANCE * doubled_area**2
        if (
            _dot(_cross(_way(a, b), _way(a, at)), normal) > least
            and _dot(_cross(_way(b, c), _way(b, at)), normal) > least
            and _dot(_cross(_way(c, a), _way(c, at)), normal) > least
        ):
            return True
    return False


@njit(cache=True, nogil=True)
def _way(start, end):  # type: ignore[no-untyped-def]
    return end[0] - start[0], end[1] - start[1], end[2] - start[2]


@njit(cache=True, nogil=True)
def _dot(u, v):  # type: ignore[no-untyped-def]
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@njit(cache=True, nogil=True)
def _cross(u, v):  # type: ignore[no-untyped-def]
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
