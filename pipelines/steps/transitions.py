"""The steps of the cases of a store as pairs of a step and the one before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from lpbf_dataset.schema import FEATURE_VARIABLES, resolve_scalar
from lpbf_dataset.simulation.materials import REFERENCE_TEMPERATURE
from lpbf_dataset.steps import Steps
from pipelines.steps.carry import carry
from pipelines.steps.tasks import steps_on_plate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lpbf_dataset import Case
    from lpbf_dataset.step_table import StepTable
    from lpbf_dataset.steps import CaseStep
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.checkpoint import Description


class Transition(NamedTuple):
    """A step of a case and the one before it, by their positions in the history.

    Parameters
    ----------
    case : int
        Position of the case in its view of the store.
    before : int or None
        None for the first step.
    step : int
        It is there, as is `before`.
    nodes : int
        Of the mesh of the step.
    """

    case: int
    before: int | None
    step: int
    nodes: int


def known_steps(table: StepTable, *, across_removal: bool) -> list[int]:
    """Positions of the steps that are there, up to the removal of the plate unless that is asked for."""
    last = len(table) if across_removal else steps_on_plate(table.kinds)
    return [step for step in range(last) if not table.is_missing[step]]


def transitions(cases: Dataset, *, across_removal: bool) -> Iterator[Transition]:
    """Yield the transitions of all cases; over steps that are missing, a longer one.

    Parameters
    ----------
    cases : Dataset
        With a history.
    across_removal : bool
        Whether to yield those in which the part comes off the plate.
    """
    for position in range(len(cases)):
        table = cases.step_table(position)
        before: int | None = None
        for step in known_steps(table, across_removal=across_removal):
            yield Transition(position, before, step, int(table.step_node_count[step]))
            before = step


@dataclass(frozen=True)
class StepReader:
    """Reads steps with what a model needs of them.

    Parameters
    ----------
    fields : tuple of str
        Simulated fields.
    features : tuple of str
        Geometry features.  A history has none, so they are carried over from the mesh of the final state.
    """

    fields: tuple[str, ...]
    features: tuple[str, ...] = ()

    @classmethod
    def of(cls, description: Description) -> Self:
        """Read what the model of a description takes and predicts."""
        fields = (resolve_scalar(target)[0] for target in description.scaling.targets)
        return cls(tuple(dict.fromkeys(fields)), description.features)

    @property
    def variables(self) -> tuple[str, ...]:
        """What it needs of the final state."""
        return ("points", "cells", *self.features) if self.features else ("points",)

    def steps(self, case: Case, positions: Iterable[int]) -> Iterator[CaseStep]:
        """Read steps of a case with a history, one after another.

        Raises
        ------
        StoreError
            If the store is damaged.
        """
        for position in positions:
            step = self.state(case, position)
            if self.features:
                onto_step = carry(case, step)
                features = {name: onto_step(case.variables[name]) for name in self.features}
                step = replace(step, variables={**step.variables, **features})
            yield step

    def state(self, case: Case, position: int) -> CaseStep:
        """Read a step without the features.  Raises `StoreError`."""
        assert isinstance(case.steps, Steps)
        return case.steps.read(position, self.fields)


def before_the_build(field: str) -> float:
    """Value of a field before the first step, in its unit, everywhere.

    Nothing is deformed or under stress, and all is as warm as the surroundings: 25 degC in the embedded
    solver as in the Netfabb runs, and what every part has cooled down to.
    """
    return REFERENCE_TEMPERATURE if field == "temperature" else 0.0


def carried(before: CaseStep | None, step: CaseStep) -> CaseStep:
    """Return the fields before a step on the nodes of the step, whose own they are in the place of."""
    mesh = {name: step.variables[name] for name in ("points", "cells")}
    names = [name for name in step.field_names if name not in FEATURE_VARIABLES]
    if before is None:
        fields = {name: np.full_like(step.variables[name], before_the_build(name)) for name in names}
    else:
        onto_step = carry(before, step)
        fields = {name: onto_step(before.variables[name]) for name in names}
    return replace(step, variables={**mesh, **fields})
