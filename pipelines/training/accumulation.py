"""The gradient of the mean loss over all cases of a step, however these are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor, nn


class MeanOverCases:
    """Sums losses over the batches of a step and scales the gradient by the number of their cases.

    The batches of a step, one after another or on several processes, may hold different numbers of cases,
    and the last step of an epoch fewer batches than the others.  The mean of their means would weigh
    their cases differently; this weighs all alike.
    """

    def __init__(self) -> None:
        self._cases = 0

    def add(self, loss_B: Tensor) -> Tensor:
        """Count the cases of a batch; returns what is to be differentiated.

        Parameters
        ----------
        loss_B : Tensor, (B,)
            Loss of each case.
        """
        self._cases += len(loss_B)
        return loss_B.sum()

    def rescale(self, module: nn.Module, trainer: Trainer) -> None:
        """Make the gradients those of the mean, right before they are clipped and the step is taken.

        The trainer has divided their sum by the number of batches in a full step and, where there are
        several, of processes.
        """
        cases: Tensor | float = float(self._cases)
        if trainer.world_size > 1:
            cases = trainer.strategy.reduce(
                torch.tensor(cases, device=trainer.strategy.root_device), reduce_op="sum"
            )
        factor = trainer.accumulate_grad_batches * trainer.world_size / cases
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        self._cases = 0
