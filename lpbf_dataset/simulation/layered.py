"""The stiffness of a part that grows layer group by layer group, factorised once per group.

Each group is a substructure (Przemieniecki 1963): it is condensed onto the unknowns it shares with
the next group, whose system then stands on that condensed matrix.  Nothing below a group is ever
factorised again, and the displacement of the whole build still follows by substitution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lpbf_dataset.simulation.linear import Factor, condenses, factorise
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
    substructure below; `kept` are the positions in `unknowns` shared with the next group.
    """

    first_group: int
    unknowns: NDArray[np.int64]
    own: sparse.csr_array
    below: sparse.csr_array | None
    kept: NDArray[np.int64] | None
    factor: Factor


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
        if self._stack and self._stack[-1].kept is None:
            first_group = self._stack.pop().first_group
        cells = slice(mesh.cell_range(first_group).start, mesh.cell_range(group).stop)
        nodes = np.unique(mesh.cells[cells])
        local = np.searchsorted(nodes, mesh.cells[cells])
        stiffness = assemble(local, self._kind[cells], self._matrices, len(nodes))
        expand = self._unknown_rows(weights, nodes)
        below = None
        columns = [expand.indices]
        if self._stack:
            lower = self._stack[-1]
            assert lower.kept is not None
            below = self._by_component(weights)[lower.unknowns[lower.kept]]
            columns.append(below.indices)
        unknowns = np.unique(np.concatenate(columns)).astype(np.int64)
        expand = expand[:, unknowns]
        matrix = sparse.triu(expand.T @ stiffness @ expand, format="csr")
        if below is not None:
            below = below[:, unknowns]
            matrix = matrix + _condensed(below, lower.factor.schur)
        kept = self._shared_with_next(group, unknowns) if group < mesh.group_count else None
        if kept is not None and (not condenses() or len(kept) > MAX_KEPT):
            kept = None
        own = expand[np.repeat(nodes >= mesh.active_nodes(first_group - 1).stop, 3)]
        factor = factorise(matrix.tocsr(), kept)
        self._stack.append(_Substructure(first_group, unknowns, own.tocsr(), below, kept, factor))

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
        loads, answers = [], []
        start = 0
        carried = None
        for level in self._stack:
            stop = start + level.own.shape[0]
            right = level.own.T @ flat[start:stop]
            start = stop
            if carried is not None:
                right += level.below.T @ carried
            answer = level.factor.solve(right)
            if level.kept is not None:
                carried = level.factor.schur @ answer[level.kept]
            loads.append(right)
            answers.append(answer)
        displacement = np.empty_like(flat)
        stop = start
        above = None
        for level, right, answer in zip(reversed(self._stack), reversed(loads), reversed(answers), strict=True):
            if above is not None:
                # The force that brings the shared unknowns where the levels above hold them.
                right[level.kept] += level.factor.schur @ (above - answer[level.kept])
                answer = level.factor.solve(right)
            displacement[stop - level.own.shape[0] : stop] = level.own @ answer
            stop -= level.own.shape[0]
            if level.below is not None:
                above = level.below @ answer
        return displacement.reshape(load.shape)


def _condensed(below: sparse.csr_array, schur: NDArray[np.float64]) -> sparse.csr_array:
    """Upper triangle of the condensed matrix of the level below, in the unknowns of this one."""
    columns = np.unique(below.indices)
    narrow = below[:, columns]
    dense = narrow.T @ (narrow.T @ schur).T
    row, column = np.triu_indices(len(columns))
    size = below.shape[1]
    return sparse.csr_array((dense[row, column], (columns[row], columns[column])), shape=(size, size))
