"""From the coarser graphs of a case to the tensors that a multiscale model takes."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_array

from baselines.convention import EDGE_FEATURES, MeshEdges, MeshLevel, MeshLevels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from baselines.bistride import CoarseGraph


def mesh_levels(
    points: NDArray[np.floating], edges: NDArray[np.integer], graphs: Sequence[CoarseGraph]
) -> MeshLevels:
    """Make the levels of one case.

    The links and weights are those of BSMS-GNN (arXiv 2210.02573, published code).  A node of weight w
    and degree d, where all of the mesh weigh one, sends ``w / d`` to each neighbour.  A kept node takes
    the mean over its neighbours with what they sent as their weight; the sum of these is its own weight
    on the coarser level.  Its position there is the same mean of positions, and the features of coarse
    edges come from those.

    Parameters
    ----------
    points : (n, 3) float32 or float64 ndarray
        Node positions, scaled as in the node features; tensors are of this dtype.
    edges : (m, 2) integer ndarray
        Undirected mesh edges.
    graphs : sequence of CoarseGraph
        What `coarsen` made of the mesh; it need not have seen the positions scaled.

    Returns
    -------
    MeshLevels
        Of a batch of this case alone, without padding.
    """
    positions, weights = points.astype(np.float64), np.ones(len(points))
    levels = []
    for graph in graphs:
        transfer, weights = _transfer(edges, graph.kept, weights)
        positions, edges = transfer @ positions, graph.edges
        links = transfer.tocoo()
        levels.append(
            MeshLevel(
                node_count=len(graph.kept),
                links=torch.from_numpy(np.stack([links.col, links.row]).astype(np.int64)),
                weights=torch.from_numpy(links.data.astype(points.dtype)),
                edges=_directed_edges(positions.astype(points.dtype), edges),
            )
        )
    return tuple(levels)


def batch_levels(cases: Sequence[MeshLevels], case_nodes: Sequence[int], nodes: int) -> MeshLevels:
    """Put the levels of cases together.

    Parameters
    ----------
    cases : sequence of MeshLevels
        As `mesh_levels` makes them, all with as many levels.
    case_nodes : sequence of int
        Mesh nodes of each case; they come first among its rows of the batch.
    nodes : int
        N, the rows that each case has in the batch.

    Returns
    -------
    MeshLevels
        Of the batch.

    Raises
    ------
    ValueError
        If the cases have different numbers of levels, or one has more than N nodes.
    """
    if len({len(levels) for levels in cases}) > 1:
        raise ValueError(
            f"the cases have {', '.join(str(len(levels)) for levels in cases)} levels, not equally many"
        )
    if max(case_nodes) > nodes:
        raise ValueError(f"a case of {max(case_nodes)} nodes does not fit in {nodes} rows")
    finer_starts = [nodes * number for number in range(len(cases))]
    batch = []
    for levels in zip(*cases, strict=True):
        starts = [0, *accumulate(level.node_count for level in levels)]
        links, endpoints = [], []
        for level, finer_start, start in zip(levels, finer_starts, starts, strict=False):
            links.append(level.links + torch.tensor([[finer_start], [start]]))
            endpoints.append(level.edges.endpoints + start)
        features = torch.cat([level.edges.features for level in levels])
        batch.append(
            MeshLevel(
                node_count=starts[-1],
                links=torch.cat(links, dim=1),
                weights=torch.cat([level.weights for level in levels]),
                edges=MeshEdges(torch.cat(endpoints, dim=1), features),
            )
        )
        finer_starts = starts
    return tuple(batch)


def _transfer(
    edges: NDArray[np.integer], kept: NDArray[np.integer], weights: NDArray[np.float64]
) -> tuple[csr_array, NDArray[np.float64]]:
    """Return the means as a matrix, (kept, nodes), and the weights of the kept nodes."""
    senders, receivers = _both_ways(edges)
    degrees = np.bincount(senders)
    shares = weights[senders] / degrees[senders]
    sent = csr_array((shares, (receivers, senders)), shape=(len(weights), len(weights)))[kept]
    received = sent.sum(axis=1)
    # A kept node without neighbours has an empty row.
    sent.data /= np.repeat(received, np.diff(sent.indptr))
    return sent, received


def _directed_edges(points: NDArray[np.floating], edges: NDArray[np.integer]) -> MeshEdges:
    count = len(edges)
    features = np.empty((2 * count, EDGE_FEATURES), dtype=points.dtype)
    # Several times as fast as indexing.
    relative = points.take(edges[:, 1], axis=0) - points.take(edges[:, 0], axis=0)
    features[:count, :3] = relative
    np.negative(relative, out=features[count:, :3])
    features[:count, 3] = features[count:, 3] = np.sqrt(np.einsum("ij,ij->i", relative, relative))
    return MeshEdges(torch.from_numpy(_both_ways(edges)), torch.from_numpy(features))


def _both_ways(edges: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return senders and receivers, (2, 2 m): each edge from its first node on, then each back."""
    count = len(edges)
    endpoints = np.empty((2, 2 * count), dtype=np.int64)
    endpoints[0, :count] = endpoints[1, count:] = edges[:, 0]
    endpoints[1, :count] = endpoints[0, count:] = edges[:, 1]
    return endpoints
