"""Learning the steps of a build.

Shape suffixes: B samples, N nodes of the largest, M nodes of the largest step before, T targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pipelines.runs.features import input_channels
from pipelines.training.module import Surrogate

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.runs.checkpoint import Description
    from pipelines.training.data import Batch


def pushed(batch: Batch, error_BMT: Tensor, description: Description) -> Batch:
    """Start from a prediction of the state before rather than from the true one.

    Increments to learn then lead from there to the true state after.

    Parameters
    ----------
    batch : Batch
        With the steps before.
    error_BMT : Tensor
        Outputs of the model for these, less the true ones.
    description : Description
        Of the model; it has a task.
    """
    task, earlier = description.task, batch.earlier
    assert task is not None
    assert earlier is not None
    # The same in standard deviations of the outputs and in those of the states.
    output_std, state_std = (
        torch.tensor(std, dtype=error_BMT.dtype, device=error_BMT.device)
        for std in (description.scaling.std, task.state_std)
    )
    case_B11 = torch.arange(len(error_BMT), device=error_BMT.device)[:, None, None]
    error_BNT = (earlier.weights[..., None] * error_BMT[case_B11, earlier.nodes]).sum(dim=2)
    first = input_channels(description.features)
    inputs = batch.inputs.clone()
    inputs[..., first : first + len(output_std)] += error_BNT * output_std / state_std
    targets = batch.targets - error_BNT if task.increments else batch.targets
    return batch._replace(inputs=inputs, targets=targets)


class StepSurrogate(Surrogate):
    """A `Surrogate` of the steps of builds, whose loss is the error in standard deviations of the targets.

    Not relative to the targets of the sample, as a step may change nothing.  A batch with steps before is
    learnt by the pushforward trick: the model predicts these first, and no gradient goes through that
    (Brandstetter, Worrall and Welling 2022, arXiv 2202.03376, section 3.1).
    """

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Return what is differentiated, and the mean loss of the batch to show."""
        if batch.earlier is not None:
            earlier = batch.earlier.batch
            with torch.no_grad():
                error_BMT = self._of_all_nodes(self._predict(earlier) - earlier.targets)
            batch = pushed(batch, error_BMT, self.description)
        return super().training_step(batch, index)

    def _scale(self, batch: Batch) -> Tensor:
        return one_on_nodes(batch)

    def _of_all_nodes(self, values_BMT: Tensor) -> Tensor:
        """Values on all nodes of each step from those of this process."""
        return values_BMT


def one_on_nodes(batch: Batch) -> Tensor:
    """One for each target on each real node, (B, N, T)."""
    ones_BNT = torch.ones_like(batch.targets)
    return ones_BNT if batch.mask is None else ones_BNT * batch.mask[..., None]
