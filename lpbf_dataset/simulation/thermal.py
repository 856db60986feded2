"""Temperature of the build at the end of each layer group.

One backward-Euler step spans the deposition and dwell of a whole group: the absorbed laser heat is
spread over the new group, and the free faces lose heat to the chamber.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from scipy import sparse

from lpbf_dataset.simulation.assembly import assemble, scatter
from lpbf_dataset.simulation.elements import capacity, conduction, unique_boxes
from lpbf_dataset.simulation.linear import factorise
from lpbf_dataset.simulation.materials import REFERENCE_TEMPERATURE
from lpbf_dataset.simulation.octree import OctreeMesh, interpolation
from lpbf_dataset.simulation.voxels import CELLS_PER_BASE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.simulation.materials import Material

CONVECTION = 2.5e-5
"""Heat transfer to the chamber, W/(mm2 K): the card ``*CONV`` of the Netfabb run."""

_FACES = np.array([(0, 3, 7, 4), (1, 2, 6, 5), (0, 1, 5, 4), (3, 2, 6, 7), (0, 1, 2, 3), (4, 5, 6, 7)])
"""Corners of the faces towards -x, +x, -y, +y, -z, +z."""


class Thermal:
    """The thermal state of the build.

    Parameters
    ----------
    mesh : OctreeMesh
    solid : (nx, ny, nz) bool ndarray
        Solid voxels of the part.
    material : Material
    """

    def __init__(self, mesh: OctreeMesh, solid: NDArray[np.bool_], material: Material) -> None:
        self._mesh = mesh
        self._solid = solid
        boxes, self._kind = unique_boxes(mesh.box)
        self._capacity = (
            material.density * material.specific_heat * np.array([capacity(box) for box in boxes])
        )
        self._conduction = material.conductivity * np.array([conduction(box) for box in boxes])
        self._rise = np.zeros(0)  # above the chamber, which therefore loads nothing

    def deposit(self, group: int, *, duration: float, power: float) -> NDArray[np.float64]:
        """Deposit one group.

        Parameters
        ----------
        group : int
        duration : float
            Time of scanning and dwelling, s.
        power : float
            Absorbed power, averaged over the duration, W.

        Returns
        -------
        (active nodes,) float64 ndarray
            Temperature at the end of the step, degC.
        """
        mesh = self._mesh
        cells, count = mesh.active_cells(group), mesh.active_nodes(group).stop
        new = mesh.cell_range(group)
        active, kind = mesh.cells[cells], self._kind[cells]
        heat = np.zeros(count)
        share = power * mesh.volume[new] / mesh.volume[new].sum()
        heat += np.bincount(mesh.cells[new].ravel(), weights=share.repeat(8) / 8.0, minlength=count)
        loss = surface_loss(mesh, self._solid, group)
        matrices = self._conduction + self._capacity / duration
        system = assemble(active, kind, matrices, count) + sparse.diags_array(loss)
        weights = interpolation(mesh, cells)[:count, :count]
        free = np.unique(weights.indices)
        weights = weights[:, free]
        reduced = sparse.triu(weights.T @ system @ weights, format="csr")
        # Only the older cells bring heat along: a new group starts as cold as the chamber.
        old = mesh.cells[: new.start] if group > 1 else mesh.cells[:0]
        scatter(old, kind, self._capacity / duration, self._rise[old], heat[:, None])
        self._rise = weights @ factorise(reduced).solve(weights.T @ heat)
        return REFERENCE_TEMPERATURE + self._rise


def surface_loss(mesh: OctreeMesh, solid: NDArray[np.bool_], group: int) -> NDArray[np.float64]:
    """Heat lost per kelvin at every node through the free faces around it.

    Parameters
    ----------
    mesh : OctreeMesh
    solid : (nx, ny, nz) bool ndarray
        Solid voxels of the part.
    group : int
        Last deposited group; what lies above it is not there yet.

    Returns
    -------
    (active nodes,) float64 ndarray
        W/K.
    """
    cells = mesh.active_cells(group)
    free = free_faces(mesh.corner[cells], mesh.size[cells], solid, group * mesh.group_cells)
    dx, dy, dz = mesh.box[cells].T
    area = np.stack([dy * dz, dy * dz, dx * dz, dx * dz, dx * dy, dx * dy], axis=1)
    loss = np.zeros(mesh.active_nodes(group).stop)
    for face, corners in enumerate(_FACES):
        nodes = mesh.cells[cells][free[:, face]][:, corners]
        share = CONVECTION * area[free[:, face], face].repeat(4) / 4.0
        loss += np.bincount(nodes.ravel(), weights=share, minlength=len(loss))
    return loss


@numba.njit(cache=True)
def free_faces(
    corner: NDArray[np.int64], size: NDArray[np.int64], solid: NDArray[np.bool_], top: int
) -> NDArray[np.bool_]:
    """Which faces of each cell, (cells, 6), no other cell touches.

    A face that is covered in part is not free: the surface of the voxels is larger than that of the
    part anyhow, and Netfabb's temperatures agree.  Voxels from `top` on are not there yet.
    """
    nx, ny, _ = solid.shape
    free = np.ones((len(corner), 6), dtype=np.bool_)
    for c in range(len(corner)):
        s = size[c]
        for face in range(6):
            axis, step = face // 2, s if face % 2 else -1
            for square in range(s * s):
                a, b = square // s, square % s
                i, j, k = corner[c]
                if axis == 0:
                    i, j, k = i + step, j + a, k + b
                elif axis == 1:
                    i, j, k = i + a, j + step, k + b
                else:
                    i, j, k = i + a, j + b, k + step
                if i < 0 or i >= nx or j < 0 or j >= ny or k >= top or k < -2 * CELLS_PER_BASE:
                    break
                if k < 0 or solid[i, j, k]:
                    free[c, face] = False
                    break
    return free
