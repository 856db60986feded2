"""Averages that carry fields from the nodes of a hexahedral mesh to its cells, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import in_chunks
from lpbf_dataset.mesh.topology import LIGHT_CHUNK, check_cells, part_size

if TYPE_CHECKING:
    from numpy.typing import NDArray


def node_to_cell(
    values: NDArray[np.number], cells: NDArray[np.integer], threads: int = 1
) -> NDArray[np.floating]:
    """Mean over the 8 nodes of each cell: the trilinear field at the centre of the cell.

    Parameters
    ----------
    values : (n, ...) ndarray
        One value, vector or tensor for each node.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.
    threads : int, optional
        Threads that share the cells out; the result does not depend on it.

    Returns
    -------
    (m, ...) float ndarray
        In the unit of `values`; float32 if they are, else float64.  NaN where a node has NaN.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over the nodes that have values, or the values are no real numbers.
    """
    values, columns = columns_of(values)
    cells = check_cells(cells, len(values))
    means = np.empty((len(cells), columns.shape[1]), dtype=columns.dtype)

    def kernel(start: int, stop: int) -> None:
        _gather_means(columns, cells[start:stop], means[start:stop])

    in_chunks(kernel, len(cells), threads, LIGHT_CHUNK)
    return means.reshape(len(cells), *values.shape[1:])


def cell_to_node(
    values: NDArray[np.number],
    cells: NDArray[np.integer],
    node_count: int,
    weights: NDArray[np.floating] | None = None,
    threads: int = 1,
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
    threads : int, optional
        Threads that share the nodes out; the result does not depend on it.

    Returns
    -------
    (node_count, ...) float ndarray
        In the unit of `values`; float32 if they are, else float64.  NaN at nodes of no cell.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `node_count` nodes, the number of values or weights is wrong,
        or the values are no real numbers.
    """
    values, columns = columns_of(values)
    cells = check_cells(cells, node_count)
    weights = np.ones(len(cells)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(values) != len(cells) or weights.shape != (len(cells),):
        raise ValueError(
            f"{len(values)} values and weights {weights.shape} for {len(cells)} cells; give each cell one"
        )
    means = np.empty((node_count, columns.shape[1]), dtype=columns.dtype)

    def kernel(start: int, stop: int) -> None:
        _scatter_means(columns, cells, weights, start, means[start:stop])

    in_chunks(kernel, node_count, threads, part_size(node_count, threads))
    return means.reshape(node_count, *values.shape[1:])


def columns_of(values: NDArray[np.number]) -> tuple[NDArray[np.number], NDArray[np.floating]]:
    """Check a field and spread its vectors or tensors into columns.

    Parameters
    ----------
    values : (n, ...) ndarray
        Real numbers.

    Returns
    -------
    values : (n, ...) ndarray
        As given.
    columns : (n, k) float32 or float64 ndarray
        The same, C-contiguous; float64 unless it was float32.

    Raises
    ------
    ValueError
        If it is no array of real numbers.
    """
    values = np.asarray(values)
    if not values.ndim or values.dtype.kind not in "fiub":
        raise ValueError(f"values must be an array of real numbers, not {values.shape} {values.dtype}")
    columns = values.reshape(len(values), int(np.prod(values.shape[1:])))
    single = values.dtype.newbyteorder("=") == np.float32
    dtype = np.float32 if single else np.float64
    return values, np.ascontiguousarray(columns, dtype=dtype)


@njit(cache=True, nogil=True)
def _gather_means(columns, cells, means):  # type: ignore[no-untyped-def]
    for i, cell in enumerate(cells):
        for column in range(columns.shape[1]):
            total = 0.0
            for node in cell:
                total += columns[node, column]
            means[i, column] = total / 8


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter_means(columns, cells, weights, first_node, means):  # type: ignore[no-untyped-def]
    """Write the means at the nodes from `first_node` on."""
    totals = np.zeros(means.shape)
    weight_of_node = np.zeros(len(means))
    for i, cell in enumerate(cells):
        for node in cell:
            row = node - first_node
            if 0 <= row < len(means):
                weight_of_node[row] += weights[i]
                for column in range(columns.shape[1]):
                    totals[row, column] += weights[i] * columns[i, column]
    for row in range(len(means)):
        for column in range(columns.shape[1]):
            means[row, column] = totals[row, column] / weight_of_node[row]
