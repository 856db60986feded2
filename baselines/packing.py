"""Batches of graphs without their padding: the nodes of all cases one after another.

Shape suffixes: B cases, N nodes of the largest case, T real nodes of all cases, C channels, E directed edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor


class PackedNodes(NamedTuple):
    """Where the real nodes of a padded batch are.

    Parameters
    ----------
    places : Tensor, (T,) int64
        Of each real node, its number in the padded batch, b * N + n; ascending.
    cases : Tensor, (T,) int64
        Of each real node, its case.
    shape : tuple of int
        B and N.
    """

    places: Tensor
    cases: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, x_BNC: Tensor, mask_BN: Tensor | None) -> PackedNodes:
        """Find the real nodes of a batch; an accelerator is waited for if there is a mask."""
        cases, nodes = x_BNC.shape[:2]
        if mask_BN is None:
            places = torch.arange(cases * nodes, device=x_BNC.device)
        else:
            places = mask_BN.flatten().nonzero().flatten()
        return cls(places, places.div(nodes, rounding_mode="floor"), (cases, nodes))

    def pack(self, x_BNC: Tensor) -> Tensor:
        """Leave the padding out, (B, N, C) to (T, C)."""
        return x_BNC.flatten(0, 1).index_select(0, self.places)

    def unpack(self, x_TC: Tensor) -> Tensor:
        """Put nodes on their places among zeros, (T, C) to (B, N, C)."""
        cases, nodes = self.shape
        x_RC = x_TC.new_zeros(cases * nodes, x_TC.shape[1]).index_copy(0, self.places, x_TC)
        return x_RC.unflatten(0, self.shape)

    def renumber(self, endpoints: Tensor) -> Tensor:
        """Give the ends of edges, (2, E), their numbers among real nodes."""
        return torch.searchsorted(self.places, endpoints.contiguous())
