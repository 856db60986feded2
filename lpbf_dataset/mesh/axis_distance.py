"""Distance from the nodes of a mesh to where the material ends along the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree, in_chunks
from lpbf_dataset.mesh.quality import cell_volumes
from lpbf_dataset.mesh.topology import HEXAHEDRON_EDGES, HEXAHEDRON_FACES

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-3
"""Gaps shorter than this fraction of the shortest edge are the rounding of single precision, not gaps."""

MAX_SEGMENTS = 1 << 26
"""Bytes of one axis's table of lines and segments, above which each line is followed on its own."""


def axis_distances(
    points: NDArray[np.floating], cells: NDArray[np.integer], threads: int = 1
) -> NDArray[np.float64]:
    """Distance from each node to the first exit from the material along -x, -y, -z, +x, +y, +z.

    The material is the closed union of the cells.  So a ray that runs in a face, or along an edge, stays
    in the material as far as the face or edge does; a ray that leaves a surface node outwards has length
    0; and cells that touch, if only in an edge or a corner through which the ray passes, leave no gap.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, in any unit of length.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order, with flat faces.
    threads : int
        Threads that share the work.

    Returns
    -------
    (n, 6) float64 ndarray
        In the unit of `points`.  0 for nodes of no cell.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, or a cell is inverted, flat or not finite.
    """
    volumes = cell_volumes(points, cells)
    if not (volumes > 0).all():
        raise ValueError(f"cell {int(np.argmin(volumes > 0))} is inverted, flat or not finite")
    distances = np.zeros((len(points), 6))
    used = np.unique(cells)
    if not len(used):
        return distances
    positions = np.ascontiguousarray(points[used], dtype=np.float64)
    local = np.searchsorted(used, cells)
    edges = positions[local[:, HEXAHEDRON_EDGES[:, 0]]] - positions[local[:, HEXAHEDRON_EDGES[:, 1]]]
    tolerance = RELATIVE_TOLERANCE * float(np.sqrt((edges**2).sum(axis=-1).min()))
    rounding = float(np.finfo(np.float32).eps * np.abs(positions).max())
    # A mesh askew by more than its rounding has no planes of nodes, and is followed line by line.
    ranks, planes = _ranks(positions, min(8 * rounding, tolerance))
    boxes = _boxes(ranks, local)
    values = _along_lattice(ranks, planes, boxes, threads) if boxes is not None else None
    if values is None:
        values = _along_lines(positions, local, rounding, tolerance, threads)
    distances[used] = values
    return distances


def _ranks(
    positions: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """Return which plane across each axis a node lies in, and where the planes are."""
    ranks, planes = np.empty(positions.shape, dtype=np.int64), []
    for axis in range(3):
        order = np.argsort(positions[:, axis], kind="stable")
        coordinate = positions[order, axis]
        first = np.diff(coordinate, prepend=-np.inf) > tolerance
        ranks[order, axis] = np.cumsum(first) - 1
        planes.append(coordinate[first])
    return ranks, planes


def _boxes(ranks: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Lowest and highest plane (m, 2, 3) of each cell, or None if a cell is not a box along the axes."""
    corners = ranks[cells]
    low, high = corners.min(axis=1), corners.max(axis=1)
    at_high = corners == high[:, None]
    at_corner = (at_high | (corners == low[:, None])).all()
    octant = np.sort(at_high @ np.array([1, 2, 4]), axis=1)
    return np.stack([low, high], axis=1) if at_corner and (octant == np.arange(8)).all() else None


def _along_lattice(
    ranks: NDArray[np.int64], planes: list[NDArray[np.float64]], boxes: NDArray[np.int64], threads: int
) -> NDArray[np.float64] | None:
    """Distances in a mesh of boxes: exact, since every line through a node lies in planes of nodes.

    Returns None where the tables would not fit.
    """
    distances = np.empty((len(ranks), 6))
    lines = []
    for axis in range(3):
        across, other = (axis + 1) % 3, (axis + 2) % 3
        if len(planes[across]) * len(planes[other]) > MAX_SEGMENTS // 4:
            return None
        line_of = np.full((len(planes[across]), len(planes[other])), -1, dtype=np.int32)
        line_of[ranks[:, across], ranks[:, other]] = 0
        count = int((line_of == 0).sum())
        if count * len(planes[axis]) > MAX_SEGMENTS:
            return None
        line_of[line_of == 0] = np.arange(count)
        lines.append((line_of, count))

    def kernel(start: int, stop: int) -> None:
        for axis in range(start, stop):
            line_of, count = lines[axis]
            _lattice_axis(ranks, planes[axis], boxes, line_of, count, axis, distances)

    in_chunks(kernel, 3, threads, size=1)
    return distances


@njit(cache=True, nogil=True)
def _lattice_axis(
    ranks: NDArray[np.int64],
    planes: NDArray[np.float64],
    boxes: NDArray[np.int64],
    line_of: NDArray[np.int32],
    line_count: int,
    axis: int,
    distances: NDArray[np.float64],
) -> None:
    across, other = (axis + 1) % 3, (axis + 2) % 3
    solid = np.zeros((line_count, len(planes)), dtype=np.bool_)
    for box in boxes:
        for i in range(box[0, across], box[1, across] + 1):
            for j in range(box[0, other], box[1, other] + 1):
                if line_of[i, j] >= 0:
                    solid[line_of[i, j], box[0, axis] : box[1, axis]] = True
    for node in range(len(ranks)):
        here = ranks[node, axis]
        line = solid[line_of[ranks[node, across], ranks[node, other]]]
        below = above = here
        while below > 0 and line[below - 1]:
            below -= 1
        while line[above]:
            above += 1
        distances[node, axis] = planes[here] - planes[below]
        distances[node, axis + 3] = planes[above] - planes[here]


def _along_lines(
    positions: NDArray[np.float64],
    cells: NDArray[np.int64],
    rounding: float,
    tolerance: float,
    threads: int,
) -> NDArray[np.float64]:
    """Distances in any mesh of convex cells: each line through a node is followed from cell to cell."""
    corners = positions[cells]
    faces = corners[:, HEXAHEDRON_FACES]
    normals = np.cross(faces[:, :, 2] - faces[:, :, 0], faces[:, :, 3] - faces[:, :, 1])
    normals /= np.sqrt((normals**2).sum(axis=-1, keepdims=True))
    offsets = (normals * faces.mean(axis=2)).sum(axis=-1)
    tree = box_tree(corners.min(axis=1) - tolerance, corners.max(axis=1) + tolerance)
    half_spaces = np.concatenate([normals, offsets[..., None]], axis=2)[tree.order]
    distances = np.empty((len(positions), 6))

    def kernel(start: int, stop: int) -> None:
        part = slice(start, stop)
        _follow(positions[part], half_spaces, tree.low, tree.high, rounding, tolerance, distances[part])

    in_chunks(kernel, len(positions), threads)
    return distances


@njit(cache=True, nogil=True)
def _follow(
    positions: NDArray[np.float64],
    half_spaces: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rounding: float,
    tolerance: float,
    distances: NDArray[np.float64],
) -> None:
    first_leaf = len(low) // 2
    stack = np.empty(64, dtype=np.int64)
    spans = np.empty((len(half_spaces), 4))
    for node in range(len(positions)):
        for axis in range(3):
            across, other = (axis + 1) % 3, (axis + 2) % 3
            y, z = positions[node, across], positions[node, other]
            count = 0
            stack[0], size = 0, 1
            while size:
                size -= 1
                box = stack[size]
                if (
                    y < low[box, across]
                    or y > high[box, across]
                    or z < low[box, other]
                    or z > high[box, other]
                ):
                    continue
                if box < first_leaf:
                    stack[size], stack[size + 1] = 2 * box + 1, 2 * box + 2
                    size += 2
                    continue
                item = (box - first_leaf) * LEAF_SIZE
                for cell in range(item, min(item + LEAF_SIZE, len(half_spaces))):
                    span = _clip(positions[node], axis, half_spaces[cell], rounding, tolerance)
                    if span[2] < span[3]:
                        spans[count] = span
                        count += 1
            distances[node, axis] = _reach(spans[:count], -1, tolerance)
            distances[node, axis + 3] = _reach(spans[:count], 1, tolerance)


@njit(cache=True, nogil=True)
def _clip(
    position: NDArray[np.float64],
    axis: int,
    half_spaces: NDArray[np.float64],
    rounding: float,
    tolerance: float,
) -> tuple[float, float, float, float]:
    """Where the line through a position along an axis runs in a closed cell, and where it may by rounding.

    The second span is empty (start >= end) where the line misses the cell.
    """
    start, end, early, late = -np.inf, np.inf, -np.inf, np.inf
    # A face of the shortest edges that is tilted by no more than the rounding of its corners.
    parallel = 4 * rounding * RELATIVE_TOLERANCE / tolerance
    for k in range(6):
        a, b, c, offset = half_spaces[k]
        room = offset - (a * position[0] + b * position[1] + c * position[2])
        slope = half_spaces[k, axis]
        if abs(slope) < parallel:
            if room < -tolerance:
                return 0.0, 0.0, 0.0, 0.0
        elif slope > 0:
            end = min(end, room / slope)
            late = min(late, (room + 2 * rounding) / slope)
        else:
            start = max(start, room / slope)
            early = max(early, (room + 2 * rounding) / slope)
    return start, end, early, late


@njit(cache=True, nogil=True)
def _reach(spans: NDArray[np.float64], sign: int, tolerance: float) -> float:
    """How far the union of spans around 0 goes in one direction."""
    reach, grew = 0.0, True
    while grew:
        grew = False
        for start, end, early, late in spans:
            near, far = (early, end) if sign > 0 else (-late, -start)
            if near <= reach + tolerance and far > reach:
                reach, grew = far, True
    return reach if reach > tolerance else 0.0
