"""Lines along the axes through cells of any convex shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree, in_chunks, leaves_on_line
from lpbf_dataset.mesh.spans import reach
from lpbf_dataset.mesh.topology import HEXAHEDRON_FACES

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-3
"""Gaps shorter than this fraction of the shortest edge are the rounding of single precision, not gaps."""


def line_distances(
    positions: NDArray[np.float64],
    cells: NDArray[np.integer],
    shortest_edge: float,
    rounding: float,
    threads: int,
) -> NDArray[np.float64]:
    """Follow the six rays along the axes from every node until they leave the closed cells.

    Each line through a node is cut by all the cells that it meets.

    Parameters
    ----------
    positions : (n, 3) float64 ndarray
        Nodes, each of some cell.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order, convex with flat faces.
    shortest_edge : float
        Length of the shortest edge of a cell.
    rounding : float
        How far single precision rounds the largest coordinate.
    threads : int
        Threads that share the work.

    Returns
    -------
    (n, 6) float64 ndarray
        Along -x, -y, -z, +x, +y, +z.
    """
    tolerance = RELATIVE_TOLERANCE * shortest_edge
    corners = positions[cells]
    faces = corners[:, HEXAHEDRON_FACES]
    normals = np.cross(faces[:, :, 2] - faces[:, :, 0], faces[:, :, 3] - faces[:, :, 1])
    normals /= np.sqrt((normals**2).sum(axis=-1, keepdims=True))
    offsets = (normals * faces.mean(axis=2)).sum(axis=-1)
    tree = box_tree(corners.min(axis=1) - tolerance, corners.max(axis=1) + tolerance)
    half_spaces = np.concatenate([normals, offsets[..., None]], axis=2)[tree.order]
    # A face of the shortest edges that is tilted by no more than the rounding of its corners is parallel.
    parallel = 4 * rounding / shortest_edge
    distances = np.empty((len(positions), 6))

    def kernel(start: int, stop: int) -> None:
        _follow(
            positions[start:stop], half_spaces, tree.low, tree.high,
            parallel, 2 * rounding, tolerance, distances[start:stop],
        )  # fmt: skip

    in_chunks(kernel, len(positions), threads)
    return distances


@njit(cache=True, nogil=True)
def _follow(  # type: ignore[no-untyped-def]
    positions, half_spaces, low, high, parallel, slack, tolerance, distances
):
    leaves = np.empty(len(low) // 2 + 1, dtype=np.int64)
    spans = np.empty((len(half_spaces), 4))
    for node in range(len(positions)):
        for axis in range(3):
            across, other = positions[node, (axis + 1) % 3], positions[node, (axis + 2) % 3]
            count = 0
            for leaf in leaves[: leaves_on_line(low, high, axis, across, other, leaves)]:
                for cell in range(LEAF_SIZE * leaf, min(LEAF_SIZE * (leaf + 1), len(half_spaces))):
                    span = _clip(positions, node, axis, half_spaces, cell, parallel, slack, tolerance)
                    if span[2] < span[3]:
                        spans[count, 0], spans[count, 1], spans[count, 2], spans[count, 3] = span
                        count += 1
            distances[node, axis] = reach(spans, count, False, tolerance)
            distances[node, axis + 3] = reach(spans, count, True, tolerance)


@njit(cache=True, nogil=True)
def _clip(  # type: ignore[no-untyped-def]
    positions, node, axis, half_spaces, cell, parallel, slack, tolerance
):
    """Span of the line through a node along an axis in a closed cell, and that by rounding, else empty."""
    start, end, early, late = -np.inf, np.inf, -np.inf, np.inf
    for face in range(6):
        room = half_spaces[cell, face, 3]
        for i in range(3):
            room -= half_spaces[cell, face, i] * positions[node, i]
        slope = half_spaces[cell, face, axis]
        if abs(slope) < parallel:
            if room < -tolerance:
                return 0.0, 0.0, 0.0, 0.0
        elif slope > 0:
            end = min(end, room / slope)
            late = min(late, (room + slack) / slope)
        else:
            start = max(start, room / slope)
            early = max(early, (room + slack) / slope)
    return start, end, early, late
