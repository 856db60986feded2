"""Scoring predictions on the cases of a store, one case at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from tqdm import tqdm

from lpbf_dataset.schema import MESH_VARIABLES, SPLITS, VARIABLES, resolve_scalar
from pipelines.scoring.calibration import NAMES as CALIBRATION
from pipelines.scoring.calibration import calibration
from pipelines.scoring.metrics import PUBLISHED_TARGET, score, summarize
from pipelines.scoring.scored_fields import scored_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.run import Run

    Observer = Callable[[Case, NDArray[np.floating]], None]

SURFACE = "on_surface"


@dataclass(frozen=True)
class Predictor:
    """What gives a prediction of a case: a trained model, or a file of predictions made elsewhere.

    Parameters
    ----------
    targets : tuple of str
        Scalar fields that are predicted.
    variables : tuple of str
        What `predict_with_uncertainty` needs of a case.
    predict_with_uncertainty : callable
        From a case to the prediction, (nodes, targets) floats in the units of
        `lpbf_dataset.schema.VARIABLES`, and its standard deviation alike, or None if that is not known.
    members : int or None
        Size of the ensemble that the standard deviation is of; None if it is of none.
    """

    targets: tuple[str, ...]
    variables: tuple[str, ...]
    predict_with_uncertainty: Callable[[Case], tuple[NDArray[np.floating], NDArray[np.floating] | None]]
    members: int | None = None

    @classmethod
    def of_run(cls, run: Run, cases: Dataset) -> Self:
        """Predict with the model of a run; coarser graphs of meshes are kept beside the store of `cases`."""
        # It imports PyTorch, and predictions made elsewhere do not need it.
        from pipelines.runs.mesh_view import levels_folder

        predict = partial(run.predict_with_uncertainty, levels_folder=levels_folder(cases))
        members = run.members if run.members > 1 else None
        return cls(run.targets, run.description.variables, predict, members)


def _ignore(case: Case, prediction: NDArray[np.floating]) -> None:
    """Observe nothing."""


def unit(target: str) -> str:
    """Return the unit of a field."""
    return VARIABLES[resolve_scalar(target)[0]].units


def case_scores(
    predictor: Predictor, cases: Dataset, *, quiet: bool, observe: Observer = _ignore
) -> pd.DataFrame:
    """Score every case of a view of a store.

    Parameters
    ----------
    predictor : Predictor
        What to score.
    cases : Dataset
        On what; one case is in memory at a time.
    quiet : bool
        Show no progress.
    observe : callable, optional
        Is given each case with its prediction, which nobody else keeps.

    Returns
    -------
    DataFrame
        One row a case, field of `scored_fields` and region: ``case_id``, ``design_id``, ``split``, ``nodes``
        and ``max_z`` (mm) of the case, ``target``, ``unit``, ``region``, the metrics of
        `pipelines.scoring.metrics` and, of scalar fields with a standard deviation, those of
        `pipelines.scoring.calibration`, over the nodes of the region.
        That is "all" nodes; where the store says which nodes lie on the surface also those on
        the "surface" and in the "interior", unless there is none.

    Raises
    ------
    StoreError
        If the store lacks a variable, or is damaged.
    """
    assert not set(predictor.targets) & set(MESH_VARIABLES)
    truths = (resolve_scalar(target)[0] for target in predictor.targets)
    known = [SURFACE] if SURFACE in cases.variables else []
    variables = tuple(dict.fromkeys(("points", *predictor.variables, *truths, *known)))
    bar = tqdm(range(len(cases)), desc="evaluating", unit="case", disable=quiet)
    return pd.DataFrame(
        [row for position in bar for row in _rows(predictor, cases.read(position, variables), observe)]
    )


def run_scores(run: Run, cases: Dataset, *, quiet: bool, observe: Observer = _ignore) -> pd.DataFrame:
    """Score a run on every case of a view of a store, as `case_scores` does.

    A model of the steps of builds is scored on each step, see `pipelines.steps.evaluation`: the rows of the
    region "all" are then means over the steps of a case.
    """
    if run.description.task is None:
        return case_scores(Predictor.of_run(run, cases), cases, quiet=quiet, observe=observe)
    # It imports PyTorch, and predictions made elsewhere do not need it.
    from pipelines.steps.evaluation import step_scores

    return step_scores(run, cases, quiet=quiet, observe=observe)


def _rows(predictor: Predictor, case: Case, observe: Observer) -> Iterator[dict[str, Any]]:
    prediction, std = predictor.predict_with_uncertainty(case)
    observe(case, prediction)
    truth = np.stack([case.scalar(target) for target in predictor.targets], axis=1)
    regions = list(_regions(case))
    for field, columns in scored_fields(predictor.targets).items():
        for region, nodes in regions:
            predicted, true = prediction[nodes][:, columns], truth[nodes][:, columns]
            row = {
                "case_id": case.case_id,
                "design_id": case.design_id,
                "split": case.split,
                "nodes": case.node_count,
                "max_z": float(case.points[:, 2].max()),
                "target": field,
                "unit": unit(field),
                "region": region,
                **score(predicted, true, field),
            }
            if std is not None and isinstance(columns, int):
                row |= calibration(predicted, std[nodes][:, columns], true, predictor.members)
            yield row


def _regions(case: Case) -> Iterator[tuple[str, slice | NDArray[np.bool_]]]:
    """Yield the name and the nodes of each region that has any."""
    yield "all", slice(None)
    if SURFACE in case.variables:
        on_surface = case.variables[SURFACE].astype(bool)
        for region, nodes in (("surface", on_surface), ("interior", ~on_surface)):
            if nodes.any():
                yield region, nodes


def is_calibrated(scores: pd.DataFrame) -> bool:
    """Whether scores of a target compare its uncertainty with its error."""
    return "coverage_95" in scores and bool(scores["coverage_95"].notna().any())


def summary(scores: pd.DataFrame) -> dict[str, Any]:
    """Mean and median over cases, ``{target: {"unit": ..., split: {"cases": n, "mean": ..., ...}}}``."""
    whole = scores[scores["region"] == "all"]
    result: dict[str, Any] = {}
    for target, of_target in whole.groupby("target", sort=False):
        result[str(target)] = {"unit": unit(str(target))}
        metrics = [name for name in COLUMNS if name != "published_relative_l2" or target == PUBLISHED_TARGET]
        if is_calibrated(of_target):
            metrics += CALIBRATION
        for split, group in of_target.groupby("split", sort=False):
            cases = [
                {str(name): float(value) for name, value in row.items()}
                for row in group[metrics].to_dict("records")
            ]
            result[str(target)][str(split)] = {"cases": len(cases), **summarize(cases)}
    return result


COLUMNS = {
    "relative_l2": "relative L2",
    "r2": "R2",
    "mean_absolute_error": "MAE",
    "p95_absolute_error": "P95 error",
    "max_absolute_error": "max error",
    "published_relative_l2": "published rel. L2",
}
"""Headings of the metrics in `table`."""


def table(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of the means over cases."""
    widths = {name: max(len(heading), 8) + 2 for name, heading in COLUMNS.items()}
    headings = "".join(f"{heading:>{widths[name]}}" for name, heading in COLUMNS.items())
    yield f"{'target':<24}{'split':<6}{'cases':>6}{headings}"
    for target, of_target in metrics["targets"].items():
        label = f"{target} [{of_target['unit']}]"
        for split in (split for split in SPLITS if split in of_target):
            mean = of_target[split]["mean"]
            cells = "".join(
                f"{mean[name]:>{width}.4f}" if name in mean else " " * width for name, width in widths.items()
            )
            yield f"{label:<24}{split:<6}{of_target[split]['cases']:>6}{cells}"
