"""The steps and meshes of every history of a store, as tables and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.schema import HISTORY_DIMS, HISTORY_VARIABLES, STEP_COLUMNS
from lpbf_dataset.step_table import StepTable
from lpbf_dataset.store.layout import history_columns
from lpbf_dataset.store.tables import write_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zarr
    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.store.tables import Member

    Columns = Mapping[str, NDArray[Any]]


def write_step_tables(group: zarr.Group, members: Sequence[Member]) -> None:
    """Write the columns of every history, one array each along ``case``, ``step`` or ``mesh``.

    Parameters
    ----------
    group : zarr.Group
        Root of the store.
    members : sequence of Member
        The cases, in the order in which they are stored; one without a history has no steps.
    """
    tables = [member.history or StepTable.from_json({}) for member in members]
    columns: dict[str, NDArray[np.generic]] = {}
    for dim, parent in HISTORY_DIMS.items():
        if parent == "case":
            counts: NDArray[Any] = np.array([table.counts[dim] for table in tables], np.int64)
        else:
            counts = _end_to_end(tables, f"{dim}_count")
        columns[f"{dim}_count"] = counts
        columns[f"{dim}_offset"] = np.cumsum(counts) - counts
    for name in STEP_COLUMNS:
        columns[name] = _end_to_end(tables, name.removeprefix("step_"))
    for name, column in history_columns().items():
        write_column(group, name, columns[name], column.dim, column.attributes)


def _end_to_end(tables: Sequence[StepTable], name: str) -> NDArray[np.generic]:
    empty = getattr(StepTable.from_json({}), name)
    return np.concatenate([empty, *(getattr(table, name) for table in tables)])


class StepTables:
    """The histories of a store.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Those of `lpbf_dataset.store.layout.history_columns`.
    lengths : mapping of str to int
        Rows of the variables of the histories.

    Raises
    ------
    ValueError
        Naming the columns that do not lie end to end.
    """

    def __init__(self, columns: Columns, lengths: Mapping[str, int]) -> None:
        for dim in HISTORY_DIMS:
            counts, offsets = columns[f"{dim}_count"], columns[f"{dim}_offset"]
            if not np.array_equal(offsets, np.cumsum(counts) - counts):
                raise ValueError(f"{dim}_count and {dim}_offset disagree")
        for name, column in history_columns().items():
            if column.dim != "case" and len(columns[name]) != columns[f"{column.dim}_count"].sum():
                raise ValueError(f"{column.dim}_count and {name} disagree")
        for name, length in lengths.items():
            dim = HISTORY_VARIABLES[name].dim
            if columns[f"{dim}_count"].sum() != length:
                raise ValueError(f"{dim}_count and {name} disagree")
        self._columns = columns

    def table(self, case: int) -> StepTable:
        """Return the steps and meshes of a case, by its row in the case table."""
        columns = self._columns
        steps, meshes = (self._of_case(case, dim) for dim in ("step", "mesh"))
        return StepTable(
            **{name.removeprefix("step_"): columns[name][steps] for name in STEP_COLUMNS},
            step_node_count=columns["step_node_count"][steps],
            mesh_node_count=columns["mesh_node_count"][meshes],
            mesh_cell_count=columns["mesh_cell_count"][meshes],
        )

    def of_cases(self, cases: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Gather the columns along ``step`` of some cases.

        Parameters
        ----------
        cases : (c,) int64 ndarray
            Rows of the case table.

        Returns
        -------
        dict of str to (s,) ndarray
            ``case``, a position in `cases`, and ``step``, one in the history of that case, both from 0; then
            the columns, by their names in the store.
        """
        counts, first = (self._columns[name][cases] for name in ("step_count", "step_offset"))
        behind = np.cumsum(counts)
        step = np.arange(counts.sum()) - np.repeat(behind - counts, counts)
        rows = np.repeat(first, counts) + step
        along_step = [name for name, column in history_columns().items() if column.dim == "step"]
        return {
            "case": np.repeat(np.arange(len(cases)), counts),
            "step": step,
            **{name: self._columns[name][rows] for name in along_step},
        }

    def offsets(self, case: int) -> dict[RaggedDim, int]:
        """First row of a case along each ragged dimension of a history."""
        first: dict[RaggedDim, int] = {}
        for dim, parent in HISTORY_DIMS.items():
            offsets = self._columns[f"{dim}_offset"]
            row = case if parent == "case" else first[parent]  # type: ignore[index]
            # A case without a history may lie behind the last step.
            behind = row == len(offsets)
            first[dim] = int(self._columns[f"{dim}_count"].sum() if behind else offsets[row])
        return first

    def _of_case(self, case: int, dim: str) -> slice:
        start = int(self._columns[f"{dim}_offset"][case])
        return slice(start, start + int(self._columns[f"{dim}_count"][case]))
