"""From the mesh of one step of a build to that of the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from lpbf_dataset.mesh import CellLocator
from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset import Case


class Carry(NamedTuple):
    """A linear map of fields from the m nodes of one mesh to the n of another; `carry` makes one.

    Parameters
    ----------
    nodes : (n, 8) int32 ndarray
        Nodes of the first mesh that each node of the second takes its value from.
    weights : (n, 8) float32 ndarray
        With which weights; their sum is 1.
    """

    nodes: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __call__(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Bring a field (m, ...) over, (n, ...) float32."""
        return np.einsum("nk,nk...->n...", self.weights, values[self.nodes].astype(np.float32))


def carry(before: Case, after: Case) -> Carry:
    """Find where the nodes of a step take the state before it from.

    A node of the mesh before keeps its value bit for bit; another one within it has the trilinear value in
    its cell.  The newly added layer takes what is right below it on top of the mesh before, and where
    there is nothing, what is at the node nearest to that.

    Parameters
    ----------
    before, after : Case
        With points and cells in the same place.
    """
    if np.array_equal(before.points, after.points) and np.array_equal(before.cells, after.cells):
        return _copied(np.arange(len(after.points)))
    below = after.points.astype(np.float64)
    below[:, 2] = np.minimum(below[:, 2], before.points[:, 2].max())
    cell, local = CellLocator(before.points, before.cells).locate(below)
    nodes = before.cells[cell].astype(np.int32)
    at_end = np.where(HEXAHEDRON_CORNERS == 1, local[:, None], 1 - local[:, None])
    weights = at_end.prod(axis=2).astype(np.float32)
    outside = cell < 0
    if outside.any():
        nodes[outside], weights[outside] = _copied(cKDTree(before.points).query(below[outside])[1])
    return Carry(nodes, weights)


def _copied(nodes: NDArray[np.integer]) -> Carry:
    """Take the values of single nodes."""
    weights = np.zeros((len(nodes), len(HEXAHEDRON_CORNERS)), np.float32)
    weights[:, 0] = 1
    return Carry(np.repeat(nodes.astype(np.int32)[:, None], len(HEXAHEDRON_CORNERS), axis=1), weights)
