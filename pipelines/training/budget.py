"""The end of a training before its last epoch: after so many steps, or so many minutes."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.utilities.types import STEP_OUTPUT


class Budget(Callback):
    """Stops a training at the first step that uses its budget up, and tells the share that is used.

    Time is wall time from the first batch on, validation included, and goes on from where it was when a
    training is resumed.  The processes of a distributed training go by the clock of the first.

    Parameters
    ----------
    max_steps : int
        Steps of the optimiser; 0 for no limit.
    max_minutes : float
        Wall time; 0 for no limit.
    """

    def __init__(self, max_steps: int, max_minutes: float) -> None:
        self._max_steps = max_steps or math.inf
        self._max_seconds = 60 * max_minutes or math.inf
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self._seconds = 0.0
        self._steps = 0

    def share(self, step: int, steps: int) -> float:
        """Return the share of a training that is done, from 0 at its first step to 1 at its last.

        The larger of the share of steps and the share of time, so that a schedule ends with the training,
        however it ends.

        Parameters
        ----------
        step : int
            Steps taken.
        steps : int
            Steps that epochs and `max_steps` allow.
        """
        # Below three steps a schedule has no meaning.
        last_step = max(steps - 1, 2)
        return min(max(step / last_step, self._seconds / self._max_seconds), 1.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._started = time.monotonic()
        self._stop_if_used_up(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: STEP_OUTPUT,  # noqa: ARG002
        batch: object,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Look at the clock after each step; batches in between only gather its gradient."""
        if trainer.global_step != self._steps:
            self._stop_if_used_up(trainer)

    def _stop_if_used_up(self, trainer: Trainer) -> None:
        self._steps = trainer.global_step
        if self._max_seconds < math.inf:
            elapsed = self._seconds_before + time.monotonic() - self._started
            self._seconds = trainer.strategy.broadcast(elapsed)
        if self._steps >= self._max_steps or self._seconds >= self._max_seconds:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Seconds so far."""
        return {"seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from these seconds."""
        self._seconds = self._seconds_before = state_dict["seconds"]
