"""The states of a part over its build, from the results of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpbf_dataset.sources.steps import case_at_step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from lpbf_dataset import Case
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
        title = _TITLES.get(step.kind, f"layer group {group} of {groups}, {step.kind}")
        yield BuildState(title, step.time, case_at_step(raw, step))
