"""Predicting the steps of a build: each from the true state before it, or all from what was predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lpbf_dataset.schema import resolve_scalar
from lpbf_dataset.steps import Steps
from pipelines.runs.checkpoint import RunError
from pipelines.runs.ensemble_model import mean_and_spread
from pipelines.steps.carry import carry
from pipelines.steps.encoding import state_after, step_inputs
from pipelines.steps.tasks import RELEASED
from pipelines.steps.transitions import StepReader, before_the_build, known_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.steps import CaseStep
    from pipelines.runs.run import Run
    from pipelines.steps.tasks import StepTask

StateT = TypeVar("StateT", bound=tuple[Any, ...])


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
        The one before it; None for the first, see `pipelines.steps.transitions.before_the_build`.
    state : (nodes of `before`, targets) ndarray, optional
        The targets then, in their units; those of `before` by default.
    levels_folder : Path, optional
        As of `Run.predict`.

    Returns
    -------
    (nodes, targets) float32 ndarray
        Columns as `Run.targets` names them, in their units; of an ensemble, the mean over its members.

    Raises
    ------
    RunError
        If the model does not predict steps.
    """
    states = None if state is None else np.asarray(state)[None]
    return mean_and_spread(predict_each(run, step, before, states, levels_folder))[0]


def predict_each(
    run: Run,
    step: CaseStep,
    before: CaseStep | None = None,
    states: NDArray[np.floating] | None = None,
    levels_folder: Path | None = None,
) -> NDArray[np.float32]:
    """Predict the targets after a step by every member of an ensemble, or the one model there is.

    Parameters
    ----------
    run, step, before, levels_folder
        As of `predict_step`.
    states : (members or 1, nodes of `before`, targets) ndarray, optional
        The targets then of each member, or of all.

    Returns
    -------
    (members, nodes, targets) float32 ndarray
        As of `predict_step`.

    Raises
    ------
    RunError
        If the model does not predict steps.
    """
    known = states_before(run, step, before, states) if _task(run).sees_state else None
    of_each = [None] if known is None else known
    inputs = np.stack([step_inputs(run.description, step, before, state) for state in of_each])
    return state_after(run.description, run.outputs(step, inputs, levels_folder), known)


def states_before(
    run: Run, step: CaseStep, before: CaseStep | None, states: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Return the targets before a step on its nodes, (members or 1, nodes, targets); see `predict_each`."""
    if before is None:
        values = [before_the_build(resolve_scalar(target)[0]) for target in run.targets]
        return np.tile(np.array(values, np.float32), (1, step.node_count, 1))
    onto_step = carry(before, step)
    return np.stack(
        [onto_step(state) for state in ([run.scaling.truth(before)] if states is None else states)]
    )


def roll_out(
    run: Run, case: Case, levels_folder: Path | None = None
) -> Iterator[tuple[CaseStep, NDArray[np.float32]]]:
    """Predict the whole build of a case, each step from what was predicted of the one before.

    Parameters
    ----------
    run : Run
        Trained on a task of steps.
    case : lpbf_dataset.Case
        With its `steps`, whose fields have no influence and may be absent, and what `read_steps` needs.
    levels_folder : Path, optional
        As of `Run.predict`.

    Yields
    ------
    CaseStep
        A step, up to the removal of the plate unless the model knows that too, with the true fields if the
        case has any.
    (nodes, targets) float32 ndarray
        The prediction, as of `predict_step`.

    Raises
    ------
    RunError
        If the model does not predict steps, or the case has none.
    """
    for step, mean, _ in roll_out_with_uncertainty(run, case, levels_folder):
        yield step, mean


def roll_out_with_uncertainty(
    run: Run, case: Case, levels_folder: Path | None = None
) -> Iterator[tuple[CaseStep, NDArray[np.float32], NDArray[np.float32] | None]]:
    """Roll out, and tell how sure that is.

    Each member of an ensemble goes on from its own states, so that its errors add up as if it were alone.

    Parameters
    ----------
    run, case, levels_folder
        As of `roll_out`.

    Yields
    ------
    step, mean
        As of `roll_out`; of an ensemble, the mean over its members.
    std : (nodes, targets) float32 ndarray or None
        Standard deviation over the members, see `pipelines.runs.ensemble_model.mean_and_spread`; None for
        a single model.

    Raises
    ------
    RunError
        As of `roll_out`.
    """
    before, states = None, None
    for step in read_steps(run, case):
        states = predict_each(run, step, before, states, levels_folder)
        yield step, *mean_and_spread(states)
        before = step


def last_on_plate(states: Iterable[StateT]) -> StateT:
    """Pick the last state before the part comes off the plate; the first if it never is on it.

    Parameters
    ----------
    states : iterable of tuple
        Of a step and what is known of it, as `roll_out` yields them.
    """
    states = iter(states)
    last = next(states)
    for state in states:
        if state[0].kind not in RELEASED:
            last = state
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
    reader = StepReader.of(run.description)
    # Those of a part that is only planned have no fields.
    there = tuple(name for name in reader.fields if name in case.steps.fields)
    yield from replace(reader, fields=there).steps(case, known)


def _task(run: Run) -> StepTask:
    if run.description.task is None:
        raise RunError(f"{run.path} predicts final states alone; train a model with --task next-step")
    return run.description.task
