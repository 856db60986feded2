"""Distances along the axes in a lattice along the axes: every line of nodes is swept once each way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import in_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.mesh.lattice import Lattice

MAX_ENTRIES = 1 << 24
"""Entries of the tables of one axis (5 bytes each), above which each ray is followed by itself."""


def is_along_axes(lattice: Lattice) -> bool:
    """Tell whether the planes of a lattice are normal to the axes, in their order."""
    return np.array_equal(lattice.normals, np.eye(3))


def aligned_distances(lattice: Lattice, threads: int) -> NDArray[np.float64] | None:
    """Distance from every node to the first exit from the closed cells along the axes.

    A line through a node lies in planes of the lattice, so it runs along whole edges: its segments between
    planes are in the material or not.  The time grows as the number of segments on lines with nodes, not
    with the lengths of the rays.

    Parameters
    ----------
    lattice : Lattice
        Along the axes.
    threads : int
        Threads that share the work, one an axis.

    Returns
    -------
    (n, 6) float64 ndarray or None
        Along -x, -y, -z, +x, +y, +z; None if the tables would have more than `MAX_ENTRIES` entries.
    """
    lines = [_lines(lattice, axis) for axis in range(3)]
    for axis, (line_of, count) in enumerate(lines):
        if max(line_of.size, count * len(lattice.planes[axis])) > MAX_ENTRIES:
            return None
    distances = np.empty((len(lattice.ranks), 6))

    def kernel(start: int, stop: int) -> None:
        for axis in range(start, stop):
            line_of, count = lines[axis]
            _sweep(lattice.ranks, lattice.planes[axis], lattice.boxes, line_of, count, axis, distances)

    in_chunks(kernel, 3, threads, size=1)
    return distances


def _lines(lattice: Lattice, axis: int) -> tuple[NDArray[np.int32], int]:
    """Give each line along an axis that has nodes a number, by its planes across; -1 for the others."""
    across, other = (axis + 1) % 3, (axis + 2) % 3
    line_of = np.full((len(lattice.planes[across]), len(lattice.planes[other])), -1, dtype=np.int32)
    line_of[lattice.ranks[:, across], lattice.ranks[:, other]] = 0
    count = int(np.count_nonzero(line_of == 0))
    line_of[line_of == 0] = np.arange(count)
    return line_of, count


@njit(cache=True, nogil=True)
def _sweep(
    ranks: NDArray[np.int32],
    planes: NDArray[np.float64],
    boxes: NDArray[np.int32],
    line_of: NDArray[np.int32],
    line_count: int,
    axis: int,
    distances: NDArray[np.float64],
) -> None:
    across, other = (axis + 1) % 3, (axis + 2) % 3
    # Segment k of a line is that between planes k and k + 1.
    solid = np.zeros((line_count, len(planes)), dtype=np.bool_)
    for box in boxes:
        for i in range(box[0, across], box[1, across] + 1):
            for j in range(box[0, other], box[1, other] + 1):
                if line_of[i, j] >= 0:
                    solid[line_of[i, j], box[0, axis] : box[1, axis]] = True
    exits = np.empty((line_count, len(planes)), dtype=np.int32)
    for line in range(line_count):
        exits[line, 0] = 0
        for k in range(1, len(planes)):
            exits[line, k] = exits[line, k - 1] if solid[line, k - 1] else k
    for node in range(len(ranks)):
        here = ranks[node, axis]
        line = line_of[ranks[node, across], ranks[node, other]]
        distances[node, axis] = planes[here] - planes[exits[line, here]]
    for line in range(line_count):
        for k in range(len(planes) - 1, -1, -1):
            exits[line, k] = exits[line, k + 1] if solid[line, k] else k
    for node in range(len(ranks)):
        here = ranks[node, axis]
        line = line_of[ranks[node, across], ranks[node, other]]
        distances[node, axis + 3] = planes[exits[line, here]] - planes[here]
