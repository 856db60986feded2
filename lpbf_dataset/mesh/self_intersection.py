"""Triangles of a surface that pierce each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

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
    # Sweeping along the axis with the least overlap compares the fewest pairs.
    axis = int(np.argmin((high - low).mean(axis=0) / np.maximum(np.ptp(corners, axis=(0, 1)), 1e-300)))
    order = np.argsort(low[:, axis], kind="stable")
    found = np.zeros(len(corners), dtype=bool)
    found[order] = _sweep(corners[order], np.asarray(faces, np.int64)[order], low[order], high[order], axis)
    return found


@njit(cache=True)
def _sweep(corners, faces, low, high, axis):  # type: ignore[no-untyped-def]
    count = len(corners)
    found = np.zeros(count, dtype=np.bool_)
    for i in range(count):
        for j in range(i + 1, count):
            if low[j, axis] > high[i, axis]:
                break
            apart = False
            for k in range(3):
                apart = apart or low[j, k] > high[i, k] or low[i, k] > high[j, k]
            if apart or _share_vertex(faces[i], faces[j]):
                continue
            if _edge_pierces(corners[i], corners[j]) or _edge_pierces(corners[j], corners[i]):
                found[i] = True
                found[j] = True
    return found


@njit(cache=True)
def _share_vertex(first, second):  # type: ignore[no-untyped-def]
    for a in first:
        for b in second:
            if a == b:
                return True
    return False


@njit(cache=True)
def _edge_pierces(edges_of, triangle):  # type: ignore[no-untyped-def]
    """Whether an edge of the first triangle passes through the inside of the second."""
    normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
    doubled_area = np.sqrt(normal @ normal)
    if doubled_area == 0.0:
        return False
    for k in range(3):
        start, end = edges_of[k], edges_of[(k + 1) % 3]
        along = end - start
        slack = RELATIVE_TOLERANCE * (np.sqrt(along @ along) + np.sqrt(doubled_area)) * doubled_area
        above, below = (start - triangle[0]) @ normal, (end - triangle[0]) @ normal
        if not ((above > slack and below < -slack) or (above < -slack and below > slack)):
            continue
        at = start + along * (above / (above - below))
        # Barycentric coordinates: all three lie strictly between 0 and 1 inside.
        inside = True
        for c in range(3):
            side = np.cross(triangle[(c + 1) % 3] - triangle[c], at - triangle[c])
            inside = inside and side @ normal > 10 * RELATIVE_TOLERANCE * doubled_area**2
        if inside:
            return True
    return False
