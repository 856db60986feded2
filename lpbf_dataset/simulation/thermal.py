"""Temperature of the build at the end of each layer group.

One backward-Euler step spans the deposition and dwell of a whole group: the absorbed laser heat is
spread over the new group, and the exposed faces lose heat to the chamber.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from scipy import sparse

from lpbf_dataset.simulation.elements import capacity, conduction, unique_boxes
from lpbf_dataset.simulation.layered import assemble
from lpbf_dataset.simulation.linear import factorise
from lpbf_dataset.simulation.materials import REFERENCE_TEMPERATURE
from lpbf_dataset.simulation.octree import OctreeMesh, interpolation, values_at_height

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.simulation.materials import Material

CONVECTION = 2.5e-5
"""Heat transfer to the chamber, W/(mm2 K): the card ``*CONV`` of the Netfabb run."""

BOTTOM_SHARE = 0.75
"""Heat transfer under the plate as a share of that elsewhere; identified from the Netfabb run."""

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
        self._capacity = material.density * material.specific_heat * np.array([capacity(box) for box in boxes])
        self._conduction = material.conductivity * np.array([conduction(box) for box in boxes])
        self._rise = np.zeros(0)

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
        np.add.at(heat, mesh.cells[new], share[:, None] / 8.0)
        loss = surface_loss(mesh, self._solid, group)
        stored = assemble(active, kind, self._capacity / duration, count)
        system = stored + assemble(active, kind, self._conduction, count) + sparse.diags_array(loss)
        weights = interpolation(mesh, cells)[:count, :count]
        free = np.unique(weights.indices)
        weights = weights[:, free]
        reduced = sparse.triu(weights.T @ system @ weights, format="csr")
        load = heat + stored @ self._before(group, count)
        self._rise = weights @ factorise(reduced).solve(weights.T @ load)
        return REFERENCE_TEMPERATURE + self._rise

    def _before(self, group: int, count: int) -> NDArray[np.float64]:
        """Temperature rise at the start of a step; the new group starts as warm as the surface below it."""
        if group == 1:
            return np.zeros(count)
        old = len(self._rise)
        surface = values_at_height(self._mesh, (group - 1) * self._mesh.group_cells, self._rise)
        x, y, _ = self._mesh.lattice[old:count].T
        return np.concatenate([self._rise, surface[x, y]])


def surface_loss(mesh: OctreeMesh, solid: NDArray[np.bool_], group: int) -> NDArray[np.float64]:
    """Heat lost per kelvin at every node through the exposed faces around it.

    Parameters
    ----------
    mesh : OctreeMesh
    solid : (nx, ny, nz) bool ndarray
    group : int
        Last deposited group; what lies above it is not there yet.

    Returns
    -------
    (active nodes,) float64 ndarray
        W/K.
    """
    cells = mesh.active_cells(group)
    exposed = exposed_share(mesh.corner[cells], mesh.size[cells], solid, group * mesh.group_cells)
    dx, dy, dz = mesh.box[cells].T
    area = np.stack([dy * dz, dy * dz, dx * dz, dx * dz, dx * dy, dx * dy], axis=1)
    loss = CONVECTION * exposed * area
    bottom = mesh.corner[cells, 2] == mesh.lattice[:, 2].min()
    loss[bottom, 4] *= BOTTOM_SHARE
    nodal = np.zeros(mesh.active_nodes(group).stop)
    for face, corners in enumerate(_FACES):
        lossy = loss[:, face] > 0.0
        np.add.at(nodal, mesh.cells[cells][lossy][:, corners], loss[lossy, face, None] / 4.0)
    return nodal


@numba.njit(cache=True)
def exposed_share(
    corner: NDArray[np.int64], size: NDArray[np.int64], solid: NDArray[np.bool_], top: int
) -> NDArray[np.float64]:
    """Share of each face of each cell, (cells, 6), that no other cell covers.

    Faces are counted in unit squares of the lattice; voxels from `top` on are not there.
    """
    nx, ny, _ = solid.shape
    share = np.zeros((len(corner), 6))
    for c in range(len(corner)):
        s = size[c]
        for face in range(6):
            axis, positive = face // 2, face % 2
            open_squares = 0
            for a in range(s):
                for b in range(s):
                    i, j, k = corner[c]
                    step = s if positive else -1
                    if axis == 0:
                        i, j, k = i + step, j + a, k + b
                    elif axis == 1:
                        i, j, k = i + a, j + step, k + b
                    else:
                        i, j, k = i + a, j + b, k + step
                    if i < 0 or i >= nx or j < 0 or j >= ny or k >= top or k < -64:
                        open_squares += 1
                    elif k >= 0 and not solid[i, j, k]:
                        open_squares += 1
            share[c, face] = open_squares / (s * s)
    return share
