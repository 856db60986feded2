"""Which triangles of a surface meet at which edges.

Half-edge 3 f + k leads from corner k of triangle f to its corner k + 1, modulo 3, and is opposite to corner
k + 2.  Its twin leads the other way in the neighbouring triangle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def twins(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pair the half-edges of a surface.

    Parameters
    ----------
    faces : (m, 3) integer ndarray
        Corners of each triangle.

    Returns
    -------
    (3 m,) int64 ndarray
        Twin of each half-edge; -1 at an edge that has not exactly two triangles, wound alike.
    """
    start = np.asarray(faces, dtype=np.int64)
    end = np.roll(start, -1, axis=1)
    start, end = start.ravel(), end.ravel()
    order = np.lexsort((start > end, np.maximum(start, end), np.minimum(start, end)))
    low, high = np.minimum(start, end)[order], np.maximum(start, end)[order]
    same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    begins, ends = np.append(True, ~same), np.append(~same, True)
    is_pair = begins[:-1] & ends[1:] & same & (start[order[1:]] == end[order[:-1]])
    first, second = order[:-1][is_pair], order[1:][is_pair]
    result = np.full(len(start), -1)
    result[first], result[second] = second, first
    return result
