"""Graphs for graph convolutions, and the smaller ones that pooling makes of them.

Shape suffixes: B cases, T nodes of all cases without padding, K nodes of these that pooling keeps,
E directed edges.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

LOOP_WEIGHT = 2.0
"""Weight of a node's edge to itself, others having 1 (arXiv 1905.05178, section 3.5)."""


class WeightedGraph(NamedTuple):
    """The graph of all cases of a batch, each node with an edge to itself.

    Parameters
    ----------
    endpoints : Tensor, (2, E) int64
        Senders and receivers.
    weights : Tensor, (E,)
        What messages along each edge are multiplied by.
    cases : Tensor, (T,) int64
        Case of each node; ascending, each case with one node at least.
    """

    endpoints: Tensor
    weights: Tensor
    cases: Tensor


def with_loops(endpoints: Tensor, cases_T: Tensor, dtype: torch.dtype) -> WeightedGraph:
    """Add an edge from each node to itself and weigh all as a GCN does, D^-1/2 (A + 2 I) D^-1/2.

    Parameters
    ----------
    endpoints : Tensor, (2, E) int64
        Edges, none from a node to itself.
    cases_T : Tensor, (T,) int64
        Case of each node.
    dtype : torch.dtype
        Of the weights.
    """
    nodes = len(cases_T)
    loops = torch.arange(nodes, device=endpoints.device).expand(2, -1)
    weights = torch.ones(endpoints.shape[1] + nodes, dtype=dtype, device=endpoints.device)
    weights[endpoints.shape[1] :] = LOOP_WEIGHT
    endpoints = torch.cat([endpoints, loops], dim=1)
    senders, receivers = endpoints
    degree_T = weights.new_zeros(nodes).index_add_(0, receivers, weights)
    return WeightedGraph(endpoints, weights * (degree_T[senders] * degree_T[receivers]).rsqrt(), cases_T)


def two_hops(graph: WeightedGraph, kept_K: Tensor) -> WeightedGraph:
    """Join the kept nodes that are at most two edges apart.

    That is where (A + I)^2 is not zero; only its rows and columns of kept nodes are computed.

    Parameters
    ----------
    graph : WeightedGraph
        Any.
    kept_K : Tensor, (K,) int64
        Numbers of the kept nodes, ascending.

    Returns
    -------
    WeightedGraph
        Of the kept nodes, renumbered in this order.
    """
    nodes, kept = len(graph.cases), len(kept_K)
    senders, receivers = graph.endpoints
    number_T = torch.full((nodes,), -1, device=kept_K.device)
    number_T[kept_K] = torch.arange(kept, device=kept_K.device)
    first = number_T[senders] >= 0
    second = number_T[receivers] >= 0
    from_kept = _adjacency(receivers[first], number_T[senders[first]], (nodes, kept))
    to_kept = _adjacency(number_T[receivers[second]], senders[second], (kept, nodes))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        reached = torch.sparse.mm(to_kept, from_kept).coalesce().indices()
    # The matrix has receivers as rows.
    endpoints = reached.flip(0)[:, reached[0] != reached[1]]
    return with_loops(endpoints, graph.cases[kept_K], graph.weights.dtype)


def _adjacency(rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the sparse matrix with ones at these places."""
    ones = torch.ones(len(rows), device=rows.device)
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), ones, shape, check_invariants=False)


def top_share(score_T: Tensor, cases_T: Tensor, ratio: float) -> Tensor:
    """Choose the nodes with the highest scores of each case.

    Parameters
    ----------
    score_T : Tensor, (T,)
        Score of each node.
    cases_T : Tensor, (T,) int64
        As of `WeightedGraph`.
    ratio : float
        Share of its nodes that a case keeps, rounded up.

    Returns
    -------
    Tensor, (K,) int64
        Ascending; of equal scores, the earlier node's counts as higher.
    """
    order_T = score_T.argsort(descending=True, stable=True)
    order_T = order_T[cases_T[order_T].argsort(stable=True)]
    counts_B = cases_T.bincount()
    starts_B = counts_B.cumsum(0) - counts_B
    rank_T = torch.empty_like(order_T)
    rank_T[order_T] = torch.arange(len(order_T), device=order_T.device) - starts_B[cases_T]
    quota_B = (counts_B.double() * ratio).ceil()
    return (rank_T < quota_B[cases_T]).nonzero().flatten()


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Dtype for sums over neighbours and for ranks, which bfloat16 would spoil."""
    return torch.promote_types(dtype, torch.float32)
