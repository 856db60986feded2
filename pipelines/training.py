"""One training, from its options to the finished run folder."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch._dynamo.exc import TorchDynamoException
from torch.optim.swa_utils import get_ema_multi_avg_fn

import lpbf_dataset as lpbf
from pipelines import files
from pipelines.budget import Budget
from pipelines.callbacks import Checkpoints, History, Progress
from pipelines.checkpoint import AtomicCheckpointIO, Description, describe, load_checkpoint
from pipelines.compilation import compile_model
from pipelines.console import EXIT_INCOMPLETE, UserError, set_verbosity
from pipelines.data import Samples, batch_plan, node_counts, training_loader, validation_loader
from pipelines.features import check_stored_features, input_channels
from pipelines.finishing import finish
from pipelines.module import Surrogate, TrainingDivergedError
from pipelines.plots import save_loss_plot
from pipelines.run import Run
from pipelines.run_folder import check_resumable, create_run_folder, is_finished
from pipelines.scaling import Scaling, scalar_targets
from pipelines.tensorboard import TensorBoard
from pipelines.variation import Variation

if TYPE_CHECKING:
    from lpbf_dataset.store.reader import Dataset
    from pipelines.options import Job, TrainOptions

DTYPES = {"32-true": "float32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}
"""What matrix products are computed in, by precision of the trainer; it may differ from the one asked for,
as there is no float16 on CPUs."""


class Interrupted(Exception):  # noqa: N818
    """Ctrl-C while training."""


def train(job: Job[TrainOptions]) -> int:
    """Train, or go on training, and evaluate.

    Returns
    -------
    int
        Exit code: 0, or `EXIT_INCOMPLETE` when interrupted or diverged.

    Raises
    ------
    UserError, StoreError
        If the store, the run folder or an option does not allow it.
    """
    set_verbosity(job)
    _silence_lightning(verbose=job.verbose)
    if job.resume and is_finished(job.output):
        print(f"{job.output} is finished; its metrics are in {job.output / files.METRICS}")
        return 0
    store = lpbf.open_dataset(job.training.data)
    if job.resume:
        check_resumable(job, store)
    _check_sizes(job.training, store)
    torch.manual_seed(job.training.seed)
    description = _description(job, store)
    model = description.build()
    if job.training.compile:
        compile_model(model, in_buckets=not description.mesh_view.edges)
    history = History(job.output / files.HISTORY)
    budget = Budget(job.training.max_steps, job.training.max_minutes)
    trainer = _trainer(job, store, description, history, budget)
    if trainer.is_global_zero and not job.resume:
        create_run_folder(job, store, trainer.strategy.root_device, DTYPES[trainer.precision])
    if trainer.is_global_zero and not job.quiet:
        _announce(job, store, model, trainer)
    try:
        _fit(trainer, Surrogate(model, description, job.training, budget), job, store)
    except Interrupted:
        return _interrupted(job)
    except TorchDynamoException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--compile: {reason}; go on without it by --resume --no_compile") from error
    except TrainingDivergedError as error:
        print(
            f"stopped: {error}; start anew with a lower --learning_rate, or look at the case", file=sys.stderr
        )
        return EXIT_INCOMPLETE
    finally:
        if history.rows and trainer.is_global_zero:
            save_loss_plot(history.rows, job.output / files.LOSS_PLOT)
    if trainer.is_global_zero:
        trained = Run.open(job.output, trainer.strategy.root_device)
        finish(trained, store, examples=job.training.examples, quiet=job.quiet)
    return 0


def _silence_lightning(*, verbose: bool) -> None:
    """Keep back Lightning's hints, which are about its own options rather than ours."""
    if verbose:
        return
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


def _check_sizes(options: TrainOptions, store: Dataset) -> None:
    if not len(store.train):
        raise UserError(f"{options.data} has no training cases; build it with other split fractions")
    for split, view in (("training", store.train), ("validation", store.val)):
        if 0 < len(view) < options.devices:
            raise UserError(f"--devices {options.devices}: there are only {len(view)} {split} cases to share")


def _description(job: Job[TrainOptions], store: Dataset) -> Description:
    options = job.training
    targets = scalar_targets(options.targets)
    check_stored_features(options.features, store)
    channels = {"in_channels": input_channels(options.features), "out_channels": len(targets)}
    scaling = Scaling.of_store(store, targets, options.coordinate_scale)
    model_options = {**channels, **job.model_options}
    description = Description(job.model, model_options, scaling, options.features, options.feature_scale)
    if options.subsample and description.mesh_view.edges:
        raise UserError(f"--subsample: {job.model} needs every node, as it sees the edges between them")
    return description


def _sizes(options: TrainOptions, description: Description) -> dict[str, Any]:
    """How cases are put into batches, for `batch_plan` and the loaders."""
    return {
        "batch_size": options.batch_size,
        "node_budget": options.node_budget,
        "in_buckets": options.compile and not description.mesh_view.edges,
    }


def _epochs(options: TrainOptions, store: Dataset, description: Description) -> int:
    """Count the epochs that give `epochs` and `min_steps` both."""
    counts = node_counts(store.train, options.subsample)
    plan = batch_plan(counts, ranks=options.devices, **_sizes(options, description))
    steps_per_epoch = math.ceil(len(plan) / options.accumulate)
    return max(options.epochs, math.ceil(options.min_steps / steps_per_epoch))


def _trainer(
    job: Job[TrainOptions], store: Dataset, description: Description, history: History, budget: Budget
) -> Trainer:
    options = job.training
    average = WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(options.ema_decay))
    callbacks = [budget, average, history, TensorBoard(job.output, history), Checkpoints(job.output)]
    try:
        return Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            precision=options.precision,
            max_epochs=_epochs(options, store, description),
            max_steps=options.max_steps or -1,
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=options.gradient_clip or None,
            callbacks=callbacks if job.quiet else [*callbacks, Progress()],
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
        raise UserError(
            f"--accelerator {options.accelerator} --devices {options.devices}: {error}"
        ) from error


def _announce(job: Job[TrainOptions], store: Dataset, model: torch.nn.Module, trainer: Trainer) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    nodes = int(store.train.case_table["node_count"].sum())
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    devices = name if trainer.world_size == 1 else f"{trainer.world_size} x {name}"
    dtype = DTYPES[trainer.precision]
    numbers = "float32" if dtype == "float32" else f"{dtype}, weights float32"
    compiled = ", compiled" if job.training.compile else ""
    print(f"model    {job.model}, {parameters:,} parameters, on {devices}, in {numbers}{compiled}")
    print(
        f"data     {job.training.data}: {len(store.train)} train cases ({nodes:,} nodes), "
        f"{len(store.val)} val, {len(store.test)} test"
    )
    print(f"targets  {', '.join(scalar_targets(job.training.targets))}")


def _fit(trainer: Trainer, surrogate: Surrogate, job: Job[TrainOptions], store: Dataset) -> None:
    """Train to the last epoch.  Raises `Interrupted` or `TrainingDivergedError`."""
    options = job.training
    last = job.output / files.LAST_CHECKPOINT
    if resumed := job.resume and last.is_file():
        # Lightning would say less clearly what is wrong with it.
        describe(load_checkpoint(last), last)
    description = surrogate.description
    share = {"rank": trainer.global_rank, "ranks": trainer.world_size}
    common = {**_sizes(options, description), **share, "num_workers": options.num_workers}
    variation = Variation(options.seed, options.augment, options.subsample)
    train = training_loader(Samples(store.train, description, variation), seed=options.seed, **common)
    val = validation_loader(Samples(store.val, description), **common) if len(store.val) else None
    try:
        trainer.fit(surrogate, train, val, ckpt_path=last if resumed else None, weights_only=True)
    except SystemExit as error:
        # Lightning's answer to Ctrl-C.
        raise Interrupted from error


def _interrupted(job: Job[TrainOptions]) -> int:
    resume = f"lpbf-train {job.model} -o {job.output} --resume"
    has_checkpoint = (job.output / files.LAST_CHECKPOINT).is_file()
    start = (
        "from the last checkpoint" if has_checkpoint else "from the beginning, as there is no checkpoint yet"
    )
    print(f"interrupted; go on {start} with: {resume}", file=sys.stderr)
    return EXIT_INCOMPLETE
