"""From a run folder, or a file of predictions, to its entry in a comparison."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

import lpbf_dataset as lpbf
from lpbf_dataset.store.layout import StoreError
from pipelines.comparison.compare import Entry
from pipelines.comparison.groups import leaking_cases
from pipelines.comparison.predictions import Predictions
from pipelines.console import UserError
from pipelines.runs import files
from pipelines.scoring.case_metrics import evaluation_key, read_case_metrics, write_case_metrics
from pipelines.scoring.evaluation import Predictor, case_scores, run_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpbf_dataset.schema import Split
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.run import Run

logger = logging.getLogger(__name__)


def run_entry(path: str, name: str, data: str | None, split: Split, *, quiet: bool) -> Entry:
    """Score a run.

    On the store that it was trained on, its metrics are kept in the run folder, in `files.CASE_METRICS`,
    and taken from there the next time unless checkpoints, store or toolkit are others.

    Parameters
    ----------
    path : str
        The run folder.
    name : str
        What to call it.
    data : str or None
        Path or URL of the store to score on; None for the one that it was trained on.
    split : {"train", "val", "test"}
        Whose cases to score.
    quiet : bool
        Show no progress.

    Raises
    ------
    RunError, StoreError, UserError
        If run or store cannot be used, or the store has no such cases.
    """
    # PyTorch takes seconds to import, and predictions made elsewhere do not need it.
    import torch

    from pipelines.runs.run import Run, RunError, check_fingerprint

    run = Run.open(path, "cuda" if torch.cuda.is_available() else "cpu")
    if data is None:
        store = run.dataset()
        return _entry_on_own_store(run, name, store, split, quiet=quiet)
    store = lpbf.open_dataset(data)
    try:
        check_fingerprint(run.path, store)
    except RunError:
        return _entry_on_other_store(run, name, store, split, quiet=quiet)
    return _entry_on_own_store(run, name, store, split, quiet=quiet)


def _entry_on_own_store(run: Run, name: str, store: Dataset, split: Split, *, quiet: bool) -> Entry:
    from pipelines.runs.environment import store_fingerprint

    cases = _cases(store, split)
    path = run.path / files.CASE_METRICS
    key = evaluation_key(run.path, store_fingerprint(store))
    stored = read_case_metrics(path, key)
    scores = stored[stored["split"] == split]
    if scores.empty:
        scores = run_scores(run, cases, quiet=quiet)
        try:
            write_case_metrics(path, pd.concat([stored, scores]) if len(stored) else scores, key)
        except OSError as error:
            # Runs of others may be read-only, and the output folder has the metrics, too.
            logger.warning("metrics of each case are not kept in %s: %s", run.path, error.strerror)
    return _entry(name, run.description.model, cases, split, scores, store.train)


def _entry_on_other_store(run: Run, name: str, store: Dataset, split: Split, *, quiet: bool) -> Entry:
    cases = _cases(store, split)
    scores = run_scores(run, cases, quiet=quiet)
    try:
        training = run.dataset().train
    except (UserError, StoreError) as error:  # it moved, or is another one by now
        note = f"Whether {name} was trained on parts like those it is scored on is not known: {error}."
        return _entry(name, run.description.model, cases, split, scores, None, (note,))
    return _entry(name, run.description.model, cases, split, scores, training)


def predictions_entry(path: str, name: str, data: str, split: Split, *, quiet: bool) -> Entry:
    """Score predictions made elsewhere, by a model that was trained on the training cases of a store.

    Parameters
    ----------
    path : str
        As `pipelines.comparison.predictions.Predictions`.
    name, data, split, quiet
        As of `run_entry`; `data` must be given.

    Raises
    ------
    PredictionsError, StoreError, UserError
        If predictions or store cannot be used, or the store has no such cases.
    """
    store = lpbf.open_dataset(data)
    cases = _cases(store, split)
    predictions = Predictions(path, cases.case_ids)
    predictor = Predictor(predictions.targets, (), predictions.predict_with_uncertainty)
    scores = case_scores(predictor, cases, quiet=quiet)
    return _entry(name, "", cases, split, scores, store.train)


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Short names of run folders and files, on one line each; whole paths where names are the same.

    Raises
    ------
    UserError
        If a path is given twice.
    """
    if repeated := {path for path in paths if paths.count(path) > 1}:
        raise UserError(f"{', '.join(sorted(repeated))} is named twice")
    # Of "." and the like the name is that of the folder.
    names = [Path(path).name if "://" in path else Path(path).absolute().resolve().name for path in paths]
    chosen = [path if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]
    # Any bytes make a name of a file, and not all can be written.
    return [" ".join(name.encode(errors="backslashreplace").decode().split()) for name in chosen]


def _cases(store: Dataset, split: Split) -> Dataset:
    cases = store.split(split)
    if not len(cases):
        held = ", ".join(f"{len(store.split(other))} {other}" for other in ("train", "val", "test"))
        raise UserError(f"{store.location} has no {split} cases ({held}); choose others with --split")
    return cases


def _entry(
    name: str,
    model: str,
    cases: Dataset,
    split: Split,
    scores: pd.DataFrame,
    training: Dataset | None,
    notes: tuple[str, ...] = (),
) -> Entry:
    leaking = None
    if split != "train" and training is not None:
        leaking = frozenset(leaking_cases(cases, training))
    method = str(cases.attributes.get("build", {}).get("split", ""))
    return Entry(name, model, str(cases.location), method, split, scores, leaking, notes)
