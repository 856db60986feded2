"""All steps of a case on one mesh: the finest of the case, with what is not yet built masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.mesh.interpolate import Interpolator
from lpbf_dataset.mesh.octree_union import OctreeUnion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.steps import CaseStep


@dataclass(frozen=True, eq=False)
class Series:
    """The states of a case over its build, s of them, on one mesh of n nodes and m cells.

    Parameters
    ----------
    points : (n, 3) float32 ndarray
        Undeformed node positions in mm.
    cells : (m, 8) int32 ndarray
        Nodes of each hexahedron, VTK order.
    is_active : (s, n) bool ndarray
        Whether each node is of the part at each step; no node is at a missing step.
    is_active_cell : (s, m) bool ndarray
        Whether each cell is.
    fields : mapping of str to (s, n, ...) float32 ndarray
        By the names and in the units of `lpbf_dataset.schema.VARIABLES`; NaN on inactive nodes.
    kind : tuple of str
        What each step is.
    time : (s,) float64 ndarray
        Process time in s.
    height : (s,) float32 ndarray
        Top of the part above the plate in mm; NaN for a missing step.
    group : (s,) int32 ndarray
        Layer groups deposited so far.
    """

    points: NDArray[np.float32]
    cells: NDArray[np.int32]
    is_active: NDArray[np.bool_]
    is_active_cell: NDArray[np.bool_]
    fields: Mapping[str, NDArray[np.float32]]
    kind: tuple[StepKind, ...]
    time: NDArray[np.float64]
    height: NDArray[np.float32]
    group: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Whether each step could not be read, (s,) bool."""
        return np.asarray(~self.is_active.any(axis=1))


def merge_steps(steps: Sequence[CaseStep], fields: Sequence[str] | None = None) -> Series:
    """Bring all steps onto the coarsest mesh that is as fine as each of them everywhere.

    A node that a step has too keeps its value there, bit for bit.  Any other node in the part takes the
    trilinear value in the cell of the step around it, see `lpbf_dataset.mesh.Interpolator`.

    Parameters
    ----------
    steps : sequence of CaseStep
        As `lpbf_dataset.Case.steps`.
    fields : sequence of str, optional
        Fields to bring along; all of the steps by default.

    Returns
    -------
    Series

    Raises
    ------
    ValueError
        If there are no steps, all are missing, or their cells are not those of one octree.
    KeyError
        If the steps have no such field.
    """
    states = list(steps)
    if not states:
        raise ValueError("the case has no steps: its store holds final states alone, see lpbf-build --steps")
    names = states[0].field_names if fields is None else tuple(fields)
    if unknown := [name for name in names if name not in states[0].field_names]:
        raise KeyError(f"the steps have no field {unknown[0]!r}; they have {states[0].field_names}")
    mesh_of_step = _mesh_of_each(states)
    meshes = [states[mesh_of_step.index(mesh)] for mesh in range(max(mesh_of_step) + 1)]
    if not meshes:
        raise ValueError("every step of the case is missing")
    union = OctreeUnion([(state.points, state.cells) for state in meshes])
    size = (len(states), len(union.points))
    values = {
        name: np.full((*size, *states[0].variables[name].shape[1:]), np.nan, np.float32) for name in names
    }
    is_active, is_active_cell = np.zeros(size, np.bool_), np.zeros((len(states), len(union.cells)), np.bool_)
    for mesh, state in enumerate(meshes):
        carry = _Carry(union, mesh, state)
        for row in (row for row, number in enumerate(mesh_of_step) if number == mesh):
            is_active[row], is_active_cell[row] = carry.is_active, carry.is_active_cell
            for name in names:
                carry.fill(states[row].variables[name], values[name][row])
    return Series(
        union.points,
        union.cells,
        is_active,
        is_active_cell,
        values,
        tuple(state.kind for state in states),
        np.array([state.time for state in states]),
        np.array([state.height for state in states], np.float32),
        np.array([state.group for state in states], np.int32),
    )


def _mesh_of_each(states: Sequence[CaseStep]) -> list[int]:
    """Give each state the number of its mesh: consecutive ones on one mesh share it, a missing one has -1."""
    numbers: list[int] = []
    latest: CaseStep | None = None
    for state in states:
        is_there = state.cell_count > 0
        if is_there and not (latest and state.shares_mesh(latest)):
            latest = state
            numbers.append(max(numbers, default=-1) + 1)
        else:
            numbers.append(max(numbers) if is_there else -1)
    return numbers


class _Carry:
    """How fields get from one mesh onto the union of all."""

    def __init__(self, union: OctreeUnion, mesh: int, state: CaseStep) -> None:
        self._node = union.node_of[mesh]
        self.is_active_cell = union.covered_by(mesh)
        self.is_active = np.zeros(len(union.points), np.bool_)
        self.is_active[union.cells[self.is_active_cell]] = True
        added = self.is_active.copy()
        added[self._node] = False
        self._added = np.flatnonzero(added)
        self.is_active[self._node] = True
        self._targets = union.points[self._added]
        self._interpolator = Interpolator(state.points, state.cells) if len(self._added) else None

    def fill(self, field: NDArray[np.generic], values: NDArray[np.float32]) -> None:
        """Fill the active rows of `values`, (n, ...), from a field on the mesh."""
        values[self._node] = field
        if self._interpolator:
            values[self._added] = self._interpolator(field, self._targets).values  # type: ignore[arg-type]
