"""What a path names that ``lpbf-view`` is asked to show."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import lpbf_dataset as lpbf
from lpbf_dataset.sources.base import SourceError
from pipelines.console import UserError
from pipelines.runs import files
from viz.subjects import FILE_SUFFIXES, BuildSubject, FileSubject, ResultsSubject, StoreSubject, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpbf_dataset import Case
    from pipelines.runs.run import Run
    from viz.subjects import Subject
    from viz.subjects.base import Prediction

EXPECTED = (
    "a store of lpbf-build, a run of lpbf-train, results of lpbf-simulate, "
    f"or a file ({', '.join(FILE_SUFFIXES)})"
)


def open_subject(path: str) -> Subject:
    """Open a store, a run, results of a simulation, or a file.

    Parameters
    ----------
    path : str
        Path, or URL of a store.

    Raises
    ------
    UserError
        If it is none of them.
    """
    location = Path(path)
    if "://" in path or (location / "zarr.json").is_file():
        return StoreSubject(path, lpbf.open_dataset(path))
    if (location / files.CONFIG).is_file():
        return _run_subject(path)
    if location.suffix.lower() in FILE_SUFFIXES:
        return FileSubject(path)
    if not location.exists():
        raise UserError(f"there is no {path}: expected {EXPECTED}")
    try:
        return ResultsSubject(path)
    except SourceError:
        raise UserError(f"{path} is not {EXPECTED}".replace(", or", ", nor")) from None


def _run_subject(path: str) -> Subject:
    # PyTorch takes seconds to import, and looking at a store does not need it.
    from pipelines.runs.run import Run, RunError

    trained = Run.open(path)
    if trained.description.task is not None:
        return _build_subject(path, trained)

    def predict(case: Case) -> Prediction:
        try:
            return dict(zip(trained.targets, trained.predict(case).T, strict=True))
        except RunError as error:
            raise SubjectError(str(error)) from error

    return StoreSubject(path, trained.dataset(), tuple(trained.targets), predict)


def _build_subject(path: str, trained: Run) -> BuildSubject:
    from pipelines.steps.transitions import known_steps

    task = trained.description.task
    assert task is not None

    def roll_out(case: Case) -> Iterator[Prediction]:
        for _, prediction in trained.roll_out(case):
            yield dict(zip(trained.targets, prediction.T, strict=True))

    return BuildSubject(
        path,
        trained.dataset(),
        tuple(trained.targets),
        partial(known_steps, across_removal=task.across_removal),
        roll_out,
    )
