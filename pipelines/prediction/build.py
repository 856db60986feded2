"""The build of a part as a model of its steps predicts it, beside the final state that others predict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpbf_dataset.schema import VARIABLES, component_names, resolve_scalar
from pipelines.runs.checkpoint import RunError
from pipelines.scoring.metrics import relative_l2
from pipelines.scoring.scored_fields import scored_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.steps import CaseStep
    from pipelines.runs.run import Run

ON_PLATE = (
    "the run does not know how the part comes off the plate: all figures are of the part on the plate, "
    "without springback; train with --across_removal for the final state"
)


class PredictedState(NamedTuple):
    """What a run makes of a case.

    Parameters
    ----------
    case : Case
        With the mesh that the fields lie on.
    mean : (nodes, targets) float32 ndarray
        Of the final state, or of the last step that the run knows, as `Run.predict` gives it.
    std : (nodes, targets) float32 ndarray or None
        Standard deviation over the members of an ensemble.
    build : tuple of CaseStep
        The states over the build, as `Prediction.build` has them.
    """

    case: Case
    mean: NDArray[np.float32]
    std: NDArray[np.float32] | None
    build: tuple[CaseStep, ...] = ()


def predict_state(run: Run, case: Case) -> PredictedState:
    """Predict the final state of a case, or all steps of its build if the run is of these.

    Parameters
    ----------
    run : Run
        Of any task.
    case : lpbf_dataset.Case
        With what the model needs: its `steps` above all if the run is of these.

    Raises
    ------
    RunError
        If the case lacks what the model needs, or the model predicts numbers that are not finite.
    """
    if run.description.task is None:
        state = PredictedState(case, *run.predict_with_uncertainty(case))
        _check_finite(run, case, state.mean)
        return state
    build: list[CaseStep] = []
    last: PredictedState | None = None
    for step, mean, std in run.roll_out_with_uncertainty(case):
        _check_finite(run, case, mean)
        predicted = whole_fields(dict(zip(run.targets, mean.T, strict=True)))
        build.append(replace(step, variables={"points": step.points, "cells": step.cells, **predicted}))
        last = PredictedState(step, mean, std)
    if last is None:
        raise RunError(f"case {case.case_id!r} has no step that {run.path} could predict")
    # A step by itself knows nothing of the others.
    return last._replace(case=replace(last.case, steps=case.steps), build=tuple(build))


def whole_fields(predicted: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Put components together.

    Parameters
    ----------
    predicted : mapping of str to (nodes,) float32 ndarray
        Scalar fields by the names of targets.

    Returns
    -------
    dict of str to (nodes, ...) float32 ndarray
        By the names of `lpbf_dataset.schema.VARIABLES`; components that are not predicted are 0 of the
        displacement, by which viewers deform, and NaN of others.
    """
    fields = {}
    for name in dict.fromkeys(resolve_scalar(target)[0] for target in predicted):
        components = [f"{name}_{component}" for component in component_names(VARIABLES[name])] or [name]
        absent = np.full_like(next(iter(predicted.values())), 0.0 if name == "displacement" else np.nan)
        columns = [predicted.get(component, absent) for component in components]
        fields[name] = np.column_stack(columns) if len(columns) > 1 else columns[0].copy()
    return fields


def step_errors(
    build: Sequence[CaseStep], truths: Iterable[Case], targets: Sequence[str]
) -> dict[str, list[float]]:
    """Relative L2 error of each target at each step, and of vectors all of whose components are targets.

    Parameters
    ----------
    build : sequence of CaseStep
        Predicted.
    truths : iterable of Case
        The true ones, as many on the same meshes.
    targets : sequence of str
        What is predicted.
    """
    fields = scored_fields(targets)
    errors: dict[str, list[float]] = {field: [] for field in fields}
    for step, truth in zip(build, truths, strict=True):
        predicted, true = (
            np.column_stack([state.scalar(target) for target in targets]) for state in (step, truth)
        )
        for field, columns in fields.items():
            errors[field].append(relative_l2(predicted[:, columns], true[:, columns]))
    return errors


def _check_finite(run: Run, case: Case, values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise RunError(f"{run.path} predicts numbers that are not finite for {case.case_id}")
