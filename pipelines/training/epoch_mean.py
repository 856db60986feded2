"""The mean loss of an epoch, over all of its cases wherever they were computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pipelines.training.ranks import add_up, is_rank_zero

if TYPE_CHECKING:
    from torch import Tensor


class EpochMean:
    """Mean of a loss over cases: each counts once, over all batches and ranks, and over an interruption.

    Lightning's own mean of what is logged forgets the batches before a resume.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self._sum: Tensor | None = None
        self._cases = 0

    def update(self, loss_B: Tensor) -> None:
        """Add the losses of a batch; does not wait for the accelerator.

        Parameters
        ----------
        loss_B : Tensor, (B,)
            Of each case.
        """
        batch_sum = loss_B.detach().sum()
        self._sum = batch_sum if self._sum is None else self._sum.to(batch_sum.device) + batch_sum
        self._cases += len(loss_B)

    def mean(self) -> Tensor:
        """Mean over the cases of all ranks so far, a scalar; every rank has to ask for it at once."""
        total, cases = self._totals()
        return total / cases

    def state(self) -> list[float]:
        """Sum and number of cases over all ranks; every rank has to ask for it at once."""
        return [float(value) for value in self._totals()]

    def restore(self, state: list[float]) -> None:
        """Go on from what `state` gave."""
        total, cases = state
        self.reset()
        # Each rank adds its own to what rank 0 starts from.
        if is_rank_zero() and cases:
            self._sum, self._cases = torch.tensor(total), int(cases)

    def _totals(self) -> Tensor:
        total = torch.zeros(()) if self._sum is None else self._sum
        return add_up(torch.stack([total, torch.full_like(total, self._cases)]))
