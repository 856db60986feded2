"""What is trained, on what loss, by which optimiser.

Shape suffixes: B cases, N nodes of the largest, T targets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule

from pipelines.accumulation import MeanOverCases
from pipelines.checkpoint import SURROGATE_KEY, Description
from pipelines.optimisers import make_optimizer
from pipelines.schedules import make_schedule

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from pipelines.budget import Budget
    from pipelines.data import Batch
    from pipelines.options import TrainOptions

CHECK_INTERVAL = 50
"""Steps between checks for a loss that is not finite: each check waits for the accelerator."""


class TrainingDivergedError(RuntimeError):
    """The loss is not finite any more."""


def relative_l2_loss(prediction_BNT: Tensor, target_BNT: Tensor) -> Tensor:
    """Relative L2 error of each case over its nodes and targets together, (B,).

    Both arguments are zero on padding, which therefore adds nothing to either norm.
    """
    error_B = (prediction_BNT - target_BNT).flatten(1).norm(dim=1)
    return error_B / target_BNT.flatten(1).norm(dim=1)


class Surrogate(LightningModule):
    """A model with its loss: relative L2 of the *standardised* targets, mean over cases.

    Parameters
    ----------
    model : Module
        Follows `baselines.convention.FieldModel`, or takes more as `description` says.
    description : Description
        What it takes to build `model` again; stored in each checkpoint.
    options : TrainOptions
        Optimiser, schedule and seed.
    budget : Budget
        What the schedule spans.
    """

    def __init__(
        self, model: nn.Module, description: Description, options: TrainOptions, budget: Budget
    ) -> None:
        super().__init__()
        self.model = model
        self.description = description
        self._options = options
        self._budget = budget
        self._mean = MeanOverCases()
        self._unchecked: list[tuple[tuple[str, ...], Tensor]] = []

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make optimiser and schedule as the options ask for."""
        sizes = {name: self.description.model_options[name] for name in ("in_channels", "out_channels")}
        optimizer = make_optimizer(self.model, self._options, **sizes)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = make_schedule(
            optimizer, self._options, steps, lambda step: self._budget.share(step, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Seed from the epoch, so that a resumed training draws what an uninterrupted one does."""
        sequence = np.random.SeedSequence([self._options.seed, self.current_epoch, self.global_rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        """Return what is differentiated, and the mean loss of the batch to show."""
        loss_B = self._losses(batch)
        self._unchecked.append((batch.case_ids, loss_B.detach()))
        mean = loss_B.detach().mean()
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=len(loss_B), sync_dist=True)
        return {"loss": self._mean.add(loss_B), "mean_loss": mean}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:  # noqa: ARG002
        """Give each case of the step the same weight."""
        self._mean.rescale(self.model, self.trainer)

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:  # noqa: ARG002
        """Stop if a loss is not finite, at the latest before the epoch is validated and saved."""
        is_last = batch_index + 1 == self.trainer.num_training_batches or self.trainer.should_stop
        if not is_last and (batch_index + 1) % CHECK_INTERVAL:
            return
        finite = torch.cat([loss_B for _, loss_B in self._unchecked]).isfinite().tolist()
        names = [case_id for case_ids, _ in self._unchecked for case_id in case_ids]
        self._unchecked.clear()
        if not all(finite):
            case_id = names[finite.index(False)]
            raise TrainingDivergedError(
                f"the loss of case {case_id!r} is not finite in epoch {self.current_epoch + 1}"
            )

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss of a batch; the trainer has put the averaged weights in place."""
        loss_B = self._losses(batch)
        self.log("val_loss", loss_B.mean(), on_epoch=True, batch_size=len(loss_B), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes a checkpoint usable by itself."""
        checkpoint[SURROGATE_KEY] = asdict(self.description)

    def _losses(self, batch: Batch) -> Tensor:
        prediction_BNT = self.model(batch.inputs, batch.mask, **batch.mesh)
        return relative_l2_loss(prediction_BNT.float(), batch.targets)
