"""The stiffness of a build that grows layer group by layer group, factorised once per group.

The groups deposited so far form substructures (Przemieniecki 1963), stacked on each other.  Each is
condensed onto the unknowns that it shares with the next group, and the next one stands on that
condensed matrix: nothing below is factorised again, and the displacement of the whole build follows
by substitution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lpbf_dataset.simulation.assembly import assemble
from lpbf_dataset.simulation.linear import Condensed, Factor, condenses, factorise
from lpbf_dataset.simulation.octree import OctreeMesh, interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_SHARE = 0.1
"""Largest share of its unknowns onto which a substructure is condensed.  A wider cut costs more as a
dense matrix than it saves: such a group stays joined with the next one.  Of 0.5, 0.2, 0.1, 0.05 and
0.02, the fastest and leanest on a 60 mm part of 25 groups and 48 000 nodes."""


@dataclass(frozen=True)
class _Substructure:
    """One or more groups on top of the condensed ones below.

    `unknowns` are the global degrees of freedom that appear in it, ascending.  `own` interpolates
    from them the degrees of freedom of the nodes that first appear here, and `below` those kept by
    the substructure below.
    """

    first_group: int
    unknowns: NDArray[np.int64]
    own: sparse.csr_array
    below: sparse.csr_array
    factor: Factor


@dataclass(frozen=True)
class _CondensedSubstructure(_Substructure):
    """A substructure that another one may stand on."""

    factor: Condensed

    @property
    def kept(self) -> NDArray[np.int64]:
        """Global degrees of freedom shared with the next group."""
        return self.unknowns[self.factor.kept]


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
        self._lower: list[_CondensedSubstructure] = []
        self._top: _Substructure | None = None

    def deposit(self, group: int) -> None:
        """Add the next layer group; the first one comes together with the plate."""
        mesh, first_group = self._mesh, group if group > 1 else 0
        if isinstance(self._top, _CondensedSubstructure):
            self._lower.append(self._top)
        elif self._top is not None:
            first_group = self._top.first_group
        cells = slice(mesh.cell_range(first_group).start, mesh.cell_range(group).stop)
        nodes = np.unique(mesh.cells[cells])
        weights = interpolation(mesh, mesh.active_cells(group))
        expand = self._by_component(weights[nodes])
        kept = self._lower[-1].kept if self._lower else np.empty(0, dtype=np.int64)
        below = self._by_component(weights)[kept]
        unknowns = np.union1d(expand.indices, below.indices).astype(np.int64)
        expand, below = expand[:, unknowns], below[:, unknowns]

        local = np.searchsorted(nodes, mesh.cells[cells])
        stiffness = assemble(local, self._kind[cells], self._matrices, len(nodes))
        matrix = sparse.triu(expand.T @ stiffness @ expand, format="csr")
        if self._lower:
            matrix = matrix + _condensed_below(below, self._lower[-1].factor.schur)
        is_new = nodes >= mesh.active_nodes(first_group - 1).stop
        own = expand[is_new.repeat(3)]
        shared = self._shared_with_next(group, weights, unknowns)
        if condenses() and 0 < len(shared) <= KEPT_SHARE * len(unknowns):
            self._top = _CondensedSubstructure(first_group, unknowns, own, below, Condensed(matrix, shared))
            if self._lower:
                self._lower[-1].factor.release_schur()  # nothing else will stand on it
        else:
            self._top = _Substructure(first_group, unknowns, own, below, factorise(matrix))

    def _by_component(self, weights: sparse.csr_array) -> sparse.csr_array:
        """Interpolation of displacement components, without the fixed ones."""
        expanded = sparse.kron(weights, sparse.eye_array(3), format="csr")
        expanded.data[~self._free[expanded.indices]] = 0.0
        expanded.eliminate_zeros()
        return expanded

    def _shared_with_next(
        self, group: int, weights: sparse.csr_array, unknowns: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Positions of the unknowns that the next group touches or makes hang; none for the last one."""
        mesh, hanging = self._mesh, self._mesh.hanging
        if group == mesh.group_count:
            return np.empty(0, dtype=np.int64)
        cells = mesh.cell_range(group + 1)
        owned = (hanging.cell >= cells.start) & (hanging.cell < cells.stop)
        slaves = hanging.slave[owned]
        touched = np.union1d(mesh.cells[cells], slaves[slaves < mesh.active_nodes(group + 1).stop])
        following = interpolation(mesh, mesh.active_cells(group + 1))
        touched = np.union1d(touched, following[touched].indices)
        touched = touched[touched < mesh.active_nodes(group).stop]
        return np.searchsorted(unknowns, np.unique(self._by_component(weights[touched]).indices))

    def clear(self) -> None:
        """Forget every factorisation, to make room."""
        self._lower.clear()
        self._top = None

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

        Raises
        ------
        ValueError
            If nothing has been deposited.
        """
        top = self._top
        if top is None:
            raise ValueError("deposit a group before solving")
        flat = load.reshape(-1, load.shape[2])
        eliminated = []
        start, carried = 0, np.empty((0, load.shape[2]))
        for level in self._lower:
            stop = start + level.own.shape[0]
            half = level.factor.eliminate(level.own.T @ flat[start:stop] + level.below.T @ carried)
            carried = half[level.factor.kept]
            eliminated.append(half)
            start = stop
        answer = top.factor.solve(top.own.T @ flat[start:] + top.below.T @ carried)
        parts = [top.own @ answer]
        shared = top.below @ answer
        for level, half in zip(reversed(self._lower), reversed(eliminated), strict=True):
            answer = level.factor.substitute(half, shared)
            parts.append(level.own @ answer)
            shared = level.below @ answer
        return np.concatenate(parts[::-1]).reshape(load.shape)


def _condensed_below(below: sparse.csr_array, schur: NDArray[np.float64]) -> sparse.csr_array:
    """Upper triangle of the condensed matrix of the level below, in the unknowns of this one."""
    columns = np.unique(below.indices)
    narrow = below[:, columns]
    dense = narrow.T @ (narrow.T @ schur).T
    row, column = np.triu_indices(len(columns))
    size = below.shape[1]
    return sparse.csr_array((dense[row, column], (columns[row], columns[column])), shape=(size, size))
