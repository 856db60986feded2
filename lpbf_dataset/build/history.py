"""The states of a case over its build, from the files of a source to the arrays of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.build.identity import as_text
from lpbf_dataset.schema import HISTORY_PREFIX, STEP_KINDS, STORED_VARIABLES, history_variables
from lpbf_dataset.sources.base import DamagedStep, Step
from lpbf_dataset.sources.steps import part_or_damage
from lpbf_dataset.step_table import StepTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]


def lay_out_history(
    steps: Iterable[Step | DamagedStep], fields: Sequence[str]
) -> tuple[StepTable, dict[str, NDArray[np.generic]]]:
    """Lay the steps of a case end to end, without the plate, each mesh once.

    Parameters
    ----------
    steps : iterable of Step or DamagedStep
        In order of time; taken one at a time.
    fields : sequence of str
        Simulated fields, which every whole step has.

    Returns
    -------
    table : StepTable
        What is known of each step.
    variables : dict of str to ndarray
        By the names of `lpbf_dataset.schema.history_variables`.
    """
    columns: dict[str, list[object]] = {name: [] for name in StepTable.from_json({}).to_json()}
    pieces: dict[str, list[NDArray[np.generic]]] = {name: [] for name in history_variables(fields)}
    points, cells = pieces[HISTORY_PREFIX + "points"], pieces[HISTORY_PREFIX + "cells"]
    group = 0
    for step in map(part_or_damage, steps):
        group += step.kind == "deposited"
        row: dict[str, object] = {
            "kind": STEP_KINDS.index(step.kind),
            "time": step.time,
            "group": group,
            "number": step.number,
        }
        if isinstance(step, DamagedStep):
            row |= {"height": np.nan, "mesh": -1, "step_node_count": 0, "fault": as_text(str(step.error))}
        else:
            if not cells or not _same_mesh(step, points[-1], cells[-1]):
                points.append(step.points)
                cells.append(step.cells)
                columns["mesh_node_count"].append(len(step.points))
                columns["mesh_cell_count"].append(len(step.cells))
            for name in fields:
                pieces[HISTORY_PREFIX + name].append(step.fields[name])
            top = step.points[:, 2].max()
            row |= {"height": top, "mesh": len(cells) - 1, "step_node_count": len(step.points), "fault": ""}
        for name, value in row.items():
            columns[name].append(value)
    return StepTable.from_json(columns), {name: _end_to_end(name, each) for name, each in pieces.items()}


def faults(table: StepTable) -> Iterator[str]:
    """Yield a phrase for each missing step."""
    for index in np.flatnonzero(table.is_missing):
        yield f"step {index} of {len(table)} ({table.kinds[index]}) is missing: {table.fault[index]}"


def _same_mesh(step: Step, points: NDArray[np.generic], cells: NDArray[np.generic]) -> bool:
    return np.array_equal(step.points, points) and np.array_equal(step.cells, cells)


def _end_to_end(name: str, pieces: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    variable = STORED_VARIABLES[name]
    empty = np.empty((0, *variable.row_shape), variable.dtype)
    return np.concatenate(pieces) if pieces else empty
