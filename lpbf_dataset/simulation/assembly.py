"""From element matrices to those of the mesh: a gather, as few distinct boxes occur."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray


def assemble(
    cells: NDArray[np.integer], kind: NDArray[np.int64], matrices: NDArray[np.float64], size: int
) -> sparse.csr_array:
    """Sum element matrices into a sparse matrix.

    Parameters
    ----------
    cells : (cells, 8) integer ndarray
        Nodes of each cell.
    kind : (cells,) int64 ndarray
        Which of the matrices each cell has.
    matrices : (kinds, 8 k, 8 k) float64 ndarray
        Element matrices with k unknowns a node.
    size : int
        Number of nodes.
    """
    per_node = matrices.shape[1] // 8
    unknown = (cells[:, :, None] * per_node + np.arange(per_node)).reshape(len(cells), -1)
    width = unknown.shape[1]
    rows = unknown.repeat(width, axis=1).ravel()
    columns = np.tile(unknown, (1, width)).ravel()
    shape = (size * per_node, size * per_node)
    return sparse.csr_array((matrices[kind].ravel(), (rows, columns)), shape=shape)


@numba.njit(cache=True)
def scatter(
    cells: NDArray[np.int32],
    kind: NDArray[np.int64],
    matrices: NDArray[np.float64],
    values: NDArray[np.float64],
    total: NDArray[np.float64],
) -> None:
    """Add ``matrices[kind] @ values`` of every cell to its nodes.

    Parameters
    ----------
    cells : (cells, 8) int32 ndarray
        Nodes of each cell.
    kind : (cells,) int64 ndarray
        Which of the matrices each cell has.
    matrices : (kinds, 8 k, m) float64 ndarray
        Element matrices with k rows a node.
    values : (cells, m) float64 ndarray
    total : (nodes, k) float64 ndarray
        Changed in place.
    """
    per_node = total.shape[1]
    for c in range(len(cells)):
        matrix = matrices[kind[c]]
        for a in range(8):
            for d in range(per_node):
                row = matrix[per_node * a + d]
                product = 0.0
                for v in range(values.shape[1]):
                    product += row[v] * values[c, v]
                total[cells[c, a], d] += product
