"""What happens around training: the record of each epoch, checkpoints, progress."""

from __future__ import annotations

import csv
import math
import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback, Checkpoint
from tqdm import tqdm

from pipelines.runs import files
from pipelines.training.module import Surrogate

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.utilities.types import STEP_OUTPUT


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
        self._seconds_before = 0.0
        self._learning_rate = 0.0
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the rows of the epochs before the checkpoint; later ones are done again."""
        self._started = time.perf_counter() - self._seconds_before
        if trainer.is_global_zero:
            self._path.unlink(missing_ok=True)
            for row in self.rows:
                self._append(row)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock; not called when training goes on within an epoch."""
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
        """Rows so far, and seconds spent on the epoch under way."""
        return {"rows": list(self.rows), "seconds": time.perf_counter() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from these rows."""
        self.rows = list(state_dict["rows"])
        self._seconds_before = state_dict["seconds"]

    def _append(self, row: dict[str, float]) -> None:
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)


class Checkpoints(Checkpoint):
    """``last.ckpt`` to resume from and, where there is validation, ``best.ckpt``.

    The last one is written at the end of the first and the last epoch, and after any optimiser step when
    `interval` has passed; the best one at the end of an epoch when the validation loss is the lowest so far.

    Parameters
    ----------
    run : Path
        The run folder.
    interval : float
        Least seconds between two writings of the last checkpoint.
    """

    def __init__(self, run: Path, interval: float) -> None:
        self._run = run
        self._interval = interval
        self._best = math.inf
        self._batches_done = 0
        self._steps_done = 0
        self._written: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock; go on with the next batch, of which the loader has read none yet."""
        self._began = time.monotonic()
        self._steps_done = trainer.global_step
        loader = trainer.train_dataloader
        assert loader is not None
        loader.batch_sampler.start_at(self._batches_done)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,  # noqa: ARG002
        batch: object,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Write the last checkpoint if it is due, between two groups of accumulated batches."""
        stepped = trainer.global_step > self._steps_done
        self._steps_done = trainer.global_step
        # The end of the epoch follows, which validates first.
        is_last = trainer.should_stop or batch_idx + 1 == trainer.num_training_batches
        if stepped and not is_last and self._is_due(trainer):
            assert isinstance(pl_module, Surrogate)
            pl_module.check_losses()
            self._batches_done = batch_idx + 1
            self._write_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write what is due."""
        self._batches_done = 0
        val_loss = float(trainer.callback_metrics.get("val_loss", math.inf))
        if val_loss < self._best:
            self._best = val_loss
            trainer.save_checkpoint(self._run / files.BEST_CHECKPOINT)
        is_over = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if is_over or self._written is None or self._is_due(trainer):
            self._write_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Lowest validation loss so far, and batches done of the epoch under way."""
        return {"best": self._best, "batches_done": self._batches_done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the lowest validation loss."""
        self._best = state_dict["best"]
        self._batches_done = state_dict["batches_done"]

    def _is_due(self, trainer: Trainer) -> bool:
        since = self._began if self._written is None else self._written
        is_due = time.monotonic() - since >= self._interval
        # Clocks differ between ranks, and saving waits for all of them.
        return bool(trainer.strategy.reduce_boolean_decision(is_due, all=False))

    def _write_last(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._run / files.LAST_CHECKPOINT)
        self._written = time.monotonic()


class Progress(Callback):
    """A bar over all steps of the training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        assert isinstance(pl_module, Surrogate)
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=pl_module.total_steps,
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
        """Advance to the step; the loss is fetched from the device only when the bar is drawn."""
        assert isinstance(outputs, dict)
        if trainer.is_global_zero and self._bar.update(trainer.global_step - self._bar.n):
            self._bar.set_description(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False
            )
            self._bar.set_postfix(loss=f"{float(outputs['mean_loss']):.4f}", refresh=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Leave the bar as it is, however training ended."""
        if hasattr(self, "_bar"):
            self._bar.close()
