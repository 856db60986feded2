"""Whether a case may be stored: every array as the schema says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.schema import HISTORY_PREFIX, MESH_VARIABLES, STATISTICS, STORED_VARIABLES
from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.case import Case
    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.step_table import StepTable


def check_case(case: Case, fields: Sequence[str]) -> dict[RaggedDim, int]:
    """Check dtypes, shapes, finite values and connectivity of a case.

    Parameters
    ----------
    case : Case
        The case to store.
    fields : sequence of str
        Nodal fields it must have besides the mesh; others are not looked at.

    Returns
    -------
    dict of str to int
        Number of nodes, cells and edges, by ragged dimension.

    Raises
    ------
    StoreError
        Naming the case and the variable, if something is wrong.
    """
    if not case.case_id:
        raise StoreError("a case without a case_id cannot be stored; name it")
    if unknown := case.statistics.keys() - STATISTICS.keys():
        raise StoreError(f"case {case.case_id!r} has unknown statistics {', '.join(sorted(unknown))}")
    counts: dict[RaggedDim, int] = {}
    for name in (*MESH_VARIABLES, *fields):
        if name not in case.variables:
            raise StoreError(f"case {case.case_id!r} has no variable {name!r}, which the store holds")
        problem = _array_problem(name, case.variables[name], counts)
        if problem:
            raise StoreError(f"case {case.case_id!r}, variable {name!r}: {problem}")
    for name in ("cells", "edges"):
        problem = _connectivity_problem(name, case.variables[name], counts["node"])
        if problem:
            raise StoreError(f"case {case.case_id!r}, variable {name!r}: {problem}")
    return counts


def check_rows(
    case_id: str, variables: Mapping[str, NDArray[np.generic]], names: Sequence[str], node_count: int
) -> None:
    """Check nodal variables of a case by themselves.

    Parameters
    ----------
    case_id : str
        For the message.
    variables : mapping of str to ndarray
        By the names of the schema.
    names : sequence of str
        Those that must be there.
    node_count : int
        Number of nodes of the case.

    Raises
    ------
    StoreError
        Naming the case and the variable, if something is wrong.
    """
    for name in names:
        if problem := _array_problem(name, variables[name], {"node": node_count}):
            raise StoreError(f"case {case_id!r}, variable {name!r}: {problem}")


def check_history(case_id: str, table: StepTable, variables: Mapping[str, NDArray[np.generic]]) -> None:
    """Check the history of a case.

    Parameters
    ----------
    case_id : str
        For the message.
    table : StepTable
        Its steps.
    variables : mapping of str to ndarray
        By the names of `lpbf_dataset.schema.HISTORY_VARIABLES`.

    Raises
    ------
    StoreError
        Naming the case and the variable, if something is wrong.
    """
    counts = table.counts
    for name, values in variables.items():
        problem = _array_problem(name, values, counts)
        if name == HISTORY_PREFIX + "cells" and not problem:
            problem = history_cells_problem(values, table.mesh_node_count, table.mesh_cell_count)
        if problem:
            raise StoreError(f"case {case_id!r}, variable {name!r}: {problem}")


def history_cells_problem(
    cells: NDArray[Any], node_count: NDArray[np.int64], cell_count: NDArray[np.int64]
) -> str | None:
    """Say what is wrong with the connectivity of the meshes of a history, if anything.

    Parameters
    ----------
    cells : (sum of cell_count, 8) integer ndarray
        Nodes of each hexahedron, from 0 in each mesh.
    node_count, cell_count : (m,) int64 ndarray
        Nodes and cells of each mesh.
    """
    for mesh, (nodes, stop) in enumerate(zip(node_count, np.cumsum(cell_count), strict=True)):
        if problem := _connectivity_problem("cells", cells[stop - cell_count[mesh] : stop], int(nodes)):
            return f"mesh {mesh} {problem}"
    return None


def _array_problem(name: str, values: NDArray[np.generic], counts: dict[RaggedDim, int]) -> str | None:
    """Say what is wrong with one array, if anything; note the length of its dimension in `counts`."""
    variable = STORED_VARIABLES[name]
    if values.dtype != variable.dtype:
        return f"dtype is {values.dtype}, not {variable.dtype}"
    if values.ndim != 1 + len(variable.row_shape) or values.shape[1:] != variable.row_shape:
        return f"shape is {values.shape}, not {('n', *variable.row_shape)}".replace("'", "")
    expected = counts.setdefault(variable.dim, len(values))
    if len(values) != expected:
        return f"has {len(values)} rows, but the case has {expected} {variable.dim}s"
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values))
        return f"{bad} of {values.size} values are not finite"
    return None


def _connectivity_problem(name: str, nodes: NDArray[Any], node_count: int) -> str | None:
    if not nodes.size:
        return None
    low, high = int(nodes.min()), int(nodes.max())
    if low < 0 or high >= node_count:
        return f"names nodes {low} to {high}, but the mesh has nodes 0 to {node_count - 1}"
    if name == "edges" and not (nodes[:, 0] < nodes[:, 1]).all():
        return "the first node of an edge must be less than the second"
    return None
