"""The histories of a store: their tables, the order of their steps, and with ``deep`` every value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.schema import (
    HISTORY_DIMS,
    HISTORY_PREFIX,
    HISTORY_VARIABLES,
    STEP_KINDS,
    VARIABLES,
)
from lpbf_dataset.store.layout import HISTORY_MARK, history_columns
from lpbf_dataset.store.rounding import is_rounded, round_mantissa
from lpbf_dataset.store.step_tables import StepTables
from lpbf_dataset.store.validate import history_cells_problem
from lpbf_dataset.store.verification.problems import UNREADABLE, Code
from lpbf_dataset.store.verification.table import lie_end_to_end, read_usable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import zarr
    from numpy.typing import NDArray

    from lpbf_dataset.step_table import StepTable
    from lpbf_dataset.store.ragged_reader import RaggedReader
    from lpbf_dataset.store.verification.metadata import Arrays
    from lpbf_dataset.store.verification.problems import Report
    from lpbf_dataset.store.verification.table import Table
    from lpbf_dataset.store.verification.training_moments import TrainingMoments
    from lpbf_dataset.store.verify import Progress

_LAST_KINDS = tuple(STEP_KINDS.index(kind) for kind in ("cooled", "removed"))


def check_step_tables(group: zarr.Group, arrays: Arrays, table: Table, report: Report) -> StepTables | None:
    """Read the tables of the histories and compare them with themselves and the lengths of the arrays.

    Parameters
    ----------
    group : zarr.Group
        Root of the store.
    arrays : dict of str to zarr.Array
        Its usable arrays.
    table : dict of str to ndarray
        The case table.
    report : Report
        Takes the problems.

    Returns
    -------
    StepTables or None
        None for a store without histories, or whose tables are damaged.
    """
    if HISTORY_MARK not in arrays:
        return None
    expected = history_columns()
    columns: Table = {}
    for parent in ("case", "step", "mesh"):
        of_parent = {n: arrays[n] for n, column in expected.items() if column.dim == parent and n in arrays}
        columns |= read_usable(group, of_parent, report)
    if columns.keys() != expected.keys() or "case_id" not in table:
        return None
    if len(columns[HISTORY_MARK]) != len(table["case_id"]):
        report.add(Code.COUNTS_MISMATCH, HISTORY_MARK, "has another length than the case table")
        return None
    variables = {n: arrays[n].shape[0] for n in HISTORY_VARIABLES if n in arrays}
    are_whole = True
    for dim, parent in HISTORY_DIMS.items():
        lengths = {n: length for n, length in variables.items() if HISTORY_VARIABLES[n].dim == dim}
        lengths |= {n: len(columns[n]) for n, column in expected.items() if column.dim == dim}
        counts, offsets = columns[f"{dim}_count"], columns[f"{dim}_offset"]
        are_whole &= lie_end_to_end(dim, counts, offsets, lengths, report, parent)
    if not are_whole:
        return None
    tables = StepTables(columns, variables)
    for row, case_id in enumerate(table["case_id"]):
        for name, flaw in _flaws(tables.table(row)):
            report.add(Code.STEPS_MISMATCH, f"case {case_id!r}, {name}", flaw)
    return tables


def _flaws(steps: StepTable) -> Iterator[tuple[str, str]]:
    """Yield each thing that is wrong with the steps of a case, with the column."""
    kind, mesh, there = steps.kind.astype(int), steps.mesh, ~steps.is_missing
    if ((kind < 0) | (kind >= len(STEP_KINDS))).any():
        yield "step_kind", f"is none of {', '.join(STEP_KINDS)}"
    elif (np.diff(np.where(np.isin(kind, _LAST_KINDS), kind, -1)) < 0).any():
        yield "step_kind", "layers are deposited after the build cooled down"
    if (np.diff(steps.time) < 0).any():
        yield "step_time", "decreases"
    if (steps.group != np.cumsum(kind == STEP_KINDS.index("deposited"))).any():
        yield "step_group", "is not the number of groups deposited so far"
    if ((mesh < -1) | (mesh >= len(steps.mesh_node_count))).any():
        yield "step_mesh", f"the case has meshes 0 to {len(steps.mesh_node_count) - 1}"
        return
    if (np.diff(mesh[there]) < 0).any():
        yield "step_mesh", "decreases"
    if (steps.step_node_count[there] != steps.mesh_node_count[mesh[there]]).any():
        yield "step_node_count", "a step has another number of nodes than its mesh"
    if steps.step_node_count[~there].any():
        yield "step_node_count", "a missing step has nodes"
    if not np.isfinite(steps.height[there]).all():
        yield "step_height", "is not finite"
    if ((steps.fault == "") != there).any():
        yield "step_fault", "contradicts step_mesh"


def check_histories(
    reader: RaggedReader,
    arrays: Arrays,
    table: Table,
    histories: StepTables,
    rounded: Mapping[str, int],
    training: TrainingMoments,
    report: Report,
    progress: Progress,
) -> None:
    """Read every history and check its values.

    Parameters
    ----------
    reader : RaggedReader
        Reads the rows.
    arrays : dict of str to zarr.Array
        Usable arrays of the store.
    table : dict of str to ndarray
        The case table.
    histories : StepTables
        See `check_step_tables`.
    rounded : mapping of str to int
        See `check_rounding`.
    training : TrainingMoments
        Takes in what training cases hold.
    report : Report
        Takes the problems.
    progress : Progress
        Wraps the rows of the case table.
    """
    names = [name for name in HISTORY_VARIABLES if name in arrays]
    for row in progress(range(len(table["case_id"])), "case"):
        steps, offsets = histories.table(row), histories.offsets(row)
        values: dict[str, NDArray[Any]] = {}
        for name in names:
            dim = HISTORY_VARIABLES[name].dim
            part = slice(offsets[dim], offsets[dim] + steps.counts[dim])
            where = f"case {table['case_id'][row]!r}, {name}"
            try:
                values |= reader.read({name: part})
            except UNREADABLE as error:
                report.add(Code.CORRUPT_CHUNK, where, error)
                training.give_up(name)
                continue
            for code, flaw in _bad_values(name, values[name], steps, rounded.get(name)):
                report.add(code, where, flaw)
        if "split" in table and table["split"][row] == "train":
            training.add(values)
        for name in _other_final_state(reader, arrays, table, row, steps, rounded, values):
            where = f"case {table['case_id'][row]!r}, {HISTORY_PREFIX}{name}"
            report.add(Code.STEPS_MISMATCH, where, f"the last step differs from {name}")


def _bad_values(
    name: str, values: NDArray[Any], steps: StepTable, bits: int | None
) -> Iterator[tuple[Code, str]]:
    """Yield each thing that is wrong with the values of a variable of one case."""
    if bad := np.count_nonzero(~np.isfinite(values)):
        yield Code.NOT_FINITE, f"{bad} of {values.size} values are not finite"
    if bits and (bad := np.count_nonzero(~is_rounded(values, bits))):
        yield Code.NOT_ROUNDED, f"{bad} of {values.size} values have more than {bits} bits"
    if name == HISTORY_PREFIX + "cells" and (
        problem := history_cells_problem(values, steps.mesh_node_count, steps.mesh_cell_count)
    ):
        yield Code.CONNECTIVITY_OUT_OF_RANGE, problem


def _other_final_state(
    reader: RaggedReader,
    arrays: Arrays,
    table: Table,
    row: int,
    steps: StepTable,
    rounded: Mapping[str, int],
    values: Mapping[str, NDArray[Any]],
) -> Iterator[str]:
    """Name the fields whose last state is not the final one, rounded as the history is."""
    if not len(steps) or steps.is_missing[-1] or steps.kinds[-1] != "removed" or "node_count" not in table:
        return
    start, count = (int(table[name][row]) for name in ("node_offset", "node_count"))
    last = int(steps.step_node_count[-1])
    for name in VARIABLES:
        of_history = HISTORY_PREFIX + name
        if of_history not in values or HISTORY_VARIABLES[of_history].dim != "step_node" or name not in arrays:
            continue
        try:
            final: NDArray[Any] = reader.read({name: slice(start, start + count)})[name]
        except UNREADABLE:
            continue  # reported where the final states were checked
        if bits := rounded.get(of_history):
            final = round_mantissa(final, bits)
        if last != count or not np.array_equal(values[of_history][-last:], final):
            yield name
