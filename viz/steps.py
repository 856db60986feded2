"""The states of a part over its build, from the results of a simulation or from a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpbf_dataset.sources.steps import case_at_step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from lpbf_dataset import Case
    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.sources.base import RawCase

_TITLES = {
    "cooled": "cooled down on the plate",
    "removed": "removed from the plate",
    "cut": "cut loose from some of the plate",
}


@dataclass(frozen=True, eq=False)
class BuildState:
    """The part after one step of its build, without the plate.

    Parameters
    ----------
    title : str
        Which step it is: ``"layer group 7 of 25, deposited"``.
    time : float
        Process time in seconds.
    case : Case
        What is built so far, with its fields.
    """

    title: str
    time: float
    case: Case


def step_title(kind: StepKind, group: int, groups: int) -> str:
    """Say which step of a build it is.

    Parameters
    ----------
    kind : {"deposited", "dwelt", "cooled", "removed", "cut"}
        What the step is, see `lpbf_dataset.sources.base.Step`.
    group : int
        Layer groups deposited by then.
    groups : int
        Layer groups of the whole build.

    Returns
    -------
    str
        ``"layer group 7 of 25, deposited"``, ``"removed from the plate"``.
    """
    return _TITLES.get(kind, f"layer group {group} of {groups}, {kind}")


def build_states(raw: RawCase, fields: Collection[str] | None = None) -> Iterator[BuildState]:
    """Read what a part is like after each step of its build.

    Parameters
    ----------
    raw : RawCase
        The simulation, for example of `lpbf_dataset.sources.netfabb.NetfabbSource`.
    fields : collection of str, optional
        Fields to read; all by default.

    Yields
    ------
    BuildState
        In order of time.

    Raises
    ------
    CaseError
        If the results cannot be read.
    """
    steps = raw.steps(fields)
    groups = sum(step.kind == "deposited" for step in steps)
    group = 0
    for step in steps:
        group += step.kind == "deposited"
        yield BuildState(step_title(step.kind, group, groups), step.time, case_at_step(raw, step))


def stored_states(case: Case) -> Iterator[BuildState]:
    """Read what a case of a store is like after each step of its build; missing steps are left out.

    Parameters
    ----------
    case : Case
        Of a store that holds the history of its cases; of another there are no states.

    Yields
    ------
    BuildState
        In order of time.

    Raises
    ------
    StoreError
        If the store is damaged.
    """
    groups = case.steps[-1].group if case.steps else 0
    for step in case.steps:
        if not step.is_missing:
            yield BuildState(step_title(step.kind, step.group, groups), step.time, step)
