"""The edges of a mesh as the directed graph that message passing runs on."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def directed_graph(
    points: NDArray[np.float32], edges: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Every edge in both directions, with the way from its sender to its receiver.

    Parameters
    ----------
    points : (n, 3) float32 ndarray
        Node positions.
    edges : (e, 2) int32 ndarray
        Undirected edges.

    Returns
    -------
    edge_index : (2, 2 e) int64 ndarray
        Sender and receiver; the second half of the columns is the first half reversed.
    edge_attr : (2 e, 4) float32 ndarray
        Position of the receiver minus that of the sender, and its length, in the unit of `points`.

    Raises
    ------
    ValueError
        If an edge names a node that is not there.
    """
    return directed_graphs([(points, edges)])


def directed_graphs(
    meshes: Sequence[tuple[NDArray[np.float32], NDArray[np.int32]]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Join the directed graphs of several meshes into one, whose nodes are numbered through.

    Parameters
    ----------
    meshes : sequence of (points, edges)
        As in `directed_graph`.

    Returns
    -------
    edge_index, edge_attr : ndarray
        Those of `directed_graph` of each mesh, one after the other.

    Raises
    ------
    ValueError
        If an edge names a node that its mesh does not have.
    """
    columns = 2 * sum(len(edges) for _, edges in meshes)
    edge_index = np.empty((2, columns), np.int64)
    edge_attr = np.empty((columns, 4), np.float32)
    node = column = 0
    for points, edges in meshes:
        bad = _fill(
            np.ascontiguousarray(points), np.ascontiguousarray(edges), node, column, edge_index, edge_attr
        )
        if bad >= 0:
            raise ValueError(
                f"edge {bad} joins nodes {edges[bad].tolist()}, but the mesh has nodes 0 to {len(points) - 1}"
            )
        node += len(points)
        column += 2 * len(edges)
    return edge_index, edge_attr


@njit(nogil=True, cache=True)
def _fill(
    points: NDArray[np.float32],
    edges: NDArray[np.int32],
    node: int,
    column: int,
    edge_index: NDArray[np.int64],
    edge_attr: NDArray[np.float32],
) -> int:
    """Fill both arrays from a column on, in one pass; return the first edge that leads nowhere, or -1.

    `node` is added to the numbers of the nodes.
    """
    count = len(edges)
    for edge in range(count):
        first, second = edges[edge]
        if min(first, second) < 0 or max(first, second) >= len(points):
            return edge
        there, back = column + edge, column + count + edge
        edge_index[0, there] = edge_index[1, back] = node + first
        edge_index[1, there] = edge_index[0, back] = node + second
        squares = np.float32(0.0)
        for axis in range(3):
            offset = points[second, axis] - points[first, axis]
            edge_attr[there, axis] = offset
            edge_attr[back, axis] = -offset
            squares += offset * offset
        edge_attr[there, 3] = edge_attr[back, 3] = sqrt(squares)
    return -1
