"""What is learnt of the steps of a build: the next one from the one before, or any from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from lpbf_dataset.schema import STEP_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.steps import CaseStep

Task = Literal["final", "next-step", "any-step"]

RELEASED: tuple[StepKind, ...] = ("removed", "cut")
"""Kinds of steps in which the part comes off the plate, and springs."""

UNCHANGED = "unchanged"
"""Name of the floor that a model which sees the state before a step has to beat: that state itself."""

_OF_STEP, _OF_CHANGE = ("time", "height"), ("time_step", "growth")


@dataclass(frozen=True)
class StepTask:
    """What a model of the steps of a build sees besides the geometry, and what it predicts.

    Parameters
    ----------
    kind : {"next-step", "any-step"}
        Whether it sees the state at the step before.
    increments : bool
        Whether it predicts what a step adds to that state, rather than the state after it.
    across_removal : bool
        Whether it knows the steps in which the part comes off the plate.
    state_mean, state_std : tuple of float
        Of each target over all steps of training, in its unit.
    condition_mean, condition_std : tuple of float
        Of what `conditions` gives.
    """

    kind: Literal["next-step", "any-step"]
    increments: bool
    across_removal: bool
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    condition_mean: tuple[float, ...]
    condition_std: tuple[float, ...]

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Self:
        """Undo `dataclasses.asdict`, and what JSON made of tuples."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**values)

    @property
    def sees_state(self) -> bool:
        """Whether the state before is among the inputs."""
        return self.kind == "next-step"

    def inputs(
        self, step: CaseStep, before: CaseStep | None, state: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Arrange what is known of a step besides the geometry.

        Parameters
        ----------
        step : CaseStep
            The step to predict.
        before : CaseStep or None
            The one before, None for the first.
        state : (nodes, targets) float32 ndarray or None
            The targets then, on the nodes of `step`; None if the task does not see them.

        Returns
        -------
        (nodes, channels) float32 ndarray
            Of "next-step" the standardised state and whether a node is of the new layer; then, the same on
            all nodes, the standardised conditions and the kind of the step as one of five.
        """
        columns = []
        if state is not None:
            standardised = (state - np.array(self.state_mean)) / np.array(self.state_std)
            columns += [standardised, is_new(step, before)[:, None]]
        condition = (conditions(self.kind, step, before) - self.condition_mean) / self.condition_std
        known = np.concatenate([condition, np.array(STEP_KINDS) == step.kind])
        columns.append(np.broadcast_to(known, (step.node_count, len(known))))
        return np.concatenate(columns, axis=1).astype(np.float32)


def steps_on_plate(kinds: Sequence[str]) -> int:
    """Count the steps before the part comes off the plate."""
    return next((step for step, kind in enumerate(kinds) if kind in RELEASED), len(kinds))


def task_channels(kind: Literal["next-step", "any-step"], targets: int) -> int:
    """Count the inputs of a model besides those of the geometry."""
    of_state = targets + 1 + len(_OF_CHANGE) if kind == "next-step" else 0
    return of_state + len(_OF_STEP) + len(STEP_KINDS)


def conditions(
    kind: Literal["next-step", "any-step"], step: CaseStep, before: CaseStep | None
) -> NDArray[np.float64]:
    """Return what is known of a step as numbers: process time in s and height of the part in mm.

    Of "next-step" also what each has grown by since the step before; before the first both are zero.
    """
    now = np.array([step.time, step.height])
    if kind == "any-step":
        return now
    then = np.array([before.time, before.height]) if before else np.zeros(len(now))
    return np.concatenate([now, now - then])


def is_new(step: CaseStep, before: CaseStep | None) -> NDArray[np.bool_]:
    """Tell which nodes lie above the mesh of the step before, (nodes,) bool; all at the first step."""
    if before is None:
        return np.ones(step.node_count, np.bool_)
    return np.asarray(step.points[:, 2] > before.points[:, 2].max())
