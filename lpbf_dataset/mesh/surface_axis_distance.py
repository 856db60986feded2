"""Distance from points to where a closed surface of triangles ends the solid along the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree, in_chunks, leaves_on_line, morton_order
from lpbf_dataset.mesh.crossings import position_on_line, turn_about_line
from lpbf_dataset.mesh.distance import triangle_corners
from lpbf_dataset.mesh.spans import reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFT = 2
"""Roundings of single precision by which a line is shifted to either side: a point rounded twice, as part of
the surface and as a query, is off it by no more."""

GAP = 100
"""Roundings of single precision that count as no distance along a ray: a point off a face by two of them is
off it by 100 along a ray that makes an angle of a degree with the face."""


def surface_axis_distances(
    queries: NDArray[np.floating],
    vertices: NDArray[np.floating],
    triangles: NDArray[np.integer],
    threads: int = 1,
) -> NDArray[np.float64]:
    """Distance from points to the first exit from a solid along -x, -y, -z, +x, +y, +z.

    The solid is where the surface winds about a point more than zero times, so that its shells may
    overlap; it is taken closed, as in `axis_distances`: a ray that runs in a face or along an edge of the
    solid stays in it as far as that does, and one that leaves a point of the surface outwards has
    length 0.  What lies beside a ray is seen along four lines around it, two roundings of single precision
    (2.4e-7 of the largest coordinate) away in each of the other two axes; the solid at a sharper edge than
    a right angle may pass between these.  Gaps and walls shorter than 100 roundings (1.2e-5 of the largest
    coordinate, 0.7 um in 60 mm) are none.

    Parameters
    ----------
    queries : (n, 3) float ndarray
        Positions.
    vertices : (v, 3) float ndarray
        Corners of the triangles, in the same unit.
    triangles : (t, 3) integer ndarray
        Closed surface, turning outwards.
    threads : int
        Threads that share the work.

    Returns
    -------
    (n, 6) float64 ndarray
        In the unit of `queries`.  0 for points outside the solid.

    Raises
    ------
    ValueError
        If there is no triangle, a triangle names no vertex, or a position is not finite.
    """
    corners = triangle_corners(queries, vertices, triangles)
    positions = np.asarray(queries, dtype=np.float64)
    largest = max(np.abs(corners).max(), np.abs(positions).max(initial=0))
    rounding = float(np.finfo(np.float32).eps * largest)
    shift = SHIFT * rounding
    tree = box_tree(corners.min(axis=1) - shift, corners.max(axis=1) + shift)
    sorted_corners = corners[tree.order]
    order = morton_order(positions)
    distances = np.empty((len(positions), 6))

    def kernel(start: int, stop: int) -> None:
        _follow(
            positions,
            order[start:stop],
            sorted_corners,
            tree.low,
            tree.high,
            shift,
            GAP * rounding,
            distances,
        )

    in_chunks(kernel, len(positions), threads)
    return distances


@njit(cache=True, nogil=True)
def _follow(  # type: ignore[no-untyped-def]
    positions, order, corners, low, high, shift, tolerance, distances
):
    leaves = np.empty(len(low) // 2 + 1, dtype=np.int64)
    crossings = np.empty((len(corners), 3))
    spans = np.empty((2 * len(corners) + 4, 4))
    for query in order:
        for axis in range(3):
            u, v = positions[query, (axis + 1) % 3], positions[query, (axis + 2) % 3]
            found = leaves_on_line(low, high, axis, u, v, leaves)
            count = 0
            for side in range(4):
                beside_u = u + (shift if side & 1 else -shift)
                beside_v = v + (shift if side & 2 else -shift)
                crossed = 0
                for leaf in leaves[:found]:
                    for triangle in range(LEAF_SIZE * leaf, min(LEAF_SIZE * (leaf + 1), len(corners))):
                        turn = turn_about_line(corners, triangle, axis, beside_u, beside_v)
                        if turn:
                            beside = position_on_line(corners, triangle, axis, beside_u, beside_v)
                            position = position_on_line(corners, triangle, axis, u, v)
                            _insert(crossings, crossed, beside, position, turn)
                            crossed += 1
                count = _append_spans(crossings, crossed, positions[query, axis], spans, count)
            distances[query, axis] = reach(spans, count, False, tolerance)
            distances[query, axis + 3] = reach(spans, count, True, tolerance)


@njit(cache=True, nogil=True)
def _insert(crossings, count, beside, position, turn):  # type: ignore[no-untyped-def]
    """Insert a crossing where it belongs among those of the line beside."""
    while count > 0 and crossings[count - 1, 0] > beside:
        for column in range(3):
            crossings[count, column] = crossings[count - 1, column]
        count -= 1
    crossings[count, 0], crossings[count, 1], crossings[count, 2] = beside, position, turn


@njit(cache=True, nogil=True)
def _append_spans(crossings, crossed, origin, spans, count):  # type: ignore[no-untyped-def]
    """Spans in which the winding number is positive: where they are on the line, and on that beside."""
    number = 0
    for i in range(crossed):
        beside, position = crossings[i, 0] - origin, crossings[i, 1] - origin
        before = number
        number -= int(crossings[i, 2])
        if before <= 0 < number:
            spans[count, 0], spans[count, 2] = position, min(position, beside)
        elif number <= 0 < before:
            spans[count, 1], spans[count, 3] = position, max(position, beside)
            count += 1
    return count
