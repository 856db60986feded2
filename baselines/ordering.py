"""An order of the nodes of a case that does not depend on how they are stored.

For models that need a sequence, or a choice of nodes: along a space-filling curve, nodes near each
other on it are near each other in space.

Shape suffixes: B cases, N nodes, C channels, A axes of space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

AXES = 3
"""Leading node features that are the position; fewer where there are fewer features."""

CURVE_BITS = 20
"""The curve passes through 2^20 cells along the longest side of a case: as fine as float32 nearly."""

LAST = torch.iinfo(torch.int64).max


@torch.no_grad()
def curve_order(x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Order the nodes of each case along the Z-order (Morton) curve through its bounding cube.

    Nodes in the same cell of the curve are ordered by their features, so only nodes that are alike in
    all of them keep the order in which they are stored.

    Parameters
    ----------
    x_BNC : Tensor, (B, N, C), floating point
        Node features, the position first; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes.

    Returns
    -------
    Tensor, (B, N) int64
        Number of the first node on the curve, of the second, and so on; padding comes last.
    """
    code_BN = _morton_codes(x_BNC[..., :AXES], mask_BN)
    order_BN = torch.arange(x_BNC.shape[1], device=x_BNC.device).expand(x_BNC.shape[:2])
    for key_BN in [*reversed(x_BNC.unbind(dim=-1)), code_BN]:
        along_BN = key_BN.gather(1, order_BN).argsort(dim=1, stable=True)
        order_BN = order_BN.gather(1, along_BN)
    return order_BN


def _morton_codes(position_BNA: Tensor, mask_BN: Tensor | None) -> Tensor:
    """Place of each node's cell on the curve, (B, N) int64; padding beyond all."""
    low_BNA = high_BNA = position_BNA
    if mask_BN is not None:
        low_BNA = position_BNA.masked_fill(~mask_BN[..., None], float("inf"))
        high_BNA = position_BNA.masked_fill(~mask_BN[..., None], float("-inf"))
    corner_B1A = low_BNA.amin(dim=1, keepdim=True)
    side_B11 = (high_BNA.amax(dim=1, keepdim=True) - corner_B1A).amax(dim=2, keepdim=True)
    smallest = torch.finfo(position_BNA.dtype).tiny
    unit_BNA = (position_BNA - corner_B1A) / side_B11.clamp_min(smallest)
    cell_BNA = (unit_BNA.to(torch.promote_types(unit_BNA.dtype, torch.float32)) * (2**CURVE_BITS - 1)).long()
    code_BN = torch.zeros_like(cell_BNA[..., 0])
    for axis, cell_BN in enumerate(cell_BNA.unbind(dim=-1)):
        code_BN = code_BN | (_spread_bits(cell_BN) << axis)
    return code_BN if mask_BN is None else code_BN.masked_fill(~mask_BN, LAST)


def _spread_bits(cell_BN: Tensor) -> Tensor:
    """Move bit i to bit 3 i, for the 21 lowest bits."""
    for shift, kept in (
        (32, 0x001F00000000FFFF),
        (16, 0x001F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cell_BN = (cell_BN | (cell_BN << shift)) & kept
    return cell_BN


def node_counts(x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Real nodes of each case, (B,) int64."""
    if mask_BN is not None:
        return mask_BN.sum(dim=1)
    return torch.full(x_BNC.shape[:1], x_BNC.shape[1], device=x_BNC.device)


def take_nodes(x_BNC: Tensor, nodes_BK: Tensor) -> Tensor:
    """Features of the nodes of these numbers in each case, (B, K, C)."""
    start_B1 = torch.arange(len(x_BNC), device=x_BNC.device)[:, None] * x_BNC.shape[1]
    return x_BNC.flatten(0, 1).index_select(0, (nodes_BK + start_B1).flatten()).view(*nodes_BK.shape, -1)
