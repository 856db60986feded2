"""Coarser and coarser graphs of a mesh by bi-stride pooling (Cao et al., ICML 2023, arXiv 2210.02573).

A breadth-first search from the middle of each connected component sorts its nodes into frontiers.
Every other frontier is kept, and kept nodes at most two edges apart are joined.  So every dropped node
has a kept neighbour, what was connected stays connected, and nothing else is joined, however close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CoarseGraph:
    """What pooling leaves of a graph.

    Parameters
    ----------
    kept : (k,) int32 ndarray
        Numbers, in the finer graph, of the nodes that were kept; ascending.
    edges : (m, 2) int32 ndarray
        Undirected edges between them, each once: node i is the i-th kept.  First node < second, rows
        in lexicographic order.
    """

    kept: NDArray[np.int32]
    edges: NDArray[np.int32]


def coarsen(
    points: NDArray[np.floating], edges: NDArray[np.integer], num_levels: int
) -> tuple[CoarseGraph, ...]:
    """Pool a mesh, then what was left of it, and so on.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, in any unit; they choose where each search begins.
    edges : (m, 2) integer ndarray
        Undirected mesh edges.
    num_levels : int
        How often to pool.  A component that is down to one node keeps it.

    Returns
    -------
    tuple of CoarseGraph
        From fine to coarse.  The same for the same input, always.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, a position is not finite, or an edge names no node.
    """
    _check_mesh(points, edges)
    levels: list[CoarseGraph] = []
    for _ in range(num_levels):
        levels.append(_pool(points, edges))
        points, edges = points[levels[-1].kept], levels[-1].edges
    return tuple(levels)


def _check_mesh(points: NDArray[np.floating], edges: NDArray[np.integer]) -> None:
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"points must be finite and (n, 3), not {points.shape} {points.dtype}")
    if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise ValueError(f"edges must be integers and (m, 2), not {edges.shape} {edges.dtype}")
    if len(edges) and (edges.min() < 0 or edges.max() >= len(points)):
        raise ValueError(f"edges name nodes {edges.min()} to {edges.max()}; there are {len(points)}")


def _pool(points: NDArray[np.floating], edges: NDArray[np.integer]) -> CoarseGraph:
    node_count = len(points)
    ends = np.concatenate([edges, edges[:, ::-1]]).T
    adjacency = csr_array((np.ones(ends.shape[1], dtype=bool), tuple(ends)), shape=(node_count, node_count))
    first, neighbours = adjacency.indptr.astype(np.int64), adjacency.indices.astype(np.int32)

    component_count, component = connected_components(adjacency, directed=False)
    seeds = _nearest_to_centre(points, component, component_count)
    odd = _distances(first, neighbours, seeds, node_count) % 2 == 1
    kept = np.flatnonzero(odd == _keeps_odd(odd, component, component_count)[component]).astype(np.int32)

    number = np.full(node_count, -1, dtype=np.int32)
    number[kept] = np.arange(len(kept))
    degrees, others = _within_two_edges(first, neighbours, kept, number)
    starts = np.repeat(np.arange(len(kept), dtype=np.int32), degrees)
    return CoarseGraph(kept, np.column_stack([starts, others]))


def _nearest_to_centre(
    points: NDArray[np.floating], component: NDArray[np.int32], component_count: int
) -> NDArray[np.int64]:
    """Find the node nearest to the mean position of each component, the first of several.

    The published code offers this for large meshes; its alternative, the least mean distance along
    the graph, takes quadratic time.
    """
    sizes = np.bincount(component, minlength=component_count)
    sums = [np.bincount(component, along_axis, component_count) for along_axis in points.T]
    centres = np.column_stack(sums) / sizes[:, None]
    squared = np.square(points - centres[component]).sum(axis=1)
    by_distance = np.lexsort((squared, component))
    return by_distance[np.cumsum(sizes) - sizes]


def _keeps_odd(
    odd: NDArray[np.bool_], component: NDArray[np.int32], component_count: int
) -> NDArray[np.bool_]:
    """Tell which components keep their odd frontiers: those that have fewer nodes in these, but some."""
    sizes = np.bincount(component, minlength=component_count)
    odd_sizes = np.bincount(component, odd, component_count)
    return (odd_sizes > 0) & (odd_sizes < sizes - odd_sizes)


@njit(cache=True, nogil=True)
def _distances(first, neighbours, seeds, node_count):  # type: ignore[no-untyped-def]
    """Count the edges from each node to the nearest seed; each component has one."""
    distance = np.full(node_count, -1, dtype=np.int32)
    queue = np.empty(node_count, dtype=np.int32)
    queue[: len(seeds)] = seeds
    distance[seeds] = 0
    end = len(seeds)
    for begin in range(node_count):
        node = queue[begin]
        for other in neighbours[first[node] : first[node + 1]]:
            if distance[other] < 0:
                distance[other] = distance[node] + 1
                queue[end] = other
                end += 1
    return distance


@njit(cache=True, nogil=True)
def _within_two_edges(first, neighbours, kept, number):  # type: ignore[no-untyped-def]
    """Find the later kept nodes at most two edges from each kept node: how many, and all in order."""
    degrees = np.empty(len(kept), dtype=np.int64)
    found = np.empty(max(len(neighbours), 1), dtype=np.int32)
    found_from = np.full(len(kept), -1, dtype=np.int32)
    end = 0
    for i in range(len(kept)):
        begin = end
        # As many as there are kept nodes is the most that one of them can find.
        if end + len(kept) > len(found):
            found = np.concatenate((found, np.empty(len(found) + len(kept), dtype=np.int32)))
        for via in neighbours[first[kept[i]] : first[kept[i] + 1]]:
            j = number[via]
            if j > i and found_from[j] != i:
                found_from[j] = i
                found[end] = j
                end += 1
            for other in neighbours[first[via] : first[via + 1]]:
                j = number[other]
                if j > i and found_from[j] != i:
                    found_from[j] = i
                    found[end] = j
                    end += 1
        found[begin:end].sort()
        degrees[i] = end - begin
    return degrees, found[:end]
