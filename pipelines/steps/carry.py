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

_MULTIPLIERS = np.array([0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd numbers without pattern that make a key of the bits of a position: primes 1 to 3 of xxHash64."""


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
        result: NDArray[np.float32] = values[self.nodes[:, 0]].astype(np.float32)
        mixed = self.weights[:, 0] != 1
        if mixed.any():
            corners = values[self.nodes[mixed]].astype(np.float32)
            result[mixed] = np.einsum("nk,nk...->n...", self.weights[mixed], corners)
        return result


def carry(before: Case, after: Case) -> Carry:
    """Find where the nodes of a step take the state before it from.

    A node of the mesh before keeps its value bit for bit; another one within it has the trilinear value in
    its cell.  The newly added layer takes what is right below it on top of the mesh before, and where
    there is nothing, what is at the node nearest to that.

    Parameters
    ----------
    before : Case
        With points and cells.
    after : Case
        With points, in the same place.
    """
    if np.array_equal(before.points, after.points):
        return _copied(np.arange(len(after.points)))
    below = after.points.copy()
    below[:, 2] = np.minimum(below[:, 2], before.points[:, 2].max())
    same = _same_node(before.points, below)
    carried = _copied(same)
    if (others := same < 0).any():
        carried.nodes[others], carried.weights[others] = _interpolated(before, below[others])
    return carried


def _same_node(points: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the node of `points` right at each target, (targets,) int64; -1 where there is none.

    Steps share most of their nodes, and looking these up takes a twentieth of the time of finding cells.
    """
    keys, wanted = _key(points), _key(targets)
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    found = order[place]
    return np.where((points[found] == targets).all(axis=1), found, -1)


def _key(points: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return equal numbers for equal positions, and hardly ever for others."""
    # Adding 0 turns -0 into 0, which equals it but in the bits.
    bits = (points + np.float32(0)).view(np.uint32).astype(np.uint64)
    return bits @ _MULTIPLIERS


def _interpolated(before: Case, targets: NDArray[np.float32]) -> Carry:
    """Take the trilinear value in the cell around each target, or that of the nearest node outside."""
    cell, local = CellLocator(before.points, before.cells).locate(targets)
    nodes = before.cells[cell].astype(np.int32)
    at_end = np.where(HEXAHEDRON_CORNERS == 1, local[:, None], 1 - local[:, None])
    weights = at_end.prod(axis=2).astype(np.float32)
    outside = cell < 0
    if outside.any():
        nodes[outside], weights[outside] = _copied(cKDTree(before.points).query(targets[outside])[1])
    return Carry(nodes, weights)


def _copied(nodes: NDArray[np.integer]) -> Carry:
    """Take the values of single nodes."""
    weights = np.zeros((len(nodes), len(HEXAHEDRON_CORNERS)), np.float32)
    weights[:, 0] = 1
    return Carry(np.repeat(nodes.astype(np.int32)[:, None], len(HEXAHEDRON_CORNERS), axis=1), weights)
