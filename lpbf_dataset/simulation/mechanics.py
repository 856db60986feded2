"""Quasi-static linear elasticity of the growing build, with plate removal.

Every cell obeys stress = D (strain(u - u_ref) - thermal strain - inherent strain), where u_ref is
the displacement on which the cell was deposited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from scipy import sparse

from lpbf_dataset.simulation.assembly import assemble, scatter
from lpbf_dataset.simulation.elements import (
    corner_strain,
    eigenstrain_load,
    elasticity,
    stiffness,
    unique_boxes,
)
from lpbf_dataset.simulation.layered import LayeredStiffness
from lpbf_dataset.simulation.linear import factorise
from lpbf_dataset.simulation.octree import OctreeMesh, interpolation, values_at_height
from lpbf_dataset.simulation.plate import plate_supports

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.simulation.materials import Material

POWDER_STIFFNESS = 1e-11
"""Stiffness of the powder around a cell as a share of the cell's own.  It moves nothing that is held
otherwise, and holds a piece that hangs free until a later group joins it to the part."""


class Mechanics:
    """The mechanical state of the build.

    Parameters
    ----------
    mesh : OctreeMesh
    material : Material
    inherent : (cells, 6) float64 ndarray
        Inherent strain of every cell, 1.
    """

    def __init__(self, mesh: OctreeMesh, material: Material, inherent: NDArray[np.float64]) -> None:
        self.mesh = mesh
        self.inherent = inherent
        self.elastic = elasticity(material.young, material.poisson)
        boxes, self._kind = unique_boxes(mesh.box)
        matrices = np.array([stiffness(box, self.elastic) for box in boxes])
        self._powder = POWDER_STIFFNESS * np.array([np.diag(np.diag(m)) for m in matrices])
        self._stiffness = matrices
        self._strain_load = np.array([eigenstrain_load(box, self.elastic) for box in boxes])
        self._corner_strain = np.array([corner_strain(box).reshape(48, 24) for box in boxes])
        self._expansion = material.expansion
        self._layered = LayeredStiffness(mesh, self._kind, matrices + self._powder, plate_supports(mesh))
        # Displacement of each cell's corners at the time it was deposited.
        self._reference = np.zeros((len(mesh.size), 8, 3))
        self._reference_load = np.zeros((len(mesh.points), 3))

    def deposit(self, group: int, displacement: NDArray[np.float64] | None) -> None:
        """Add a layer group, stress-free on top of the displaced groups below.

        Parameters
        ----------
        group : int
        displacement : (active nodes, 3) float64 ndarray or None
            Displacement before the group, mm; None for the first group.
        """
        if displacement is not None:
            cells = self.mesh.cell_range(group)
            self._reference[cells] = reference_displacement(self.mesh, group, displacement)
            scatter(
                self.mesh.cells[cells],
                self._kind[cells],
                self._stiffness,
                self._reference[cells].reshape(-1, 24),
                self._reference_load,
            )
        self._layered.deposit(group)

    def eigenstrain(
        self, temperature_rise: NDArray[np.float64], cells: slice, *, inherent_until: int
    ) -> NDArray[np.float64]:
        """Thermal plus inherent strain.

        Parameters
        ----------
        temperature_rise : (active nodes,) float64 ndarray
            Above the reference temperature, K.
        cells : slice
            The cells present.
        inherent_until : int
            Last group that has its inherent strain already.

        Returns
        -------
        (cells, 6) float64 ndarray
        """
        strain = self.inherent[cells].copy()
        strain[self.mesh.group[cells] > inherent_until] = 0.0
        strain[:, :3] += self._expansion * temperature_rise[self.mesh.cells[cells]].mean(axis=1)[:, None]
        return strain

    def _load(
        self, cells: slice | NDArray[np.bool_], eigenstrain: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        load = self._reference_load.copy()
        scatter(self.mesh.cells[cells], self._kind[cells], self._strain_load, eigenstrain, load)
        return load

    def solve(self, group: int, eigenstrains: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Displacements on the plate, mm, (active nodes, 3) for each set of eigenstrains."""
        cells = self.mesh.active_cells(group)
        count = self.mesh.active_nodes(group).stop
        loads = np.stack([self._load(cells, strain)[:count] for strain in eigenstrains], axis=2)
        displacement = self._layered.solve(loads)
        return list(np.ascontiguousarray(np.moveaxis(displacement, 2, 0)))

    def solve_removed(self, eigenstrain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement once the plate has gone.  Nothing can be deposited after it.

        The plate stays in the mesh without stiffness, so nodes that hang on its cells still do, as
        in Netfabb.

        Parameters
        ----------
        eigenstrain : (cells, 6) float64 ndarray

        Returns
        -------
        (nodes, 3) float64 ndarray
            In mm, up to a rigid motion; without meaning on nodes of the plate alone.
        """
        gone = self.mesh.group == 0
        return self._solve_without(gone, eigenstrain, np.zeros(self.mesh.points.shape, dtype=np.bool_))

    def solve_cut(self, gone: NDArray[np.bool_], eigenstrain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement once some cells of the plate have gone.  Nothing can be deposited after it.

        Parameters
        ----------
        gone : (cells,) bool ndarray
            Cells of the plate that have gone; see `cut_cells`.
        eigenstrain : (cells, 6) float64 ndarray

        Returns
        -------
        (nodes, 3) float64 ndarray
            In mm; up to a rigid motion where the part no longer stands on anything.
        """
        return self._solve_without(gone, eigenstrain, plate_supports(self.mesh))

    def _solve_without(
        self, gone: NDArray[np.bool_], eigenstrain: NDArray[np.float64], fixed: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Displacement, (nodes, 3) in mm, where some cells have no stiffness left but the powder's."""
        self._layered.clear()
        mesh, count = self.mesh, len(self.mesh.points)
        weights = interpolation(mesh, slice(0, len(gone)), gone)
        weights = sparse.kron(weights, sparse.eye_array(3), format="csr")
        weights.data[fixed.ravel()[weights.indices]] = 0.0
        weights.eliminate_zeros()
        unknowns = np.unique(weights.indices)
        weights = weights[:, unknowns]
        matrix = assemble(mesh.cells[~gone], self._kind[~gone], self._stiffness, count)
        matrix = matrix + assemble(mesh.cells, self._kind, self._powder, count)
        reduced = sparse.triu(weights.T @ matrix @ weights, format="csr")
        load = weights.T @ self._load(~gone, eigenstrain[~gone]).ravel()
        return (weights @ factorise(reduced).solve(load)).reshape(-1, 3)

    def nodal_strain(
        self,
        group: int,
        displacement: NDArray[np.float64],
        eigenstrain: NDArray[np.float64],
        gone: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """Elastic strain at the nodes.

        Gauss-point values are extrapolated to the corners of each cell and averaged over the cells
        at a node; a hanging node takes the interpolation of its masters.

        Parameters
        ----------
        group : int
            Last deposited group.
        displacement : (active nodes, 3) float64 ndarray
            In mm.
        eigenstrain : (active cells, 6) float64 ndarray
        gone : (active cells,) bool ndarray, optional
            Cells of the plate that have gone: they are free of strain, but still count in the
            averages, as in Netfabb.

        Returns
        -------
        (active nodes, 6) float64 ndarray
            xx, yy, zz, xy, xz, yz with engineering shear.
        """
        mesh, cells = self.mesh, self.mesh.active_cells(group)
        strained = np.ones(cells.stop, dtype=np.bool_) if gone is None else ~gone
        count = len(displacement)
        total = np.zeros((count, 6))
        add_corner_strain(
            mesh.cells[cells][strained],
            self._kind[cells][strained],
            self._corner_strain,
            displacement,
            self._reference[cells][strained],
            eigenstrain[strained],
            total,
        )
        total /= np.bincount(mesh.cells[cells].ravel(), minlength=count)[:, None]
        return interpolation(mesh, cells, gone)[:count, :count] @ total


def reference_displacement(
    mesh: OctreeMesh, group: int, displacement: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Displacement on which a group is deposited, at the corners of its cells.

    The displacement of the surface below fades linearly to zero over the nominal height of a group,
    as the recoater levels its top.

    Parameters
    ----------
    mesh : OctreeMesh
    group : int
    displacement : (nodes before the group, 3) float64 ndarray
        In mm.

    Returns
    -------
    (cells of the group, 8, 3) float64 ndarray
        In mm.
    """
    bottom = (group - 1) * mesh.group_cells
    nodes = mesh.active_nodes(group)
    x, y, z = mesh.lattice[nodes].T
    fade = 1.0 - (z - bottom) / mesh.group_cells
    reference = values_at_height(mesh, bottom, displacement)[x, y] * fade[:, None]
    # A node that hangs follows its masters, also in the reference.
    reference = interpolation(mesh, mesh.active_cells(group))[nodes, nodes] @ reference
    return reference[mesh.cells[mesh.cell_range(group)]]


def rigid_motion(
    points: NDArray[np.float64], displacement: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rigid motion that best undoes a displacement in the weighted least-squares sense (Kabsch 1976).

    Parameters
    ----------
    points, displacement : (n, 3) float64 ndarray
        In mm.
    weight : (n,) float64 ndarray

    Returns
    -------
    rotation : (3, 3) float64 ndarray
    translation : (3,) float64 ndarray
        So that ``(points + displacement) @ rotation.T + translation`` is nearest to `points`.
    """
    moved = points + displacement
    centre = np.average(points, axis=0, weights=weight)
    moved_centre = np.average(moved, axis=0, weights=weight)
    covariance = ((moved - moved_centre) * weight[:, None]).T @ (points - centre)
    left, _, right = np.linalg.svd(covariance)
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left @ handed @ right).T
    return rotation, centre - rotation @ moved_centre


@numba.njit(cache=True)
def add_corner_strain(
    cells: NDArray[np.int32],
    kind: NDArray[np.int64],
    matrices: NDArray[np.float64],
    displacement: NDArray[np.float64],
    reference: NDArray[np.float64],
    eigenstrain: NDArray[np.float64],
    total: NDArray[np.float64],
) -> None:
    """Add the elastic strain at the corners of every cell to its nodes."""
    local = np.empty(24)
    for c in range(len(cells)):
        matrix = matrices[kind[c]]
        for a in range(8):
            for d in range(3):
                local[3 * a + d] = displacement[cells[c, a], d] - reference[c, a, d]
        for a in range(8):
            node = cells[c, a]
            for k in range(6):
                value = -eigenstrain[c, k]
                for v in range(24):
                    value += matrix[6 * a + k, v] * local[v]
                total[node, k] += value
