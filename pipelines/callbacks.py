"""What happens around training: the record of each epoch, checkpoints, progress."""

from __future__ import annotations

import csv
import math
import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback, Checkpoint
from tqdm import tqdm

from pipelines import files

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.utilities.types import STEP_OUTPUT

CHECKPOINT_INTERVAL = 10.0
"""Least seconds between two writings of the last checkpoint, so that short epochs are not slowed."""


class History(Callback):
    """One row an epoch, kept in the checkpoints and in a CSV file.

    ``epoch`` counts from 1, ``step`` is the number of steps taken, losses are means over cases,
    ``learning_rate`` is that of the last step, ``seconds`` the duration of the epoch.

    Parameters
    ----------
    path : Path
        The CSV file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = 0.0
        self._learning_rate = 0.0
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the rows of the epochs before the checkpoint; later ones are done again."""
        if trainer.is_global_zero:
            self._path.unlink(missing_ok=True)
            for row in self.rows:
                self._append(row)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        batch: object,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Note the learning rate, which the schedule changes right after the step."""
        self._learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add the row of this epoch."""
        losses: dict[str, float] = {
            name: float(trainer.callback_metrics[name])
            for name in ("train_loss", "val_loss")
            if name in trainer.callback_metrics
        }
        row: dict[str, float] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            **losses,
            "learning_rate": self._learning_rate,
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            self._append(row)

    def state_dict(self) -> dict[str, Any]:
        """Rows so far."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from these rows."""
        self.rows = list(state_dict["rows"])

    def _append(self, row: dict[str, float]) -> None:
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)


class Checkpoints(Checkpoint):
    """``last.ckpt`` to resume from and, where there is validation, ``best.ckpt``.

    Both are written at the end of an epoch: the last one when `CHECKPOINT_INTERVAL` has passed or
    training is over, the best one when the validation loss is the lowest so far.

    Parameters
    ----------
    run : Path
        The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._best = math.inf
        self._written = -math.inf

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write what is due."""
        val_loss = float(trainer.callback_metrics.get("val_loss", math.inf))
        if val_loss < self._best:
            self._best = val_loss
            trainer.save_checkpoint(self._run / files.BEST_CHECKPOINT)
        is_over = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        is_due = time.monotonic() - self._written >= CHECKPOINT_INTERVAL
        # Clocks differ between ranks, and saving waits for all of them.
        if trainer.strategy.broadcast(is_over or is_due):
            trainer.save_checkpoint(self._run / files.LAST_CHECKPOINT)
            self._written = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Lowest validation loss so far."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the lowest validation loss."""
        self._best = state_dict["best"]


class Progress(Callback):
    """A bar over all steps of the training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Show the bar."""
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=int(trainer.estimated_stepping_batches),
                initial=trainer.global_step,
                desc="training",
                unit="step",
                dynamic_ncols=True,
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: STEP_OUTPUT,
        batch: object,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Advance by a step; the loss is fetched from the device only when the bar is drawn."""
        assert isinstance(outputs, dict)
        if trainer.is_global_zero and self._bar.update():
            self._bar.set_description(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False
            )
            self._bar.set_postfix(loss=f"{float(outputs['mean_loss']):.4f}", refresh=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Leave the bar as it is, however training ended."""
        if hasattr(self, "_bar"):
            self._bar.close()
