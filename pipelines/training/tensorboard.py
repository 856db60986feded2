"""Losses and metrics for TensorBoard.

The training and the final metrics are two runs of TensorBoard, in folders of their own: the first goes on
where a resumed training does, the second is written anew whenever the run is evaluated.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback
from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-untyped]
from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from lpbf_dataset.schema import SPLITS
from pipelines.runs import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from pipelines.training.callbacks import History

TRAINING = "training"
EVALUATION = "evaluation"

_TAGS = {"train_loss": "loss/train", "val_loss": "loss/val", "seconds": "seconds_per_epoch"}
"""What columns of the history are called, if otherwise; those with a slash stand in one group."""


class TensorBoard(Callback):
    """Writes the record of each epoch as scalars over the steps.

    Parameters
    ----------
    run : Path
        The run folder.
    history : History
        Comes before this callback, so that it has the row of an epoch when the epoch ends.
    """

    def __init__(self, run: Path, history: History) -> None:
        self._folder = run / files.TENSORBOARD / TRAINING
        self._history = history
        self._writer: _Scalars | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Hide what an interrupted training wrote beyond the checkpoint that this one goes on from."""
        if trainer.is_global_zero:
            self._writer = _Scalars(self._folder, first_step=trainer.global_step + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the row of this epoch, before the checkpoint that holds it."""
        if self._writer is None:
            return
        row = dict(self._history.rows[-1])
        step = int(row.pop("step"))
        self._writer.add({_TAGS.get(name, name): value for name, value in row.items()}, step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Close the file, however training ended."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_final_metrics(run: Path, metrics: Mapping[str, Any], step: int) -> None:
    """Write the means over cases of each split, in the place of earlier ones.

    Parameters
    ----------
    run : Path
        The run folder.
    metrics : mapping
        Contents of ``metrics.json``.
    step : int
        Steps of the training.
    """
    folder = run / files.TENSORBOARD / EVALUATION
    shutil.rmtree(folder, ignore_errors=True)
    writer = _Scalars(folder, first_step=step)
    writer.add(
        {
            f"{split}/{target}/{metric}": value
            for target, of_target in metrics["targets"].items()
            for split in SPLITS
            if split in of_target
            for metric, value in of_target[split]["mean"].items()
        },
        step,
    )
    writer.close()


class _Scalars:
    """An event file, on disk to its last value whenever `add` returns.

    tensorboardX's SummaryWriter writes from a queue and cannot be told to empty it, so that a killed training
    would lose epochs that its checkpoint holds.

    Parameters
    ----------
    folder : Path
        A run of TensorBoard; made if need be.
    first_step : int
        Hide what earlier files have from this step on.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # By itself the name changes but once a second, and the second file would replace the first.
        self._file = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        start = SessionLog(status=SessionLog.START)
        self._file.write_event(Event(wall_time=time.time(), step=first_step, session_log=start))

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Write values by their tags."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._file.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
