"""What the steps of a build are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.step_table import StepTable

_TITLES = {
    "cooled": "cooled down on the plate",
    "removed": "removed from the plate",
    "cut": "cut loose from some of the plate",
}


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


def step_labels(table: StepTable, positions: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Say which step each of some steps of a history is, and how high the part is then.

    Parameters
    ----------
    table : StepTable
        The history.
    positions : iterable of int
        Rows of the table, in order.

    Yields
    ------
    int
        The position of each that is there.
    str
        ``"layer group 7 of 25, dwelt, z = 16.8 mm"``; it tells of missing ones before it.
    """
    groups, missing = int(table.group.max(initial=0)), 0
    kinds = table.kinds
    for position in positions:
        if table.is_missing[position]:
            missing += 1
            continue
        title = step_title(kinds[position], int(table.group[position]), groups)
        note = f" (missing before it: {missing})" if missing else ""
        yield position, f"{title}, z = {table.height[position]:.4g} mm{note}"
        missing = 0
