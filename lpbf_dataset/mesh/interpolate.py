"""Interpolation of nodal fields in hexahedral meshes, from one mesh to another or to any points."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from lpbf_dataset.mesh.averages import columns_of
from lpbf_dataset.mesh.locate import CellLocator

if TYPE_CHECKING:
    from numpy.typing import NDArray

# VTK hexahedron: local coordinates (0 or 1) of the 8 corners.
HEXAHEDRON_CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], dtype=np.float64
)


class Interpolated(NamedTuple):
    """Values of a field at targets.

    Attributes
    ----------
    values : (k, ...) float ndarray
        In the unit of the field.
    inside : (k,) bool ndarray
        Whether a cell contains the target; elsewhere the value is that of the nearest node of a cell.
    """

    values: NDArray[np.floating]
    inside: NDArray[np.bool_]


class Interpolator:
    """Trilinear interpolation in a hexahedral mesh whose cells may be rotated, warped or of any size.

    At every node of a cell the value is that of the node, also at a hanging node where the field jumps from
    the fine cells to the coarse one.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order; m > 0.

    Raises
    ------
    ValueError
        If there are no cells, `cells` is not a connectivity over `points`, or a position is not finite.
    """

    def __init__(self, points: NDArray[np.floating], cells: NDArray[np.integer]) -> None:
        self._locator = CellLocator(points, cells)

    def __call__(
        self, values: NDArray[np.number], targets: NDArray[np.floating], threads: int = 1
    ) -> Interpolated:
        """Interpolate a field on the nodes; see `interpolate`."""
        values, columns = columns_of(values)
        if len(values) != len(self._locator.points):
            raise ValueError(
                f"{len(values)} values for {len(self._locator.points)} nodes; give one for each node"
            )
        cell, local = self._locator.locate(targets, threads)
        result = np.empty((len(cell), columns.shape[1]), dtype=columns.dtype)
        _evaluate(columns, self._locator.cells, cell, local, result)
        inside = cell >= 0
        if not inside.all():
            result[~inside] = columns[self._nearest_node(np.asarray(targets)[~inside], threads)]
        return Interpolated(result.reshape(len(cell), *values.shape[1:]), inside)

    def _nearest_node(self, targets: NDArray[np.floating], threads: int) -> NDArray[np.int32]:
        tree, nodes = self._nodes_of_cells
        return nodes[tree.query(targets, workers=threads)[1]]

    @cached_property
    def _nodes_of_cells(self) -> tuple[cKDTree, NDArray[np.int32]]:
        nodes = np.unique(self._locator.cells)
        return cKDTree(self._locator.points[nodes]), nodes


def interpolate(
    points: NDArray[np.floating],
    cells: NDArray[np.integer],
    values: NDArray[np.number],
    targets: NDArray[np.floating],
    threads: int = 1,
) -> Interpolated:
    """Interpolate a nodal field of a hexahedral mesh, trilinearly in the cell around each target.

    Fields that are linear in space are reproduced.  `Interpolator` reuses the search tree where several
    fields or sets of targets share a mesh.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order; m > 0.
    values : (n, ...) ndarray
        One value, vector or tensor for each node.
    targets : (k, 3) float ndarray
        Positions, in the unit of `points`.
    threads : int, optional
        Threads to share the targets among; the result does not depend on it.

    Returns
    -------
    Interpolated
        `values` of shape (k, ...), float32 if the field is, else float64, and whether each target is
        `inside` a cell; outside, the value is that of the nearest node of a cell.

    Raises
    ------
    ValueError
        If there are no cells, an array has the wrong shape, or a position is not finite.
    """
    return Interpolator(points, cells)(values, targets, threads)


@njit(cache=True, nogil=True)
def _evaluate(columns, cells, cell, local, out):  # type: ignore[no-untyped-def]
    total = np.empty(columns.shape[1])
    for k in range(len(cell)):
        if cell[k] < 0:
            continue
        total[:] = 0.0
        for corner in range(8):
            weight = 1.0
            for axis in range(3):
                at_end = HEXAHEDRON_CORNERS[corner, axis]
                weight *= local[k, axis] if at_end else 1.0 - local[k, axis]
            # A node without weight may hold NaN.
            if weight != 0.0:
                for column in range(len(total)):
                    total[column] += weight * columns[cells[cell[k], corner], column]
        for column in range(len(total)):
            out[k, column] = total[column]
