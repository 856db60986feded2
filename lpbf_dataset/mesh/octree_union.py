"""The coarsest octree mesh that is as fine as each of several octree meshes everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Mesh = tuple[NDArray[np.floating], NDArray[np.integer]]

LATTICE_TOLERANCE = 0.05
"""A node this far off the lattice, in the finest cell, is still on it.  Cells are a few tenths of a mm, and
single precision rounds positions on a 250 mm plate by 1e-5 mm."""

_AXIS_BITS = 20
"""Bits per axis of the number of a lattice point: half a million fine cells, and room for negative ones."""

_CORNERS = HEXAHEDRON_CORNERS.astype(np.int64)


class OctreeUnion:
    """Union of octree meshes along the axes, whose cells are 1, 2, 4, ... times the finest of all.

    A cell of any mesh that holds smaller ones of another is halved in each direction, and its parts again,
    until none does.  Memory is linear in the cells of all meshes and of the union.

    Parameters
    ----------
    meshes : sequence of ((n, 3) float ndarray, (m, 8) integer ndarray)
        Positions in mm of nodes, each of some cell, and cells in VTK order.  They may cover different parts
        of space.

    Attributes
    ----------
    points : (k, 3) float32 ndarray
        Node positions in mm; those of the meshes, of the first that has the node.
    cells : (l, 8) int32 ndarray
        Nodes of each hexahedron, VTK order.
    node_of : list of (n,) int64 ndarray
        Node of the union at each node of each mesh.

    Raises
    ------
    ValueError
        If there are no cells, or the cells are not those of one octree.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        if not meshes or not all(len(cells) for _, cells in meshes):
            raise ValueError("every mesh must have cells")
        self._lattice = _Lattice(meshes)
        nodes = [self._lattice.nodes(points) for points, _ in meshes]
        boxes = [
            self._lattice.boxes(lattice, np.asarray(cells))
            for lattice, (_, cells) in zip(nodes, meshes, strict=True)
        ]
        self._boxes = [_sorted_boxes(corner, size) for corner, size in boxes]
        self._corner, self._size = _leaves(self._boxes)
        corners = _key(self._corner[:, None, :] + self._size[:, None, None] * _CORNERS)
        keys, first, node = np.unique(corners, return_index=True, return_inverse=True)
        self.cells = node.reshape(-1, 8).astype(np.int32)
        lattice = (self._corner[:, None, :] + self._size[:, None, None] * _CORNERS).reshape(-1, 3)[first]
        self.points = self._lattice.positions(lattice)
        self.node_of = [np.searchsorted(keys, _key(lattice)) for lattice in nodes]
        for (points, _), number in reversed(list(zip(meshes, self.node_of, strict=True))):
            self.points[number] = points

    def covered_by(self, mesh: int) -> NDArray[np.bool_]:
        """Tell which cells lie in a mesh, by its position; (l,) bool."""
        covered = np.zeros(len(self._corner), np.bool_)
        for size, keys in self._boxes[mesh].items():
            fits = self._size <= size
            ancestor = _key(self._corner[fits] // size * size)
            covered[fits] |= _contains(keys, ancestor)
        return covered


class _Lattice:
    """Whole-number coordinates of the corners of all cells, in units of the finest cell."""

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        corners = [
            (np.asarray(points, np.float64)[cells[:, 0]], np.asarray(points, np.float64)[cells[:, 6]])
            for points, cells in meshes
        ]
        low, high = (np.concatenate(each) for each in zip(*corners, strict=True))
        edges = high - low
        finest = edges.min(axis=0)
        if not (finest > 0).all():
            raise ValueError("the cells of an octree must lie along the axes and have a volume")
        # The whole extent tells the size of a fine cell more precisely than one cell does.
        extent = high.max(axis=0) - low.min(axis=0)
        self._unit = extent / np.round(extent / finest)
        # The octree is aligned to its largest cells.
        self._origin = low[np.round(edges[:, 0] / finest[0]).argmax()]

    def nodes(self, points: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the lattice points, (n, 3) int64, at positions in mm."""
        exact = (np.asarray(points, np.float64) - self._origin) / self._unit
        lattice = np.round(exact)
        if np.abs(exact - lattice).max() > LATTICE_TOLERANCE or np.abs(lattice).max() >= 1 << _AXIS_BITS - 1:
            raise ValueError("the nodes are not on the lattice of one octree along the axes")
        return lattice.astype(np.int64)

    def boxes(
        self, lattice: NDArray[np.int64], cells: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lowest corner (m, 3) and the edge length (m,) of each cell on the lattice."""
        corner = lattice[cells[:, 0]]
        size = lattice[cells[:, 6], 0] - corner[:, 0]
        is_cube = (lattice[cells] == corner[:, None, :] + size[:, None, None] * _CORNERS).all()
        if not is_cube or (size & (size - 1)).any() or (corner % size[:, None]).any():
            raise ValueError("the cells are not those of one octree along the axes")
        return corner, size

    def positions(self, lattice: NDArray[np.int64]) -> NDArray[np.float32]:
        """Positions (n, 3) in mm of lattice points."""
        return (self._origin + lattice * self._unit).astype(np.float32)


def _sorted_boxes(corner: NDArray[np.int64], size: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Group boxes by size, largest first: the numbers of their lowest corners, ascending."""
    return {int(edge): np.unique(_key(corner[size == edge])) for edge in np.unique(size)[::-1]}


def _leaves(meshes: Sequence[dict[int, NDArray[np.int64]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corner (l, 3) and size (l,) of the cells that hold no smaller one of any mesh."""
    sizes = sorted({size for boxes in meshes for size in boxes}, reverse=True)
    present = {
        size: np.unique(np.concatenate([boxes[size] for boxes in meshes if size in boxes])) for size in sizes
    }
    corners, edges = [], []
    size = sizes[0]
    while size >= 1:
        keys = present.get(size, np.empty(0, np.int64))
        finer = [_key(_corner(smaller) // size * size) for edge, smaller in present.items() if edge < size]
        is_split = _contains(np.unique(np.concatenate(finer)), keys) if finer else np.zeros(len(keys), bool)
        corners.append(_corner(keys[~is_split]))
        edges.append(np.full(len(corners[-1]), size))
        if is_split.any():
            half = size // 2
            parts = _key(_corner(keys[is_split])[:, None, :] + half * _CORNERS).ravel()
            present[half] = np.union1d(present.get(half, np.empty(0, np.int64)), parts)
        size //= 2
    return np.concatenate(corners), np.concatenate(edges)


def _key(lattice: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number per lattice point (..., 3), ascending in z, then y, then x."""
    shifted = lattice + (1 << _AXIS_BITS - 1)
    return (shifted[..., 2] << 2 * _AXIS_BITS) | (shifted[..., 1] << _AXIS_BITS) | shifted[..., 0]


def _corner(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Undo `_key`."""
    mask = (1 << _AXIS_BITS) - 1
    shifted = np.stack([key & mask, (key >> _AXIS_BITS) & mask, key >> 2 * _AXIS_BITS], axis=-1)
    return shifted - (1 << _AXIS_BITS - 1)


def _contains(ascending: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which keys are among others in ascending order."""
    if not len(ascending):
        return np.zeros(len(keys), np.bool_)
    place = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.asarray(ascending[place] == keys)
