"""A deep ensemble: several trainings from successive seeds, and the evaluation of their mean."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

import lpbf_dataset as lpbf
from pipelines.console import UserError, set_verbosity
from pipelines.runs import files
from pipelines.runs.folder import check_resumable, create_run_folder, is_finished
from pipelines.runs.run import Run
from pipelines.scoring.finishing import finish
from pipelines.training.train import train

if TYPE_CHECKING:
    from pipelines.training.options import Job, TrainOptions


def train_ensemble(job: Job[TrainOptions]) -> int:
    """Train the members that are not finished, one after another, and evaluate their mean.

    Each is a run of its own, in the folder of the ensemble, from the seed of the ensemble plus its number.

    Returns
    -------
    int
        Exit code: 0, or that of the first member that is interrupted or diverges.

    Raises
    ------
    UserError, StoreError
        If the store, the run folder or an option does not allow it.
    """
    set_verbosity(job)
    if job.resume and is_finished(job.output):
        print(f"{job.output} is finished; its metrics are in {job.output / files.METRICS}")
        return 0
    store = lpbf.open_dataset(job.training.data)
    # Processes of further devices run all of this, too; only one writes.
    leads = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    device = _device(job.training)
    if job.resume:
        check_resumable(job, store)
    elif leads:
        create_run_folder(job, store, device)
    for index in range(job.training.members):
        member = _member(job, index)
        if is_finished(member.output):
            continue
        if leads and not job.quiet:
            print(f"\nmember   {index + 1} of {job.training.members}, seed {member.training.seed}")
        if code := _train_member(job, member):
            print(
                f"{index} of {job.training.members} members are trained; go on with the others by: "
                f"lpbf-train {job.model} -o {job.output} --resume",
                file=sys.stderr,
            )
            return code
    if leads:
        finish(Run.open(job.output, device), store, examples=job.training.examples, quiet=job.quiet)
    return 0


def _train_member(job: Job[TrainOptions], member: Job[TrainOptions]) -> int:
    try:
        return train(member)
    except UserError:
        if not job.resume and not any(job.output.glob("member_*")):
            # Options that nothing can be trained with must not occupy the folder.
            shutil.rmtree(job.output, ignore_errors=True)
        raise


def _member(job: Job[TrainOptions], index: int) -> Job[TrainOptions]:
    """One training of the ensemble."""
    training = replace(job.training, seed=job.training.seed + index, members=1, examples=0)
    output = files.member_folder(job.output, index)
    started = (output / files.CONFIG).is_file()
    return replace(job, training=training, output=output, resume=job.resume and started)


def _device(options: TrainOptions) -> torch.device:
    """Where the members are trained, as Lightning will choose it, and their mean is evaluated."""
    if options.accelerator in {"auto", "gpu"} and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
