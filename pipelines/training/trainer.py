"""Lightning's trainer: how it is set up here, how it is run, and how its endings are told."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch._dynamo.exc import TorchDynamoException
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipelines.console import UserError
from pipelines.runs.checkpoint import AtomicCheckpointIO
from pipelines.training.data import batch_plan
from pipelines.training.memory import is_out_of_memory, remedies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from lightning.pytorch.callbacks import Callback
    from numpy.typing import NDArray

    from pipelines.runs.checkpoint import Description
    from pipelines.training.data import Loader
    from pipelines.training.module import Surrogate
    from pipelines.training.options import Job, TrainOptions


class Interrupted(Exception):  # noqa: N818
    """Ctrl-C while training."""


def silence_lightning(*, verbose: bool) -> None:
    """Keep back Lightning's hints, which are about its own options rather than ours."""
    # It looks for the position in the loader, where `Checkpoints` has it.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    if verbose:
        return
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


def cases_at_once(options: TrainOptions) -> int:
    """Count the ranks that work on different cases."""
    return options.devices * options.nodes // options.shard_nodes


def batch_sizes(options: TrainOptions, description: Description) -> dict[str, Any]:
    """How cases are put into batches, for `batch_plan` and the loaders."""
    return {
        "batch_size": options.batch_size,
        "node_budget": options.node_budget,
        "in_buckets": options.compile and not description.mesh_view.edges,
        "ranks": cases_at_once(options),
    }


def count_epochs(options: TrainOptions, counts: NDArray[np.int64], description: Description) -> int:
    """Count the epochs that give `epochs` and `min_steps` both, of samples with these counts of nodes."""
    plan = batch_plan(counts, **batch_sizes(options, description))
    steps_per_epoch = math.ceil(len(plan) / options.accumulate)
    return max(options.epochs, math.ceil(options.min_steps / steps_per_epoch))


def make_trainer(job: Job[TrainOptions], epochs: int, callbacks: Sequence[Callback]) -> Trainer:
    """Set up the trainer; the averaging of weights comes before `callbacks`.

    Raises
    ------
    UserError
        If there are no such devices, or not so many.
    """
    options = job.training
    average = WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(options.ema_decay))
    try:
        return Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.nodes,
            precision=options.precision,
            # `Budget` counts steps: told of them, the trainer would end a resumed epoch twice.
            max_epochs=epochs,
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=options.gradient_clip or None,
            callbacks=[average, *callbacks],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=job.output,
            # The loaders share out the cases themselves, validation without repeating any.
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        devices = f"--accelerator {options.accelerator} --devices {options.devices} --nodes {options.nodes}"
        raise UserError(f"{devices}: {error}") from error


def run_trainer(
    trainer: Trainer,
    surrogate: Surrogate,
    train: Loader,
    val: Loader | None,
    *,
    checkpoint: Path | None,
    job: Job[TrainOptions],
) -> None:
    """Train to the last epoch.

    Raises
    ------
    Interrupted
        By Ctrl-C.
    TrainingDivergedError
        If a loss is not finite.
    UserError
        If there is too little memory, naming the options that save some, or the model cannot be compiled.
    """
    try:
        trainer.fit(surrogate, train, val, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        # Lightning's answer to Ctrl-C.
        raise Interrupted from error
    except TorchDynamoException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--compile: {reason}; train without it, by --no_compile") from error
    except Exception as error:
        _stop_other_ranks(trainer)
        if not is_out_of_memory(error):
            raise
        where = f"{trainer.strategy.root_device} of rank {trainer.global_rank}"
        raise UserError(f"too little memory on {where}; try {remedies(job)}") from error


def _stop_other_ranks(trainer: Trainer) -> None:
    """End the processes that this one has started: they would wait for it forever."""
    if trainer.strategy.launcher is not None:
        trainer.strategy.launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))
