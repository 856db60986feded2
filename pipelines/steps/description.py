"""What a model of the steps of a build is to take: found out from the training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from lpbf_dataset.schema import resolve_scalar
from lpbf_dataset.store.moments import Moments
from pipelines.console import UserError
from pipelines.runs.scaling import Scaling
from pipelines.steps.tasks import StepTask, conditions
from pipelines.steps.transitions import StepReader, carried, transitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpbf_dataset.store.reader import Dataset
    from pipelines.steps.transitions import Transition
    from pipelines.training.options import TrainOptions

MAX_STEPS = 400
"""Steps that moments are taken over at most, evenly spread over those of training.  A scale need not be more
exact, and a large store has a hundred thousand steps."""


def describe_steps(
    store: Dataset, targets: Sequence[str], options: TrainOptions, kind: Literal["next-step", "any-step"]
) -> tuple[Scaling, StepTask]:
    """Find the scaling of a task from the training split.

    Parameters
    ----------
    store : Dataset
        Every case.
    targets : sequence of str
        Scalar fields to predict.
    options : TrainOptions
        How to predict them.
    kind : {"next-step", "any-step"}
        The task.

    Raises
    ------
    UserError
        If the store holds no history, or none of a target, or there is nothing to learn.
    """
    _check_history(store, targets, kind)
    increments = kind == "next-step" and options.increments
    training = store.train
    found = list(transitions(training, across_removal=options.across_removal))
    if not found:
        raise UserError(
            f"--task {kind}: {store.location} holds no step of a training case before the removal"
        )
    if kind == "next-step" and all(transition.before is None for transition in found):
        raise UserError(
            f"--task next-step: no training case of {store.location} has two steps in a row; use any-step"
        )
    states, changes, known = _moments(training, found, targets, kind)
    of_outputs = changes if increments else states
    for target, spread in zip(targets, of_outputs.std, strict=True):
        if not spread > 0:
            what = "changes equally at every" if increments else "is the same on every"
            raise UserError(f"--targets: {target!r} {what} training node, nothing to learn")
    scaling = Scaling(
        tuple(targets), _plain(of_outputs.mean), _plain(of_outputs.std), options.coordinate_scale
    )
    task = StepTask(
        kind=kind,
        increments=increments,
        across_removal=options.across_removal,
        state_mean=_plain(states.mean),
        state_std=_plain(_positive(states.std)),
        condition_mean=_plain(known.mean),
        condition_std=_plain(_positive(known.std)),
    )
    return scaling, task


def _check_history(store: Dataset, targets: Sequence[str], kind: str) -> None:
    if not store.has_history:
        raise UserError(
            f"--task {kind}: {store.location} holds final states alone; build it with lpbf-build --steps all"
        )
    for target in targets:
        variable, _ = resolve_scalar(target)
        if variable not in store.history_fields:
            raise UserError(
                f"--targets: the steps of {store.location} have no {variable!r} for {target!r}; they have "
                f"{', '.join(store.history_fields)}"
            )


def _moments(
    cases: Dataset,
    found: Sequence[Transition],
    targets: Sequence[str],
    kind: Literal["next-step", "any-step"],
) -> tuple[Moments, Moments, Moments]:
    """Moments of the states after steps, of what the steps add, and of the conditions."""
    chosen = np.unique(np.linspace(0, len(found) - 1, MAX_STEPS).round().astype(int))
    reader = StepReader(tuple(dict.fromkeys(resolve_scalar(target)[0] for target in targets)))
    states: Moments | None = None
    changes: Moments | None = None
    known = []
    for transition in (found[index] for index in chosen):
        case = cases.read(transition.case, reader.variables)
        positions = [index for index in (transition.before, transition.step) if index is not None]
        *earlier, step = reader.steps(case, positions)
        before = earlier[0] if earlier else None
        then = carried(before, step)
        after = np.stack([step.scalar(target) for target in targets], axis=1)
        change = after - np.stack([then.scalar(target) for target in targets], axis=1)
        states = Moments.of(after).merge(states) if states else Moments.of(after)
        changes = Moments.of(change).merge(changes) if changes else Moments.of(change)
        known.append(conditions(kind, step, before))
    assert states is not None
    assert changes is not None
    return states, changes, Moments.of(np.array(known))


def _positive(std: np.ndarray) -> np.ndarray:
    """Leave what does not vary as it is when it is divided by."""
    return np.where(std > 0, std, 1.0)


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
