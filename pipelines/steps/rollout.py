"""Predicting the steps of a build: each from the true state before it, or all from what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.steps import Steps
from pipelines.runs.checkpoint import RunError
from pipelines.steps.carry import carry
from pipelines.steps.encoding import state_after, step_inputs
from pipelines.steps.tasks import RELEASED
from pipelines.steps.transitions import StepReader, known_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.steps import CaseStep
    from pipelines.runs.run import Run
    from pipelines.steps.tasks import StepTask


def predict_step(
    run: Run,
    step: CaseStep,
    before: CaseStep | None = None,
    state: NDArray[np.floating] | None = None,
    levels_folder: Path | None = None,
) -> NDArray[np.float32]:
    """Predict the targets after a step of a build.

    Parameters
    ----------
    run : Run
        Trained on a task of steps.
    step : CaseStep
        The step, of which mesh, time, height and kind are used, and the variables of `Description.features`;
        as `read_steps` reads it.
    before : CaseStep or None
        The one before it; None for the first, before which everything is zero.
    state : (nodes of `before`, targets) ndarray, optional
        The targets then, in their units; those of `before` by default.
    levels_folder : Path, optional
        As of `Run.predict`.

    Returns
    -------
    (nodes, targets) float32 ndarray
        Columns as `Run.targets` names them, in their units.

    Raises
    ------
    RunError
        If the model does not predict steps.
    """
    known = state_before(run, step, before, state) if _task(run).sees_state else None
    inputs = step_inputs(run.description, step, before, known)
    return state_after(run.description, run.outputs(step, inputs, levels_folder)[0], known)


def state_before(
    run: Run, step: CaseStep, before: CaseStep | None, state: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Return the targets before a step on the nodes of the step; arguments as of `predict_step`."""
    if before is None:
        return np.zeros((step.node_count, len(run.targets)), np.float32)
    return carry(before, step)(run.scaling.truth(before) if state is None else state)


def roll_out(
    run: Run, case: Case, levels_folder: Path | None = None
) -> Iterator[tuple[CaseStep, NDArray[np.float32]]]:
    """Predict the whole build of a case, each step from what was predicted of the one before.

    Parameters
    ----------
    run : Run
        Trained on a task of steps.
    case : lpbf_dataset.Case
        With its `steps`, whose fields have no influence, and what `read_steps` needs.
    levels_folder : Path, optional
        As of `Run.predict`.

    Yields
    ------
    CaseStep
        A step, up to the removal of the plate unless the model knows that too, with the true fields.
    (nodes, targets) float32 ndarray
        The prediction, as of `predict_step`.

    Raises
    ------
    RunError
        If the model does not predict steps, or the case has none.
    """
    before, state = None, None
    for step in read_steps(run, case):
        state = predict_step(run, step, before, state, levels_folder)
        yield step, state
        before = step


def last_on_plate(
    states: Iterable[tuple[CaseStep, NDArray[np.float32]]],
) -> tuple[CaseStep, NDArray[np.float32]]:
    """Pick the last state before the part comes off the plate; the first if it never is on it."""
    states = iter(states)
    last = next(states)
    for step, state in states:
        if step.kind not in RELEASED:
            last = step, state
    return last


def read_steps(run: Run, case: Case) -> Iterator[CaseStep]:
    """Read the steps of a case that a model knows, one after another.

    Parameters
    ----------
    run : Run
        Trained on a task of steps.
    case : lpbf_dataset.Case
        With the variables of `pipelines.steps.transitions.StepReader.variables`.

    Raises
    ------
    RunError
        If the model does not predict steps, or the case has none.
    """
    task = _task(run)
    if not isinstance(case.steps, Steps):
        raise RunError(f"case {case.case_id!r} has no steps; build its store with lpbf-build --steps all")
    known = known_steps(case.steps.table, across_removal=task.across_removal)
    yield from StepReader.of(run.description).steps(case, known)


def _task(run: Run) -> StepTask:
    if run.description.task is None:
        raise RunError(f"{run.path} predicts final states alone; train a model with --task next-step")
    return run.description.task
