"""A deep ensemble as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray


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

    def each(self, inputs: Iterable[Tensor], *rest: Tensor, **mesh: object) -> Tensor:
        """Compute the outputs of every member from inputs of its own, (members, ...)."""
        outputs = [member(x, *rest, **mesh) for member, x in zip(self.members, inputs, strict=True)]
        return torch.stack(outputs)

    def forward(self, inputs: Tensor, *rest: Tensor, **mesh: object) -> Tensor:
        """Mean of the outputs of the members from the same inputs."""
        return self.each([inputs] * len(self.members), *rest, **mesh).mean(dim=0)


def mean_and_spread(
    each: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Sum up the predictions of all members.

    Parameters
    ----------
    each : (members, ...) float32 ndarray
        One or more.

    Returns
    -------
    mean : (...) float32 ndarray
        Over the members.
    std : (...) float32 ndarray or None
        The root of the unbiased variance, whose divisor is one less than the number of members.  None for
        a single model.
    """
    if len(each) == 1:
        return each[0], None
    return each.mean(axis=0), each.std(axis=0, ddof=1)
