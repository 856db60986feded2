"""The stiffness of a part that grows layer group by layer group, factorised once per group.

Each group is a substructure (Przemieniecki 1963): it is condensed onto the unknowns it shares with
the next group, whose system then stands on that condensed matrix.  Nothing below a group is ever
factorised again, and the displacement of the whole build still follows by substitution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, sparse

from lpbf_dataset.simulation.linear import Condensed, Factor, condenses, factorise
from lpbf_dataset.simulation.octree import OctreeMesh, interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_KEPT = 6000
"""Most unknowns onto which a substructure is condensed: a dense matrix of 288 MB.  A group with more
stays joined with the next one."""


@dataclass(frozen=True)
class _Substructure:
    """One or more groups, factorised on top of the condensed ones below.

    `unknowns` are the global degrees of freedom that appear in it, ascending.  `own` interpolates
    the degrees of freedom of the nodes first used here from them, and `below` those kept by the
    substructure below.  The factor keeps those shared with the next group, unless that joins.
    """

    first_group: int
    unknowns: NDArray[np.int64]
    own: sparse.csr_array
    below: sparse.csr_array | None
    factor: Factor | Condensed


def assemble(
    cells: NDArray[np.int32], kind: NDArray[np.int64], matrices: NDArray[np.float64], size: int
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


class LayeredStiffness:
    """Stiffness of the plate and the groups deposited so far.

    Parameters
    ----------
    mesh : OctreeMesh
    kind : (cells,) int64 ndarray
        Which element matrix each cell has.
    matrices : (kinds, 24, 24) float64 ndarray
        Element stiffness matrices in N/mm.
    fixed : (nodes, 3) bool ndarray
        Displacement components that are zero.
    """

    def __init__(
        self,
        mesh: OctreeMesh,
        kind: NDArray[np.int64],
        matrices: NDArray[np.float64],
        fixed: NDArray[np.bool_],
    ) -> None:
        self._mesh = mesh
        self._kind = kind
        self._matrices = matrices
        self._free = ~fixed.ravel()
        self._stack: list[_Substructure] = []
        self._weights = self._interpolation(1)

    def _interpolation(self, group: int) -> sparse.csr_array:
        return interpolation(self._mesh, self._mesh.active_cells(group))

    def deposit(self, group: int) -> None:
        """Add the next layer group; the first one comes together with the plate."""
        mesh, weights = self._mesh, self._weights
        first_group = group if group > 1 else 0
        if self._stack and not isinstance(self._stack[-1].factor, Condensed):
            first_group = self._stack.pop().first_group
        cells = slice(mesh.cell_range(first_group).start, mesh.cell_range(group).stop)
        nodes = np.unique(mesh.cells[cells])
        local = np.searchsorted(nodes, mesh.cells[cells])
        stiffness = assemble(local, self._kind[cells], self._matrices, len(nodes))
        expand = self._unknown_rows(weights, nodes)
        below, lower = None, self._stack[-1].factor if self._stack else None
        columns = [expand.indices]
        if isinstance(lower, Condensed):
            below = self._by_component(weights)[self._stack[-1].unknowns[lower.kept]]
            columns.append(below.indices)
        unknowns = np.unique(np.concatenate(columns)).astype(np.int64)
        expand = expand[:, unknowns]
        matrix = sparse.triu(expand.T @ stiffness @ expand, format="csr")
        if isinstance(lower, Condensed):
            below = below[:, unknowns]
            matrix = matrix + _condensed_below(below, lower.schur)
            lower.schur = None
        own = expand[np.repeat(nodes >= mesh.active_nodes(first_group - 1).stop, 3)]
        factor = self._factorise(group, unknowns, matrix)
        self._stack.append(_Substructure(first_group, unknowns, own, below, factor))

    def _factorise(
        self, group: int, unknowns: NDArray[np.int64], matrix: sparse.csr_array
    ) -> Factor | Condensed:
        if group == self._mesh.group_count:
            return factorise(matrix)
        kept = self._shared_with_next(group, unknowns)
        return Condensed(matrix, kept) if condenses() and len(kept) <= MAX_KEPT else factorise(matrix)

    def _by_component(self, weights: sparse.csr_array) -> sparse.csr_array:
        """Interpolation of displacement components, without the fixed ones."""
        expanded = sparse.kron(weights, sparse.eye_array(3), format="csr")
        expanded.data[~self._free[expanded.indices]] = 0.0
        expanded.eliminate_zeros()
        return expanded

    def _unknown_rows(self, weights: sparse.csr_array, nodes: NDArray[np.int64]) -> sparse.csr_array:
        return self._by_component(weights[nodes])

    def _shared_with_next(self, group: int, unknowns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the unknowns that the next group touches or makes hang."""
        mesh, hanging = self._mesh, self._mesh.hanging
        following = self._interpolation(group + 1)
        cells = mesh.cell_range(group + 1)
        owned = (hanging.cell >= cells.start) & (hanging.cell < cells.stop)
        touched = np.union1d(np.unique(mesh.cells[cells]), hanging.slave[owned])
        touched = touched[touched < mesh.active_nodes(group + 1).stop]
        touched = np.union1d(touched, following[touched].indices)
        touched = touched[touched < mesh.active_nodes(group).stop]
        shared = np.unique(self._by_component(self._weights[touched]).indices)
        self._weights = following
        return np.searchsorted(unknowns, shared)

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement of every node under nodal forces.

        Parameters
        ----------
        load : (active nodes, 3, cases) float64 ndarray
            Nodal forces in N.

        Returns
        -------
        (active nodes, 3, cases) float64 ndarray
            Displacement in mm.
        """
        flat = load.reshape(-1, load.shape[2])
        *lower, top = self._stack
        eliminated = []
        start, carried = 0, None
        for level in lower:
            right, start = _right_side(level, flat, start, carried)
            half = level.factor.eliminate(right)
            carried = half[level.factor.kept]
            eliminated.append(half)
        right, start = _right_side(top, flat, start, carried)
        if isinstance(top.factor, Condensed):
            half = top.factor.eliminate(right)
            shared = linalg.solve(top.factor.schur, half[top.factor.kept], assume_a="pos")
            answer = top.factor.substitute(half, shared)
        else:
            answer = top.factor.solve(right)
        parts = [top.own @ answer]
        above = top.below
        for level, half in zip(reversed(lower), reversed(eliminated), strict=True):
            answer = level.factor.substitute(half, above @ answer)
            parts.append(level.own @ answer)
            above = level.below
        return np.concatenate(parts[::-1]).reshape(load.shape)


def _right_side(
    level: _Substructure, load: NDArray[np.float64], start: int, carried: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], int]:
    """Forces on the unknowns of a substructure: on its own nodes, and condensed from below."""
    stop = start + level.own.shape[0]
    right = level.own.T @ load[start:stop]
    if carried is not None:
        right += level.below.T @ carried
    return right, stop


def _condensed_below(below: sparse.csr_array, schur: NDArray[np.float64]) -> sparse.csr_array:
    """Upper triangle of the condensed matrix of the level below, in the unknowns of this one."""
    columns = np.unique(below.indices)
    narrow = below[:, columns]
    dense = narrow.T @ (narrow.T @ schur).T
    row, column = np.triu_indices(len(columns))
    size = below.shape[1]
    return sparse.csr_array((dense[row, column], (columns[row], columns[column])), shape=(size, size))
