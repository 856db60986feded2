"""One fit of a floor, from its options to the finished run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

import lpbf_dataset as lpbf
from pipelines.console import UserError, set_verbosity
from pipelines.runs import files
from pipelines.runs.checkpoint import Description
from pipelines.runs.features import input_channels
from pipelines.runs.floor_checkpoint import TRAINING_NODES, save_floor
from pipelines.runs.folder import check_resumable, create_run_folder, discard_run_folder, is_finished
from pipelines.runs.run import Run
from pipelines.runs.scaling import Scaling, scalar_targets
from pipelines.scoring.finishing import finish

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.store.reader import Dataset
    from pipelines.training.options import FitOptions, Job

FEATURES = ("sdf", "sdf_direction", "axis_distance")
"""Geometry features that floors see besides positions, where the store holds them."""


def fit(job: Job[FitOptions]) -> int:
    """Fit a floor and evaluate it.

    Returns
    -------
    int
        Exit code 0.

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
    if not len(store.train):
        raise UserError(f"{job.training.data} has no training cases; build it with other split fractions")
    description = _description(job, store)
    if job.resume:
        check_resumable(job, store)
    else:
        create_run_folder(job, store, torch.device("cpu"))
    try:
        fitted = _fit(job, store, description)
    except BaseException:
        if not job.resume:
            discard_run_folder(job.output)
        raise
    if not job.quiet:
        _announce(job, store, description)
    finish(fitted, store, examples=job.training.examples, quiet=job.quiet)
    return 0


def _fit(job: Job[FitOptions], store: Dataset, description: Description) -> Run:
    checkpoint = job.output / TRAINING_NODES
    if not checkpoint.is_file():
        inputs, targets = sample_nodes(
            store.train, description, job.training.max_nodes, job.training.seed, quiet=job.quiet
        )
        save_floor(checkpoint, description, inputs, targets)
    return Run.open(job.output)


def sample_nodes(
    cases: Dataset, description: Description, max_nodes: int, seed: int, *, quiet: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw nodes of all cases, each as likely as any other, one case in memory at a time.

    Parameters
    ----------
    cases : Dataset
        Usually one split; not empty.
    description : Description
        What the model takes.
    max_nodes : int
        How many to draw; all if there are fewer.
    seed : int
        Of the drawing.
    quiet : bool
        Show no progress.

    Returns
    -------
    inputs : (n, channels) float32 ndarray
        As `Description.inputs` makes them, in the order of the store.
    targets : (n, targets) float32 ndarray
        Standardised.
    """
    counts = cases.case_table["node_count"].to_numpy()
    ends = counts.cumsum()
    total = int(ends[-1])
    chosen = np.random.default_rng(seed).choice(total, min(max_nodes, total), replace=False)
    chosen.sort()
    of_case = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    inputs, targets = [], []
    for position, nodes in enumerate(tqdm(of_case, desc="reading", unit="case", disable=quiet)):
        if not len(nodes):
            continue
        case = cases.read(position, description.variables)
        rows = nodes - (ends[position] - counts[position])
        inputs.append(description.inputs(case)[rows])
        targets.append(description.scaling.encode(description.scaling.truth(case)[rows]))
    return np.concatenate(inputs), np.concatenate(targets)


def _description(job: Job[FitOptions], store: Dataset) -> Description:
    targets = scalar_targets(job.training.targets)
    features = tuple(name for name in FEATURES if name in store.variables)
    channels = {"in_channels": input_channels(features), "out_channels": len(targets)}
    # Floors do not care for the unit of a feature.
    scaling = Scaling.of_store(store, targets, (1.0, 1.0, 1.0))
    return Description(job.model, {**channels, **job.model_options}, scaling, features)


def _announce(job: Job[FitOptions], store: Dataset, description: Description) -> None:
    nodes = int(store.train.case_table["node_count"].sum())
    used = min(nodes, job.training.max_nodes)
    print(f"model    {job.model}, fitted to {used:,} of {nodes:,} nodes of {len(store.train)} train cases")
    print(f"data     {job.training.data}: {len(store.val)} val, {len(store.test)} test cases")
    print(f"inputs   {', '.join(('points', *description.features))}")
    print(f"targets  {', '.join(description.scaling.targets)}")
