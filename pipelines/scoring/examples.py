"""Predictions of a few cases, to look at: files for ParaView and pictures."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.export import ExportError, check_case_id
from lpbf_dataset.export.files import written_whole
from lpbf_dataset.export.vtk import write_vtu
from lpbf_dataset.schema import SPLITS, VARIABLES, component_names, resolve_scalar
from pipelines.runs import files
from pipelines.runs.mesh_view import levels_folder
from pipelines.scoring.pictures import Picture
from pipelines.steps.rollout import last_on_plate
from pipelines.steps.transitions import StepReader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.run import Run

    Arrays = dict[str, NDArray[np.floating]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One case that stands for others.

    Parameters
    ----------
    case_id : str
        Which.
    split : str
        Its split.
    standing : str
        "best", "median", "worst", or the share of cases that are better.
    error : float
        Its relative L2 error, mean over the targets.
    """

    case_id: str
    split: str
    standing: str
    error: float


def choose_examples(scores: pd.DataFrame, count: int) -> list[Example]:
    """Take cases at even ranks of the relative L2 error, from the best to the worst.

    Parameters
    ----------
    scores : DataFrame
        As `pipelines.scoring.evaluation.case_scores` makes them; examples are of its test cases, or of those
        for validation or else of training where there are none.
    count : int
        How many; fewer if there are fewer cases.  One is the median.
    """
    whole = scores[scores["region"] == "all"]
    split = next(split for split in reversed(SPLITS) if (whole["split"] == split).any())
    errors = whole[whole["split"] == split].groupby("case_id")["relative_l2"].mean()
    # What cannot be scored is worse than anything.
    errors = errors.sort_values(kind="stable", na_position="last")
    last = len(errors) - 1
    ranks = np.linspace(0, last, min(count, len(errors))) if count > 1 else np.full(count, last / 2)
    return [
        Example(str(errors.index[rank]), split, _standing(rank, last), float(errors.iloc[rank]))
        for rank in ranks.round().astype(int)
    ]


def _standing(rank: int, last: int) -> str:
    if last == 0:
        return "only case"
    if rank in (0, last):
        return "worst" if rank else "best"
    return "median" if abs(2 * rank - last) <= 1 else f"better than {1 - rank / last:.0%}"


def write_examples(run: Run, store: Dataset, examples: list[Example]) -> list[Picture]:
    """Predict each example and write ``<case id>.vtu``; replaces what other examples left.

    Besides what `compared` gives, a file holds the true displacement, where the store does, and of an
    ensemble the standard deviation of each target, ``<target>_std``.

    Returns
    -------
    list of Picture
        Those to draw, one a case and target.
    """
    folder = run.path / files.PREDICTIONS
    for old in (*folder.glob("*.vtu"), *folder.glob("*.png")):
        old.unlink()
    pictures: list[Picture] = []
    for example in examples:
        try:
            check_case_id(example.case_id)
        except ExportError as error:
            logger.warning("no example: %s", error)
            continue
        pictures += _write_example(run, store, example, folder)
    return pictures


def _write_example(run: Run, store: Dataset, example: Example, folder: Path) -> list[Picture]:
    case, mean, std = _predict(run, store, example.case_id)
    prediction = dict(zip(run.targets, mean.T, strict=True))
    arrays = compared(case, prediction)
    if std is not None:
        arrays |= {target + STD: std[:, column].copy() for column, target in enumerate(run.targets)}
    if "displacement" in case.variables:
        # ParaView's Warp By Vector needs one, whatever is predicted.
        arrays = {"displacement": np.asarray(case.displacement, np.float32), **arrays}
    units = {name: _unit(name) for name in arrays}
    with written_whole(folder / f"{case.case_id}.vtu") as partial:
        write_vtu(partial, case.points, case.cells, arrays, units)
    return [
        Picture(case, target, prediction, run.path / files.picture_of(case.case_id, target))
        for target in prediction
    ]


def _predict(
    run: Run, store: Dataset, case_id: str
) -> tuple[Case, NDArray[np.float32], NDArray[np.float32] | None]:
    """Return a case, or the last step of a build on the plate, with mean and deviation of the prediction."""
    if run.description.task is not None:
        build = store.read(case_id, StepReader.of(run.description).variables)
        return last_on_plate(run.roll_out_with_uncertainty(build, levels_folder(store)))
    known = {"cells", "displacement"} & set(store.variables)
    case = store.read(case_id, tuple(dict.fromkeys((*run.description.variables, *known))))
    return case, *run.predict_with_uncertainty(case, levels_folder(store))


PREDICTED = "_predicted"
ERROR = "_error"
STD = "_std"


def compared(case: Case, prediction: Mapping[str, NDArray[np.floating]]) -> Arrays:
    """Truth, prediction and error by name, ``<field>``, ``<field>_predicted`` and ``<field>_error``.

    A vector all of whose components are predicted is one field.

    Parameters
    ----------
    case : Case
        With the true fields.
    prediction : mapping of str to (nodes,) ndarray
        Predicted scalar fields, in the units of the fields.
    """
    arrays: Arrays = {}
    for variable in dict.fromkeys(resolve_scalar(target)[0] for target in prediction):
        components = [f"{variable}_{suffix}" for suffix in component_names(VARIABLES[variable])]
        if components and len(components) == 3 and all(name in prediction for name in components):
            fields = {variable: np.column_stack([prediction[name] for name in components])}
            truths = {variable: case.variables[variable]}
        else:
            fields = {name: prediction[name] for name in prediction if resolve_scalar(name)[0] == variable}
            truths = {name: case.scalar(name) for name in fields}
        for name, values in fields.items():
            arrays[name] = np.ascontiguousarray(truths[name])
            arrays[name + PREDICTED] = np.ascontiguousarray(values)
            arrays[name + ERROR] = values - truths[name]
    return arrays


def _unit(name: str) -> str:
    field = name.removesuffix(PREDICTED).removesuffix(ERROR).removesuffix(STD)
    return VARIABLES[resolve_scalar(field)[0]].units
