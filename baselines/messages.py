"""Sums over the edges that end at a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def sum_received(message_EC: Tensor, receivers: Tensor, nodes: int) -> Tensor:
    """Sum at each node the messages along the edges that end there.

    Parameters
    ----------
    message_EC : Tensor, (E, C)
        What each edge carries.
    receivers : Tensor, (E,) int64
        Node at which each edge ends, below `nodes`.
    nodes : int
        How many nodes there are, R.

    Returns
    -------
    Tensor, (R, C)
        Zero at nodes that receive nothing.
    """
    # `index_add` would keep the messages for the backward pass, though it needs nothing but their shape.
    index_EC = receivers[:, None].expand_as(message_EC)
    return message_EC.new_zeros(nodes, message_EC.shape[1]).scatter_add_(0, index_EC, message_EC)
