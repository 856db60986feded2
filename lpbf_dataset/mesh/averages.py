"""Averages that carry fields from the nodes of a hexahedral mesh to its cells, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.topology import check_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray


def node_to_cell(values: NDArray[np.number], cells: NDArray[np.integer]) -> NDArray[np.floating]:
    """Mean over the 8 nodes of each cell: the trilinear field at the centre of the cell.

    Parameters
    ----------
    values : (n, ...) ndarray
        One value, vector or tensor for each node.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.

    Returns
    -------
    (m, ...) float ndarray
        In the unit and precision of `values` (double for integers).

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over the nodes that have values.
    """
    check_cells(cells, len(values))
    columns = _columns(values)
    means = np.empty((len(cells), columns.shape[1]), dtype=columns.dtype)
    _gather_means(columns, np.ascontiguousarray(cells), means)
    return means.reshape(len(cells), *values.shape[1:])


def cell_to_node(
    values: NDArray[np.number],
    cells: NDArray[np.integer],
    node_count: int,
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """Mean over the cells that each node is a corner of.

    A hanging node takes part in its fine cells only, not in the coarse cell on whose face it lies.

    Parameters
    ----------
    values : (m, ...) ndarray
        One value, vector or tensor for each cell.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.
    node_count : int
        Number of nodes of the mesh.
    weights : (m,) float ndarray, optional
        Weight of each cell, all alike by default.  With the volumes of the cells this is the projection of
        the cell values on the nodes by a lumped mass matrix, which gives each node an eighth of the volume of
        its cells and preserves the integral of the field.

    Returns
    -------
    (node_count, ...) float ndarray
        In the unit and precision of `values` (double for integers); NaN at nodes of no cell.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `node_count` nodes, or the number of values or weights is wrong.
    """
    check_cells(cells, node_count)
    weights = np.ones(len(cells)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(values) != len(cells) or weights.shape != (len(cells),):
        raise ValueError(
            f"{len(values)} values and weights {weights.shape} for {len(cells)} cells; give each cell one"
        )
    columns = _columns(values)
    means = _scatter_means(columns, np.ascontiguousarray(cells), weights, node_count)
    return means.astype(columns.dtype, copy=False).reshape(node_count, *values.shape[1:])


def _columns(values: NDArray[np.number]) -> NDArray[np.floating]:
    columns = np.ascontiguousarray(values.reshape(len(values), int(np.prod(values.shape[1:]))))
    return columns if np.issubdtype(columns.dtype, np.floating) else columns.astype(np.float64)


@njit(cache=True, nogil=True)
def _gather_means(columns, cells, means):  # type: ignore[no-untyped-def]
    for i, cell in enumerate(cells):
        for column in range(columns.shape[1]):
            total = 0.0
            for node in cell:
                total += columns[node, column]
            means[i, column] = total / 8


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter_means(columns, cells, weights, node_count):  # type: ignore[no-untyped-def]
    totals = np.zeros((node_count, columns.shape[1]))
    weight_of_node = np.zeros(node_count)
    for i, cell in enumerate(cells):
        for node in cell:
            weight_of_node[node] += weights[i]
            for column in range(columns.shape[1]):
                totals[node, column] += weights[i] * columns[i, column]
    for node in range(node_count):
        for column in range(columns.shape[1]):
            totals[node, column] /= weight_of_node[node]
    return totals
