"""Connectivity of hexahedral meshes, and what every kernel asks of its arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import in_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Corners joined by the 12 edges of a VTK hexahedron: bottom loop, top loop, uprights.
HEXAHEDRON_EDGES = np.array(
    [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)],
    dtype=np.int64,
)

# Corners of the 6 faces of a VTK hexahedron, turning so that the normal points outwards.
HEXAHEDRON_FACES = np.array(
    [(0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)],
    dtype=np.int64,
)

LARGE_BUCKET = 64
"""Entries from which quicksort is the faster one; a node of eight cells has at most 24."""

LIGHT_CHUNK = 1 << 15
"""Nodes or cells from which a thread pays where each takes some 50 ns: it costs 0.1 ms to start."""


def check_cells(cells: NDArray[np.integer], node_count: int) -> NDArray[np.int32]:
    """Check that an array is the connectivity of hexahedra over so many nodes, and make it contiguous.

    Parameters
    ----------
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.
    node_count : int
        Number of nodes of the mesh.

    Returns
    -------
    (m, 8) int32 ndarray
        The same, C-contiguous: kernels are compiled once, not for every kind of integer.

    Raises
    ------
    ValueError
        If the shape, the dtype or an index is wrong.
    """
    cells = np.asarray(cells)
    if cells.ndim != 2 or cells.shape[1] != 8 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(f"cells must be an (m, 8) integer array, not {cells.shape} {cells.dtype}")
    if len(cells) and (cells.min() < 0 or cells.max() >= node_count):
        cell, corner = np.argwhere((cells < 0) | (cells >= node_count))[0]
        raise ValueError(
            f"cell {cell} names node {cells[cell, corner]}, but the mesh has nodes 0 to {node_count - 1}"
        )
    return np.ascontiguousarray(cells, dtype=np.int32)


def check_points(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Check that an array holds positions, finite or not, and make it contiguous.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.

    Returns
    -------
    (n, 3) float32 or float64 ndarray
        The same, C-contiguous; float64 unless it was float32.

    Raises
    ------
    ValueError
        If the shape or the dtype is wrong.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise ValueError(f"points must be an (n, 3) array of real numbers, not {points.shape} {points.dtype}")
    single = points.dtype.newbyteorder("=") == np.float32
    return np.ascontiguousarray(points, dtype=np.float32 if single else np.float64)


def part_size(node_count: int, threads: int) -> int:
    """Nodes for each thread where each has to go through all cells: no more parts than threads."""
    return max(LIGHT_CHUNK, -(-node_count // max(threads, 1)))


def unique_edges(cells: NDArray[np.integer], node_count: int, threads: int = 1) -> NDArray[np.int32]:
    """Undirected edges of a hexahedral mesh, each once.

    An edge of a large cell on which a hanging node lies stays an edge, beside the two short ones.

    Parameters
    ----------
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    node_count : int
        Number of nodes of the mesh.
    threads : int, optional
        Threads that share the nodes out; the result does not depend on it.

    Returns
    -------
    (e, 2) int32 ndarray
        First node < second, in lexicographic order.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `node_count` nodes.
    """
    cells = check_cells(cells, node_count)
    edges = {0: np.empty((0, 2), dtype=np.int32)}

    def kernel(start: int, stop: int) -> None:
        edges[start] = _edges_from(cells, start, stop)

    in_chunks(kernel, node_count, threads, part_size(node_count, threads))
    parts = [edges[start] for start in sorted(edges)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@njit(cache=True, nogil=True)
def _edges_from(cells: NDArray[np.int32], first_node: int, end_node: int) -> NDArray[np.int32]:
    """Edges whose first node is one of `range(first_node, end_node)`."""
    # Bucket each edge under its first node; a bucket holds a few dozen entries at most, so sorting
    # inside the buckets costs linear time overall, where sorting all edges would not.
    start = np.zeros(end_node - first_node + 1, dtype=np.int64)
    for cell in cells:
        for a, b in HEXAHEDRON_EDGES:
            first = min(cell[a], cell[b])
            if first_node <= first < end_node:
                start[first - first_node + 1] += 1
    for bucket in range(len(start) - 1):
        start[bucket + 1] += start[bucket]

    second = np.empty(start[-1], dtype=np.int32)
    filled = start[:-1].copy()
    for cell in cells:
        for a, b in HEXAHEDRON_EDGES:
            first = min(cell[a], cell[b])
            if first_node <= first < end_node:
                second[filled[first - first_node]] = max(cell[a], cell[b])
                filled[first - first_node] += 1

    # What is left of each bucket moves up in place: memory for all entries would be paged in twice.
    count = 0
    for bucket in range(len(filled)):
        ends = second[start[bucket] : filled[bucket]]
        _sort_bucket(ends)
        # A collapsed cell edge joins a node to itself: no edge.
        last = first_node + bucket
        for end in ends:
            if end != last:
                second[count] = last = end
                count += 1
        filled[bucket] = count

    edges = np.empty((count, 2), dtype=np.int32)
    row = 0
    for bucket in range(len(filled)):
        while row < filled[bucket]:
            edges[row, 0], edges[row, 1] = first_node + bucket, second[row]
            row += 1
    return edges


@njit(cache=True, nogil=True)
def _sort_bucket(bucket: NDArray[np.int32]) -> None:
    # Insertion beats quicksort on the few entries of a sound mesh by far; of a broken one, whose cells
    # all name one node, it would never end.
    if len(bucket) > LARGE_BUCKET:
        bucket.sort()
        return
    for i in range(1, len(bucket)):
        entry, j = bucket[i], i
        while j > 0 and bucket[j - 1] > entry:
            bucket[j] = bucket[j - 1]
            j -= 1
        bucket[j] = entry
