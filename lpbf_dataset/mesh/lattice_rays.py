"""Rays along the axes through the cells of a lattice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import in_chunks
from lpbf_dataset.mesh.topology import HEXAHEDRON_FACES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.mesh.lattice import Lattice

MAX_BOXES = 1 << 24
"""A lattice of more boxes (64 MB of table) is too sparsely filled to be looked up in a table."""


def lattice_distances(
    positions: NDArray[np.float64],
    cells: NDArray[np.integer],
    lattice: Lattice,
    rounding: float,
    threads: int,
) -> NDArray[np.float64] | None:
    """Follow the six rays along the axes from every node until they leave the closed cells.

    A ray steps from cell to cell, and finds the next one in a table of the boxes between neighbouring
    planes.  In a plane it has the boxes on both sides to go on in.

    Parameters
    ----------
    positions : (n, 3) float64 ndarray
        Nodes, each of some cell.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    lattice : Lattice
        The lattice of the cells.
    rounding : float
        How far single precision rounds the largest coordinate.
    threads : int
        Threads that share the work.

    Returns
    -------
    (n, 6) float64 ndarray or None
        Along -x, -y, -z, +x, +y, +z; None if the lattice has more than `MAX_BOXES` boxes.
    """
    counts = [len(values) for values in lattice.planes]
    if np.prod([count + 1.0 for count in counts]) > MAX_BOXES:
        return None
    # Plane r has box r below it and box r + 1 above it; the outermost boxes are empty.
    cell_of = np.full([count + 1 for count in counts], -1, dtype=np.int32)
    _fill(lattice.boxes, cell_of)
    planes = np.full((3, max(counts) + 1), np.inf)
    for family, values in enumerate(lattice.planes):
        planes[family, : len(values)] = values

    directions = np.concatenate([-lattice.normals.T, lattice.normals.T])
    # A ray that drifts off a plane by less than the rounding of the nodes stays in it.
    diameter = np.sqrt((np.ptp(positions, axis=0) ** 2).sum())
    directions[np.abs(directions) * diameter <= rounding] = 0.0
    distances = np.empty((len(positions), 6))

    def kernel(start: int, stop: int) -> None:
        _follow(
            np.arange(start, stop), positions, cells, directions,
            planes, lattice.ranks, lattice.boxes, cell_of, 2 * rounding, distances,
        )  # fmt: skip

    in_chunks(kernel, len(positions), threads)
    return distances


@njit(cache=True, nogil=True)
def _fill(boxes: NDArray[np.int32], cell_of: NDArray[np.int32]) -> None:
    for cell in range(len(boxes)):
        for i in range(boxes[cell, 0, 0] + 1, boxes[cell, 1, 0] + 1):
            for j in range(boxes[cell, 0, 1] + 1, boxes[cell, 1, 1] + 1):
                for k in range(boxes[cell, 0, 2] + 1, boxes[cell, 1, 2] + 1):
                    cell_of[i, j, k] = cell


@njit(cache=True, nogil=True)
def _follow(  # type: ignore[no-untyped-def]
    nodes, positions, cells, directions, planes, ranks, boxes, cell_of, slack, distances
):
    x, direction = np.empty(3), np.empty(3)
    # The boxes in which the ray may go on, from the first to the last across each family of planes.
    first, last = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for node in nodes:
        for column in range(6):
            for family in range(3):
                rank, slope = ranks[node, family], directions[column, family]
                x[family], direction[family] = planes[family, rank], slope
                first[family], last[family] = rank + (slope > 0), rank + (slope >= 0)
            cell, exit_family = -1, -1
            reach, grew = 0.0, True
            while grew:
                grew = False
                for i in range(first[0], last[0] + 1):
                    for j in range(first[1], last[1] + 1):
                        for k in range(first[2], last[2] + 1):
                            other = cell_of[i, j, k]
                            if other < 0 or other == cell:
                                continue
                            leave, family = _exit(x, direction, planes, boxes, other)
                            if leave > reach:
                                reach, cell, exit_family, grew = leave, other, family, True
                if grew:
                    _look_ahead(x, direction, reach, planes, slack, first, last)
                    ahead = int(direction[exit_family] > 0)
                    box = boxes[cell, ahead, exit_family] + ahead
                    first[exit_family], last[exit_family] = box, box
            distances[node, column] = 0.0
            if cell >= 0:
                plane = boxes[cell, int(direction[exit_family] > 0), exit_family]
                face = _face_in_plane(cells, cell, ranks, exit_family, plane)
                along = _distance_to_face(positions, cells, cell, face, node, column % 3)
                distances[node, column] = along if column >= 3 else -along


@njit(cache=True, nogil=True, error_model="numpy")
def _exit(x, direction, planes, boxes, cell):  # type: ignore[no-untyped-def]
    """How far along the ray it leaves a cell, and across the planes of which family."""
    leave, exit_family = np.inf, -1
    for family in range(3):
        slope = direction[family]
        if slope == 0:
            continue
        plane = planes[family, boxes[cell, int(slope > 0), family]]
        distance = (plane - x[family]) / slope
        if distance < leave:
            leave, exit_family = distance, family
    return leave, exit_family


@njit(cache=True, nogil=True)
def _look_ahead(x, direction, reach, planes, slack, first, last):  # type: ignore[no-untyped-def]
    """Move to the boxes around the point that a ray has reached, and those it is about to enter."""
    for family in range(3):
        slope = direction[family]
        at = x[family] + reach * slope
        if slope > 0:
            box = first[family]
            while planes[family, box] <= at:
                box += 1
            first[family], last[family] = box, box + (planes[family, box] - at <= slack)
        elif slope < 0:
            box = last[family]
            while box > 0 and planes[family, box - 1] >= at:
                box -= 1
            last[family], first[family] = box, box - (box > 0 and at - planes[family, box - 1] <= slack)


@njit(cache=True, nogil=True)
def _face_in_plane(cells, cell, ranks, family, plane):  # type: ignore[no-untyped-def]
    for face in range(5):
        # Only the face in the plane has opposite corners there.
        first, third = cells[cell, HEXAHEDRON_FACES[face, 0]], cells[cell, HEXAHEDRON_FACES[face, 2]]
        if ranks[first, family] == plane and ranks[third, family] == plane:
            return face
    return 5


@njit(cache=True, nogil=True, error_model="numpy")
def _distance_to_face(positions, cells, cell, face, node, axis):  # type: ignore[no-untyped-def]
    """Distance along an axis to the plane of a face: through its middle, along both its diagonals."""
    a, b = cells[cell, HEXAHEDRON_FACES[face, 0]], cells[cell, HEXAHEDRON_FACES[face, 1]]
    c, d = cells[cell, HEXAHEDRON_FACES[face, 2]], cells[cell, HEXAHEDRON_FACES[face, 3]]
    along, across, slope = 0.0, 0.0, 1.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        normal = (positions[c, j] - positions[a, j]) * (positions[d, k] - positions[b, k])
        normal -= (positions[c, k] - positions[a, k]) * (positions[d, j] - positions[b, j])
        middle = (positions[a, i] + positions[b, i] + positions[c, i] + positions[d, i]) / 4
        if i == axis:
            along, slope = middle - positions[node, i], normal
        else:
            across += normal * (middle - positions[node, i])
    return along + across / slope
