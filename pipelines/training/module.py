"""What is trained, on what loss, by which optimiser.

Shape suffixes: B cases, N nodes of the largest, T targets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule

from pipelines.runs.checkpoint import SURROGATE_KEY, Description
from pipelines.training.accumulation import MeanOverCases
from pipelines.training.epoch_mean import EpochMean
from pipelines.training.optimisers import make_optimizer
from pipelines.training.ranks import add_up, gather
from pipelines.training.schedules import make_schedule

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from pipelines.training.budget import Budget
    from pipelines.training.data import Batch
    from pipelines.training.options import TrainOptions

PROGRESS_KEY = "epoch_loss"
"""Where a checkpoint keeps the training loss of the epoch under way."""

CHECK_INTERVAL = 50
"""Steps between checks for a loss that is not finite: each check waits for the accelerator."""


class TrainingDivergedError(RuntimeError):
    """The loss is not finite any more."""


def relative_l2_loss(prediction_BNT: Tensor, target_BNT: Tensor, scale_BNT: Tensor | None = None) -> Tensor:
    """Relative L2 error of each case over its nodes and targets together, (B,).

    All arguments are zero on padding, which therefore adds nothing to any norm.

    Parameters
    ----------
    prediction_BNT, target_BNT : Tensor
        What is compared.
    scale_BNT : Tensor, optional
        What the error is relative to; the targets by default.
    """
    error_B = (prediction_BNT - target_BNT).flatten(1).norm(dim=1)
    return error_B / (target_BNT if scale_BNT is None else scale_BNT).flatten(1).norm(dim=1)


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
        self._train_loss = EpochMean()
        self._val_loss = EpochMean()
        self._unchecked: list[tuple[tuple[str, ...], Tensor]] = []

    @property
    def total_steps(self) -> int:
        """Steps of the whole training, if it does not run out of time."""
        steps = int(self.trainer.estimated_stepping_batches)
        return min(steps, self._options.max_steps or steps)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make optimiser and schedule as the options ask for."""
        sizes = {name: self.description.model_options[name] for name in ("in_channels", "out_channels")}
        optimizer = make_optimizer(self.model, self._options, **sizes)
        steps = self.total_steps
        schedule = make_schedule(
            optimizer, self._options, steps, lambda step: self._budget.share(step, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Begin the mean loss; not called when training goes on within an epoch."""
        self._train_loss.reset()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:  # noqa: ARG002
        """Seed from the position in training, so that a resumed one draws what an uninterrupted one does."""
        position = [self._options.seed, self.current_epoch, batch_index, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1)[0]))

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        """Return what is differentiated, and the mean loss of the batch to show."""
        loss_B = self._losses(batch)
        self._unchecked.append((batch.case_ids, loss_B.detach()))
        self._train_loss.update(loss_B)
        return {"loss": self._mean.add(loss_B), "mean_loss": loss_B.detach().mean()}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:  # noqa: ARG002
        """Give each case of the step the same weight."""
        self._mean.rescale(self.model, self.trainer)

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:  # noqa: ARG002
        """Stop if a loss is not finite, at the latest before the epoch is validated and saved."""
        is_last = batch_index + 1 == self.trainer.num_training_batches or self.trainer.should_stop
        if is_last or (batch_index + 1) % CHECK_INTERVAL == 0:
            self.check_losses()
        if is_last:
            self.log("train_loss", self._train_loss.mean(), on_step=False, on_epoch=True, batch_size=1)

    def check_losses(self) -> None:
        """Raise, on every rank, if a loss since the last check is not finite on any.

        Raises
        ------
        TrainingDivergedError
            Naming the first such case, and the others of its batch.
        """
        unchecked, self._unchecked = self._unchecked, []
        if not unchecked:
            return
        if add_up(torch.cat([loss_B for _, loss_B in unchecked]).isfinite().all().logical_not().float()):
            broken = [_broken(*batch) for batch in unchecked if not batch[1].isfinite().all()]
            first = next(message for of_rank in gather(broken) for message in of_rank)
            raise TrainingDivergedError(
                f"the loss of {first} is not finite in epoch {self.current_epoch + 1}"
            )

    def on_validation_epoch_start(self) -> None:
        """Begin the mean loss."""
        self._val_loss.reset()

    def validation_step(self, batch: Batch, _: int) -> None:
        """Add the losses of a batch; the trainer has put the averaged weights in place."""
        self._val_loss.update(self._losses(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the mean over the cases of all ranks."""
        self.log("val_loss", self._val_loss.mean(), batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes a checkpoint usable by itself, and what is known of the epoch under way."""
        checkpoint[SURROGATE_KEY] = asdict(self.description)
        checkpoint[PROGRESS_KEY] = self._train_loss.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the epoch under way."""
        self._train_loss.restore(checkpoint[PROGRESS_KEY])

    def _predict(self, batch: Batch) -> Tensor:
        """Compute the outputs of the model, (B, N, T) float32, zero on padding."""
        prediction_BNT: Tensor = self.model(batch.inputs, batch.mask, **batch.mesh)
        return prediction_BNT.float()

    def _losses(self, batch: Batch) -> Tensor:
        return relative_l2_loss(self._predict(batch), batch.targets, self._scale(batch))

    def _scale(self, batch: Batch) -> Tensor:
        """Return what the error is relative to, (B, N, T), zero on padding."""
        return batch.targets


def _broken(case_ids: tuple[str, ...], loss_B: Tensor) -> str:
    """Name the first case of a batch whose loss is not finite, and the batch."""
    case_id = case_ids[loss_B.isfinite().tolist().index(False)]
    return f"case {case_id!r}" + (f" in the batch {', '.join(case_ids)}" if len(case_ids) > 1 else "")
