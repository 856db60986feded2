"""Connectivity of hexahedral meshes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

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


def check_cells(cells: NDArray[np.integer], node_count: int) -> None:
    """Check that an array is the connectivity of hexahedra over so many nodes.

    Parameters
    ----------
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.
    node_count : int
        Number of nodes of the mesh.

    Raises
    ------
    ValueError
        If the shape, the dtype or an index is wrong.
    """
    if cells.ndim != 2 or cells.shape[1] != 8 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(f"cells must be an (m, 8) integer array, not {cells.shape} {cells.dtype}")
    if len(cells) and (cells.min() < 0 or cells.max() >= node_count):
        raise ValueError(
            f"cells name nodes {cells.min()} to {cells.max()}, but the mesh has nodes 0 to {node_count - 1}"
        )


def unique_edges(cells: NDArray[np.integer], node_count: int) -> NDArray[np.int32]:
    """Undirected edges of a hexahedral mesh, each once.

    An edge of a large cell on which a hanging node lies stays an edge, beside the two short ones.

    Parameters
    ----------
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    node_count : int
        Number of nodes of the mesh.

    Returns
    -------
    (e, 2) int32 ndarray
        First node < second, in lexicographic order.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `node_count` nodes.
    """
    check_cells(cells, node_count)
    return _unique_edges(np.ascontiguousarray(cells), node_count, HEXAHEDRON_EDGES)


@njit(cache=True, nogil=True)
def _unique_edges(
    cells: NDArray[np.integer], node_count: int, corners: NDArray[np.int64]
) -> NDArray[np.int32]:
    # Bucket each edge under its first node; a bucket holds a few dozen entries at most, so sorting
    # inside the buckets costs linear time overall, where sorting all edges would not.
    start = np.zeros(node_count + 1, dtype=np.int64)
    for cell in cells:
        for a, b in corners:
            start[min(cell[a], cell[b]) + 1] += 1
    for node in range(node_count):
        start[node + 1] += start[node]

    second = np.empty(start[node_count], dtype=np.int32)
    filled = start[:node_count].copy()
    for cell in cells:
        for a, b in corners:
            first = min(cell[a], cell[b])
            second[filled[first]] = max(cell[a], cell[b])
            filled[first] += 1

    edges = np.empty((len(second), 2), dtype=np.int32)
    count = 0
    for node in range(node_count):
        bucket = second[start[node] : start[node + 1]]
        _sort_bucket(bucket)
        for i in range(len(bucket)):
            # A collapsed cell edge joins a node to itself: no edge.
            if bucket[i] != node and (i == 0 or bucket[i] != bucket[i - 1]):
                edges[count, 0] = node
                edges[count, 1] = bucket[i]
                count += 1
    return edges[:count].copy()


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
