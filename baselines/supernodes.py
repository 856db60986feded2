"""Supernodes: some nodes of a case, spread over it, each with the nodes around it.

Shape suffixes: B cases, N nodes, S supernodes, K neighbours, C channels, A axes of space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from baselines.ordering import AXES, LAST, curve_order, node_counts, take_nodes

if TYPE_CHECKING:
    from torch import Tensor

DISTANCES_AT_ONCE = 2**19
"""Distances held in memory at a time, 8 bytes each: few enough for the cache of a CPU (a third faster)."""


class Supernodes(NamedTuple):
    """The supernodes of each case.

    Parameters
    ----------
    nodes : Tensor, (B, S) int64
        Which nodes they are.
    mask : Tensor, (B, S) bool, or None
        False where a case has fewer nodes than S; None if no case can.
    neighbors : Tensor, (B, S, K) int64
        Nodes within the radius, a supernode itself among them.
    is_neighbor : Tensor, (B, S, K) bool
        False where there are fewer than K.
    """

    nodes: Tensor
    mask: Tensor | None
    neighbors: Tensor
    is_neighbor: Tensor


@torch.no_grad()
def find_supernodes(
    x_BNC: Tensor, mask_BN: Tensor | None, num_supernodes: int, radius: float, max_neighbors: int
) -> Supernodes:
    """Choose supernodes evenly along `curve_order`, and the nearest nodes around each.

    Nodes at the same distance are taken in the order of the curve, so that neither the order in
    which nodes are stored nor padding plays a part.

    Parameters
    ----------
    x_BNC : Tensor, (B, N, C)
        Node features, the position first; finite on padding as well.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes.
    num_supernodes : int
        Supernodes of a case of as many nodes or more.
    radius : float
        Distance up to which nodes are neighbours.
    max_neighbors : int
        Neighbours of a supernode at most.
    """
    order_BN = curve_order(x_BNC, mask_BN)
    count_B1 = node_counts(x_BNC, mask_BN)[:, None]
    supernodes = min(num_supernodes, x_BNC.shape[1])
    rank_BS = torch.arange(supernodes, device=x_BNC.device) * count_B1 // supernodes
    position_BNA = take_nodes(x_BNC[..., :AXES], order_BN)
    rank_BSK, is_neighbor_BSK = _nearest(position_BNA, rank_BS, count_B1, radius, max_neighbors)
    return Supernodes(
        nodes=order_BN.gather(1, rank_BS),
        # A case with fewer nodes than S meets each of them several times in a row.
        mask=None if mask_BN is None else rank_BS.diff(dim=1, prepend=torch.full_like(count_B1, -1)) > 0,
        neighbors=order_BN.gather(1, rank_BSK.flatten(1)).view_as(rank_BSK),
        is_neighbor=is_neighbor_BSK,
    )


def _nearest(
    position_BNA: Tensor, rank_BS: Tensor, count_B1: Tensor, radius: float, max_neighbors: int
) -> tuple[Tensor, Tensor]:
    """Ranks of the nodes nearest to those of some ranks, (B, S, K), and which of them are within the radius.

    Squared distance, as the bits of a float32, and rank make one integer: its order is that by
    distance, then by rank, and no two are equal.
    """
    cases, nodes = position_BNA.shape[:2]
    position_BNA = position_BNA.float()
    node_rank_N = torch.arange(nodes, device=position_BNA.device)
    is_padding_B1N = (node_rank_N >= count_B1)[:, None, :]
    beyond = int(torch.tensor(radius**2, dtype=torch.float32).view(torch.int32)) + 1 << 32

    chunks = []
    for rank_Bs in rank_BS.split(max(1, DISTANCES_AT_ONCE // (cases * nodes)), dim=1):
        squared_BsN = torch.zeros(())
        for start_BA, coordinate_BN in zip(
            take_nodes(position_BNA, rank_Bs).unbind(dim=2), position_BNA.unbind(dim=2), strict=True
        ):
            squared_BsN = squared_BsN + (start_BA[:, :, None] - coordinate_BN[:, None, :]).square()
        key_BsN = (squared_BsN.view(torch.int32).long() << 32) | node_rank_N
        key_BsN = key_BsN.masked_fill(is_padding_B1N, LAST)
        chunks.append(key_BsN.topk(min(max_neighbors, nodes), dim=2, largest=False).values)
    key_BSK = torch.cat(chunks, dim=1)
    is_near_BSK = key_BSK < beyond
    return (key_BSK & 0xFFFFFFFF).masked_fill(~is_near_BSK, 0), is_near_BSK
