"""The hexahedral octree mesh of part and plate, with its hanging nodes.

Everything lives on an integer lattice whose unit is one fine cell.  Horizontally and above the
plate a unit is a voxel; below z = 0 it is 1/32 of the height of a base cell of the plate.  Cells
have edges of 1, 2, 4, ... units; neighbours over a face or an edge differ by one level at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, sparse

from lpbf_dataset.simulation.refinement import merge_part, refine_plate
from lpbf_dataset.simulation.voxels import CELLS_PER_BASE, VoxelGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLATE_LAYERS = 2
"""Base cells over the depth of the plate; only the upper one refines."""

CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], dtype=np.int64
)
"""Corners of the unit cube in the order of a VTK hexahedron."""

_EDGES = ((0, 1), (3, 2), (4, 5), (7, 6), (0, 3), (1, 2), (4, 7), (5, 6), (0, 4), (1, 5), (3, 7), (2, 6))
_FACES = ((0, 3, 7, 4), (1, 2, 6, 5), (0, 1, 5, 4), (3, 2, 6, 7), (0, 1, 2, 3), (4, 5, 6, 7))


@dataclass(frozen=True)
class OctreeMesh:
    """Leaf cells of the octree, ordered by layer group, and their nodes.

    Parameters
    ----------
    corner : (cells, 3) int64 ndarray
        Lowest corner of each cell on the lattice.
    size : (cells,) int64 ndarray
        Edge length of each cell in lattice units.
    group : (cells,) int64 ndarray
        0 for the plate, then the layer group from 1; ascending.
    cells : (cells, 8) int32 ndarray
        Nodes of each cell, VTK order.  Nodes are numbered by the group that first uses them.
    lattice : (nodes, 3) int64 ndarray
        Node positions on the lattice.
    points : (nodes, 3) float64 ndarray
        Node positions in mm.
    box : (cells, 3) float64 ndarray
        Edge lengths of each cell in mm.
    node_group : (nodes,) int64 ndarray
        First group that uses each node; ascending.
    cell : (3,) float64 ndarray
        Edge lengths of a fine cell of the part in mm.
    group_cells : int
        Fine cells in a layer group.
    """

    corner: NDArray[np.int64]
    size: NDArray[np.int64]
    group: NDArray[np.int64]
    cells: NDArray[np.int32]
    lattice: NDArray[np.int64]
    points: NDArray[np.float64]
    box: NDArray[np.float64]
    node_group: NDArray[np.int64]
    cell: NDArray[np.float64]
    group_cells: int

    @property
    def group_count(self) -> int:
        """Number of layer groups, the plate not counted."""
        return int(self.group[-1])

    @property
    def volume(self) -> NDArray[np.float64]:
        """Volume of each cell, (cells,) float64, mm3."""
        return self.box.prod(axis=1)

    def cell_range(self, group: int) -> slice:
        """Cells of one group."""
        return slice(*np.searchsorted(self.group, [group, group + 1]))

    def active_cells(self, group: int) -> slice:
        """Cells present once `group` is deposited: plate and part up to it."""
        return slice(0, int(np.searchsorted(self.group, group + 1)))

    def active_nodes(self, group: int) -> slice:
        """Nodes present once `group` is deposited."""
        return slice(0, int(np.searchsorted(self.node_group, group + 1)))

    @cached_property
    def hanging(self) -> Hanging:
        """Every node that lies on the middle of a larger cell's edge or face."""
        return find_hanging(self)


@dataclass(frozen=True)
class Hanging:
    """Nodes on the middle of an edge (two masters) or a face (four masters) of a larger cell.

    Parameters
    ----------
    slave : (n,) int64 ndarray
        The hanging node.
    master : (n, 4) int64 ndarray
        Corners it is interpolated from, with equal weight; an edge repeats its two ends.
    cell : (n,) int64 ndarray
        The larger cell.
    """

    slave: NDArray[np.int64]
    master: NDArray[np.int64]
    cell: NDArray[np.int64]


def _lattice_to_mm(lattice: NDArray[np.int64], grid: VoxelGrid, plate_depth: float) -> NDArray[np.float64]:
    """Positions of lattice points in mm; the lattice is finer below z = 0 than above it."""
    points = grid.origin + lattice * grid.cell
    below = lattice[:, 2] < 0
    points[below, 2] = lattice[below, 2] * (plate_depth / (PLATE_LAYERS * CELLS_PER_BASE))
    return points


def build_mesh(grid: VoxelGrid, *, group_cells: int, plate_depth: float) -> OctreeMesh:
    """Mesh the part and the plate under its footprint.

    Parameters
    ----------
    grid : VoxelGrid
        The part.
    group_cells : int
        Fine cells in a layer group.
    plate_depth : float
        Thickness of the plate in mm.

    Returns
    -------
    OctreeMesh
    """
    part = merge_part(grid.solid, group_cells)
    corners, sizes = [], []
    nx, ny = grid.solid.shape[0] // CELLS_PER_BASE, grid.solid.shape[1] // CELLS_PER_BASE
    lower = np.ones((nx, ny, 1), dtype=np.bool_)
    blocks = [(CELLS_PER_BASE, -2 * CELLS_PER_BASE, lower)]
    blocks += [(size, -CELLS_PER_BASE, leaf) for size, leaf in refine_plate(part).items()]
    blocks += [(2**level, 0, leaf) for level, leaf in enumerate(part)]
    for edge, bottom, leaf in blocks:
        corners.append(np.argwhere(leaf) * edge + (0, 0, bottom))
        sizes.append(np.full(len(corners[-1]), edge, dtype=np.int64))
    corner, size = np.concatenate(corners), np.concatenate(sizes)
    group = np.where(corner[:, 2] < 0, 0, corner[:, 2] // group_cells + 1)
    order = np.argsort(group, kind="stable")
    corner, size, group = corner[order], size[order], group[order]

    cell_lattice = corner[:, None, :] + size[:, None, None] * CORNERS
    _, first, node = np.unique(_key(cell_lattice), return_index=True, return_inverse=True)
    # Cells are in order of group, so the first corner that names a node tells its first group.
    by_group = np.argsort(first, kind="stable")
    number = np.empty(len(first), dtype=np.int32)
    number[by_group] = np.arange(len(first), dtype=np.int32)
    first = first[by_group]
    lattice = cell_lattice.reshape(-1, 3)[first]
    points = _lattice_to_mm(lattice, grid, plate_depth)
    cells = number[node].reshape(-1, 8)
    return OctreeMesh(
        corner=corner,
        size=size,
        group=group,
        cells=cells,
        lattice=lattice,
        points=points,
        box=points[cells[:, 6]] - points[cells[:, 0]],
        node_group=group[first // 8],
        cell=grid.cell,
        group_cells=group_cells,
    )


def _key(lattice: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer per lattice point; twenty bits an axis hold half a million cells."""
    shifted = lattice + (1 << 19)
    return (shifted[..., 2] << 40) | (shifted[..., 1] << 20) | shifted[..., 0]


def find_hanging(mesh: OctreeMesh) -> Hanging:
    """Find the nodes on the middle of an edge or a face of a larger cell.

    With neighbours one level apart at most, every hanging node is the middle of an edge (mean of its
    two ends) or of a face (mean of its four corners).
    """
    keys = _key(mesh.lattice)
    order = np.argsort(keys)
    keys = keys[order]
    large = np.flatnonzero(mesh.size > 1)
    slaves, masters, owners = [], [], []
    for corners in (*_EDGES, *_FACES):
        ends = mesh.lattice[mesh.cells[large][:, corners]]
        middle = _key((ends[:, 0] + ends[:, -1 if len(corners) == 2 else 2]) // 2)
        place = np.minimum(np.searchsorted(keys, middle), len(keys) - 1)
        found = keys[place] == middle
        slaves.append(order[place[found]])
        masters.append(mesh.cells[large[found]][:, [*corners, *corners][:4]])
        owners.append(large[found])
    return Hanging(np.concatenate(slaves), np.concatenate(masters).astype(np.int64), np.concatenate(owners))


def interpolation(mesh: OctreeMesh, cells: slice, gone: NDArray[np.bool_] | None = None) -> sparse.csr_array:
    """Interpolation of the displacement or temperature from the nodes that do not hang.

    Parameters
    ----------
    mesh : OctreeMesh
    cells : slice
        The cells present.  Only they can make a node hang, and only their nodes take part.
    gone : (cells,) bool ndarray, optional
        Cells of the plate that have gone: nodes inside the plate hang on them no more, as they would
        tie part and plate together.  Nodes on top of the plate still do, as in Netfabb.

    Returns
    -------
    (nodes, nodes) sparse array
        Row of a free node: 1 on itself.  Row of a hanging node: the weights of its masters.
        Row of a node without cell: empty.
    """
    count = len(mesh.points)
    present = np.zeros(count, dtype=np.bool_)
    present[mesh.cells[cells]] = True
    hanging = mesh.hanging
    counts = (hanging.cell >= cells.start) & (hanging.cell < cells.stop) & present[hanging.slave]
    if gone is not None:
        counts &= ~gone[hanging.cell] | (mesh.lattice[hanging.slave, 2] == 0)
    slave, first = np.unique(hanging.slave[counts], return_index=True)
    master = hanging.master[counts][first]
    present[slave] = False
    free = np.flatnonzero(present)
    rows = np.concatenate([free, slave.repeat(4)])
    columns = np.concatenate([free, master.ravel()])
    values = np.concatenate([np.ones(len(free)), np.full(4 * len(slave), 0.25)])
    weights = sparse.csr_array((values, (rows, columns)), shape=(count, count))
    # A master may hang on a still larger cell: insert its own masters until none is left.
    while not present[weights.indices].all():
        weights = weights @ weights
    return weights


def values_at_height(mesh: OctreeMesh, level: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nodal values over the whole horizontal lattice at one height, each from the nearest node there.

    Of nodes equally near the one of the coarser cells counts, as in Netfabb.

    Parameters
    ----------
    mesh : OctreeMesh
    level : int
        Height on the lattice.
    values : (nodes, ...) float64 ndarray
        Values of the first nodes of the mesh.

    Returns
    -------
    (nx + 1, ny + 1, ...) float64 ndarray
    """
    surface = np.flatnonzero(mesh.lattice[: len(values), 2] == level)
    x, y = mesh.lattice[surface, 0], mesh.lattice[surface, 1]
    extent = mesh.lattice[:, :2].max(axis=0) + 1
    nearest = np.zeros(extent, dtype=np.int64)
    shortest = np.full(extent, np.inf)
    for size in (4, 2, 1):
        chosen = np.flatnonzero((x % size == 0) & (y % size == 0))
        if len(chosen) == 0:
            continue
        away = np.ones(extent, dtype=np.bool_)
        away[x[chosen], y[chosen]] = False
        distance, index = ndimage.distance_transform_edt(away, sampling=mesh.cell[:2], return_indices=True)
        numbered = np.zeros(extent, dtype=np.int64)
        numbered[x[chosen], y[chosen]] = surface[chosen]
        nearer = distance < shortest - 1e-6 * mesh.cell[0]
        shortest[nearer] = distance[nearer]
        nearest[nearer] = numbered[index[0], index[1]][nearer]
    return values[nearest]
