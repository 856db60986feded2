"""A deep ensemble as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable


class EnsembleModel(nn.Module):
    """Models of one kind that were trained from different seeds.

    Lakshminarayanan et al. 2017, Simple and scalable predictive uncertainty estimation using deep ensembles,
    arXiv 1612.01474.  Called like each of them, it gives the mean of what they give.

    Parameters
    ----------
    members : iterable of Module
        At least two.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        assert len(self.members) > 1

    def each(self, *inputs: Tensor, **mesh: object) -> Tensor:
        """Compute the outputs of every member, (members, ...)."""
        return torch.stack([member(*inputs, **mesh) for member in self.members])

    def forward(self, *inputs: Tensor, **mesh: object) -> Tensor:
        """Mean of the outputs of the members."""
        return self.each(*inputs, **mesh).mean(dim=0)
