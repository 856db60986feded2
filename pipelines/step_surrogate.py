"""Learning the steps of a build.

Shape suffixes: B samples, N nodes of the largest, T targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.module import Surrogate

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.data import Batch


def standardised_error(prediction_BNT: Tensor, target_BNT: Tensor, mask_BN: Tensor | None) -> Tensor:
    """Root mean square of the error of each sample over its nodes and targets, (B,).

    Not relative to the targets of the sample, as a step may change nothing.  Both are zero on padding.
    """
    nodes = target_BNT.shape[1] if mask_BN is None else mask_BN.sum(dim=1)
    return (prediction_BNT - target_BNT).flatten(1).norm(dim=1) / (nodes * target_BNT.shape[2]) ** 0.5


class StepSurrogate(Surrogate):
    """A `Surrogate` of the steps of builds, whose loss is the error in standard deviations of the targets."""

    def _losses(self, batch: Batch) -> Tensor:
        prediction_BNT = self.model(batch.inputs, batch.mask, **batch.mesh)
        return standardised_error(prediction_BNT.float(), batch.targets, batch.mask)
