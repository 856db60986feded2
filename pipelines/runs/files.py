"""Files of a run: where they lie, and how they are written.

=============================  ==============================================================================
file                           what it is
=============================  ==============================================================================
``report.html``                everything below in one page that may be passed on
``config.yaml``                every option; ``lpbf-train MODEL --config`` repeats the run
``environment.json``           versions, machine, precision, and the fingerprint of the store
``training_set.json``          sizes and shapes of the training cases, with which new parts are compared
``checkpoints/last.ckpt``      to go on from (``--resume``)
``checkpoints/previous.ckpt``  the one before it, for when that is damaged
``checkpoints/best.ckpt``      the lowest validation loss; what ``lpbf-view`` and the like use if it is there
``checkpoints/*``              of a floor: the nodes that it was fitted to
``metrics.csv``                losses, learning rate and seconds of each epoch
``loss.png``                   the losses as a plot
``tensorboard/``               the same and the final metrics for ``tensorboard --logdir RUN/tensorboard``
``case_metrics.parquet``       errors of each case, target and region or step
``plots/<target>.png``         errors by split, size and height; predicted over true values
``plots/steps.png``            of a model of the steps of builds: the errors against the step
``predictions/<case>.vtu``     truth, prediction and error on the mesh, of the best, median and worst cases
``predictions/<case>.*.png``   the same as a picture of each target
``member_<n>/``                of an ensemble: the runs of its members
``metrics.json``               mean and median errors; written last, so a run that has it is finished
=============================  ==============================================================================

A floor has neither losses nor ``best.ckpt``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = Path("config.yaml")
ENVIRONMENT = Path("environment.json")
TRAINING_SET = Path("training_set.json")
HISTORY = Path("metrics.csv")
LOSS_PLOT = Path("loss.png")
METRICS = Path("metrics.json")
TENSORBOARD = Path("tensorboard")
PLOTS = Path("plots")
STEPS_PLOT = PLOTS / "steps.png"
PREDICTIONS = Path("predictions")
REPORT = Path("report.html")
CASE_METRICS = Path("case_metrics.parquet")
CHECKPOINTS = Path("checkpoints")
LAST_CHECKPOINT = CHECKPOINTS / "last.ckpt"
PREVIOUS_CHECKPOINT = CHECKPOINTS / "previous.ckpt"
BEST_CHECKPOINT = CHECKPOINTS / "best.ckpt"


def member_folder(run: Path, index: int) -> Path:
    """Where a member of an ensemble lies in the folder of the ensemble; it is a run of its own."""
    return run / f"member_{index}"


def plot_of(target: str) -> Path:
    """Errors of a target."""
    return PLOTS / f"{target}.png"


def picture_of(case_id: str, target: str) -> Path:
    """Truth, prediction and error of a target of an example."""
    return PREDICTIONS / f"{case_id}.{target}.png"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
