"""One training, from its options to the finished run folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

import lpbf_dataset as lpbf
from pipelines.console import EXIT_INCOMPLETE, EXIT_USAGE, UserError, set_verbosity
from pipelines.runs import files
from pipelines.runs.checkpoint import Description, newest_checkpoint
from pipelines.runs.features import check_stored_features, input_channels
from pipelines.runs.folder import check_resumable, is_finished
from pipelines.runs.run import Run
from pipelines.runs.scaling import Scaling, scalar_targets
from pipelines.scoring.finishing import finish
from pipelines.scoring.plots import save_loss_plot
from pipelines.steps.description import describe_steps
from pipelines.steps.samples import make_samples
from pipelines.steps.surrogate import StepSurrogate
from pipelines.steps.tasks import task_channels
from pipelines.training.budget import Budget
from pipelines.training.callbacks import Checkpoints, History, Progress
from pipelines.training.compilation import compile_model
from pipelines.training.data import training_loader, validation_loader
from pipelines.training.module import Surrogate, TrainingDivergedError
from pipelines.training.ranks import RankZeroFailedError, is_told_by_rank_zero, of_launcher
from pipelines.training.sharded import ShardedStepSurrogate, ShardedSurrogate, check_sharding
from pipelines.training.start import Start
from pipelines.training.tensorboard import TensorBoard
from pipelines.training.trainer import (
    Interrupted,
    batch_sizes,
    cases_at_once,
    count_epochs,
    make_trainer,
    run_trainer,
    silence_lightning,
)
from pipelines.training.variation import Variation

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Callback

    from lpbf_dataset.store.reader import Dataset
    from pipelines.training.data import SizedSamples
    from pipelines.training.options import Job, TrainOptions


def train(job: Job[TrainOptions]) -> int:
    """Train, or go on training, and evaluate.

    Returns
    -------
    int
        Exit code: 0, or `EXIT_INCOMPLETE` when interrupted or diverged.

    Raises
    ------
    UserError, StoreError
        If the store, the run folder or an option does not allow it, or there is too little memory.
    """
    set_verbosity(job)
    silence_lightning(verbose=job.verbose)
    try:
        return _train(replace(job, training=of_launcher(job.training)))
    except RankZeroFailedError:
        # Its exit code is the one that counts.
        return 0
    except (ValueError, OSError):
        if not is_told_by_rank_zero():
            raise
        return EXIT_USAGE


def _train(job: Job[TrainOptions]) -> int:
    if job.resume and is_finished(job.output):
        print(f"{job.output} is finished; its metrics are in {job.output / files.METRICS}")
        return 0
    store = lpbf.open_dataset(job.training.data)
    if job.resume:
        check_resumable(job, store)
    check_sharding(job)
    if not len(store.train):
        raise UserError(f"{job.training.data} has no training cases; build it with other split fractions")
    torch.manual_seed(job.training.seed)
    description = _description(job, store)
    model = description.build()
    if job.training.compile:
        compile_model(model, in_buckets=not description.mesh_view.edges)
    history = History(job.output / files.HISTORY)
    budget = Budget(job.training.max_steps, job.training.max_minutes)
    variation = Variation(job.training.seed, job.training.augment, job.training.subsample)
    samples = make_samples(
        store.train,
        description,
        variation,
        state_noise=job.training.state_noise,
        pushforward=job.training.pushforward,
    )
    val_samples = make_samples(store.val, description)
    _check_sizes(job.training, training=samples, validation=val_samples)
    epochs = count_epochs(job.training, samples.node_counts, description)
    trainer = make_trainer(job, epochs, [Start(job, store), budget, *_callbacks(job, history)])
    surrogate = _kind(job.training)(model, description, job.training, budget)
    is_main = trainer.is_global_zero
    try:
        _fit(trainer, surrogate, job, samples, val_samples)
    except Interrupted:
        return _stopped(_how_to_go_on(job), tell=is_main)
    except TrainingDivergedError as error:
        remedy = "start anew with a lower --learning_rate, or look at the case"
        return _stopped(f"stopped: {error}; {remedy}", tell=is_main)
    finally:
        if history.rows and is_main and job.output.is_dir():
            save_loss_plot(history.rows, job.output / files.LOSS_PLOT)
    if is_main:
        trained = Run.open(job.output, trainer.strategy.root_device)
        finish(trained, store, examples=job.training.examples, quiet=job.quiet)
    return 0


def _kind(options: TrainOptions) -> type[Surrogate]:
    if options.shard_nodes > 1:
        return ShardedSurrogate if options.task == "final" else ShardedStepSurrogate
    return Surrogate if options.task == "final" else StepSurrogate


def _check_sizes(options: TrainOptions, **samples: SizedSamples) -> None:
    ranks = cases_at_once(options)
    what = "cases" if options.task == "final" else "steps"
    for split, of_split in samples.items():
        if 0 < len(of_split) < ranks:
            raise UserError(f"{ranks} devices: there are only {len(of_split)} {split} {what} to share out")


def _description(job: Job[TrainOptions], store: Dataset) -> Description:
    options = job.training
    targets = scalar_targets(options.targets)
    check_stored_features(options.features, store)
    in_channels = input_channels(options.features)
    if options.task == "final":
        scaling, task = Scaling.of_store(store, targets, options.coordinate_scale), None
    else:
        scaling, task = describe_steps(store, targets, options, options.task)
        in_channels += task_channels(task.kind, len(targets))
    model_options = {"in_channels": in_channels, "out_channels": len(targets), **job.model_options}
    description = Description(
        job.model, model_options, scaling, options.features, options.feature_scale, task
    )
    if options.subsample and description.mesh_view.edges:
        raise UserError(f"--subsample: {job.model} needs every node, as it sees the edges between them")
    return description


def _callbacks(job: Job[TrainOptions], history: History) -> list[Callback]:
    checkpoints = Checkpoints(job.output, interval=60 * job.training.checkpoint_minutes)
    shown = [] if job.quiet else [Progress()]
    return [history, TensorBoard(job.output, history), checkpoints, *shown]


def _fit(
    trainer: Trainer,
    surrogate: Surrogate,
    job: Job[TrainOptions],
    train_samples: SizedSamples,
    val_samples: SizedSamples,
) -> None:
    """Train to the last epoch, from the newest whole checkpoint if there is one; raises as `run_trainer`."""
    options, description = job.training, surrogate.description
    checkpoint, passed = newest_checkpoint(job.output) if job.resume else (None, [])
    if passed and trainer.is_global_zero:
        print(f"warning: {'; '.join(map(str, passed))}; going on from {checkpoint}", file=sys.stderr)
    common = {
        **batch_sizes(options, description),
        "num_workers": options.num_workers,
        "rank": trainer.global_rank // options.shard_nodes,
    }
    train = training_loader(train_samples, seed=options.seed, **common)
    val = validation_loader(val_samples, **common) if len(val_samples) else None
    run_trainer(trainer, surrogate, train, val, checkpoint=checkpoint, job=job)


def _stopped(message: str, *, tell: bool) -> int:
    """Say why training has ended early, or leave that and the exit code to rank 0."""
    if not tell:
        return 0
    print(message, file=sys.stderr)
    return EXIT_INCOMPLETE


def _how_to_go_on(job: Job[TrainOptions]) -> str:
    resume = f"lpbf-train {job.model} -o {job.output} --resume"
    has_checkpoint = (job.output / files.LAST_CHECKPOINT).is_file()
    start = (
        "from the last checkpoint" if has_checkpoint else "from the beginning, as there is no checkpoint yet"
    )
    return f"interrupted; go on {start} with: {resume}"
