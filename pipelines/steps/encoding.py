"""Between the steps of a build in physical units and what a model of them sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.steps import CaseStep
    from pipelines.runs.checkpoint import Description


def step_inputs(
    description: Description, step: CaseStep, before: CaseStep | None, state: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Arrange what a model sees of a step, (nodes, channels) float32.

    Parameters
    ----------
    description : Description
        What the model takes; it has a task.
    step : CaseStep
        The step to predict, with the geometry features.
    before : CaseStep or None
        The one before, None for the first.
    state : (nodes, targets) float32 ndarray or None
        The targets then, in their units on the nodes of `step`; None if the task does not see them.
    """
    assert description.task is not None
    return np.concatenate([description.inputs(step), description.task.inputs(step, before, state)], axis=1)


def step_targets(
    description: Description, step: CaseStep, state: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Standardise what a model has to predict, (nodes, targets) float32: the true state, or what is added.

    Parameters
    ----------
    description, step, state
        As of `step_inputs`; `step` with the true fields.
    """
    truth = description.scaling.truth(step)
    return description.scaling.encode(truth - _starts_from(description, state))


def state_after(
    description: Description, outputs: NDArray[np.float32], state: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Undo `step_targets`: the state in its units that a model predicts, (nodes, targets) float32."""
    return description.scaling.decode(outputs) + _starts_from(description, state)


def _starts_from(
    description: Description, state: NDArray[np.float32] | None
) -> NDArray[np.float32] | np.float32:
    assert description.task is not None
    if not description.task.increments:
        return np.float32(0)
    assert state is not None
    return state
