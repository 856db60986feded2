"""The lattice that the cells of an octree fill, whichever way it is turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SPREAD = 8
"""The nodes of one plane lie within so many roundings of single precision of each other."""

PLANE_GAP = 0.25
"""Planes are taken to be at least so many shortest edges apart while it is not known how they are turned."""


class Lattice(NamedTuple):
    """Three families of parallel planes, between which every cell of a mesh is a box.

    Attributes
    ----------
    normals : (3, 3) float64 ndarray
        Unit normal of each family, one per row.
    planes : list of three (p,) float64 ndarray
        Where the planes of each family lie along its normal, ascending.
    ranks : (n, 3) int32 ndarray
        In which plane of each family a node lies.
    boxes : (m, 2, 3) int32 ndarray
        The lowest and highest plane of each family at each cell.
    """

    normals: NDArray[np.float64]
    planes: list[NDArray[np.float64]]
    ranks: NDArray[np.int32]
    boxes: NDArray[np.int32]


def find_lattice(
    positions: NDArray[np.float64], cells: NDArray[np.integer], shortest_edge: float, rounding: float
) -> Lattice | None:
    """Find the lattice of an octree, or of any other mesh of parallelepipeds in rows.

    Parameters
    ----------
    positions : (n, 3) float64 ndarray
        Nodes, each of some cell.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order, of positive volume.
    shortest_edge : float
        Length of the shortest edge of a cell.
    rounding : float
        How far single precision rounds the largest coordinate.

    Returns
    -------
    Lattice or None
        None if nodes are off the planes by more than rounding, or a cell is no box between planes.  Of a
        lattice along the axes the normals are exactly the axes, in their order.
    """
    gap = min(SPREAD * rounding, shortest_edge / 2)
    for normals in _likely_normals(positions, cells, shortest_edge, rounding):
        ranks, planes = np.empty(positions.shape, dtype=np.int32), []
        for family, normal in enumerate(normals):
            ranks[:, family], begin, end = _planes(positions @ normal, gap)
            planes.append((begin + end) / 2)
            if (end - begin).max() > SPREAD * rounding:
                break
        else:
            boxes, are_boxes = _boxes(ranks, cells)
            if are_boxes:
                return Lattice(normals, planes, ranks, boxes)
    return None


def _likely_normals(
    positions: NDArray[np.float64], cells: NDArray[np.integer], shortest_edge: float, rounding: float
) -> Iterator[NDArray[np.float64]]:
    edges = positions[cells[:, [1, 3, 4]]] - positions[cells[:, :1]]
    # The directions of the longest edges are the least affected by rounding.
    longest = edges[np.einsum("cij,cij->c", edges, edges).argmax()]
    guess = np.cross(np.roll(longest, -1, axis=0), np.roll(longest, -2, axis=0))
    guess /= np.sqrt((guess**2).sum(axis=1, keepdims=True))
    off_axes = np.abs(np.abs(guess) - np.round(np.abs(guess))).max()
    if off_axes * shortest_edge <= SPREAD * rounding:
        yield np.eye(3)
    yield np.stack([_common_normal(positions, normal, PLANE_GAP * shortest_edge) for normal in guess])


def _common_normal(
    positions: NDArray[np.float64], guess: NDArray[np.float64], gap: float
) -> NDArray[np.float64]:
    """Find the unit normal of a family: the direction in which the nodes of a plane spread least."""
    rank, *_ = _planes(positions @ guess, gap)
    mean = np.stack([np.bincount(rank, coordinate) for coordinate in positions.T], axis=1)
    in_plane = positions - (mean / np.bincount(rank)[:, None])[rank]
    return np.linalg.eigh(in_plane.T @ in_plane).eigenvectors[:, 0]


def _planes(
    coordinate: NDArray[np.float64], gap: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Group coordinates (n,) between gaps: the group of each, and where the groups begin and end."""
    order = np.argsort(coordinate)
    ascending = coordinate[order]
    first = np.diff(ascending, prepend=-np.inf) > gap
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(first) - 1
    return rank, ascending[first], ascending[np.roll(first, -1)]


@njit(cache=True, nogil=True)
def _boxes(ranks: NDArray[np.int32], cells: NDArray[np.integer]) -> tuple[NDArray[np.int32], bool]:
    """Lowest and highest plane (m, 2, 3) of each cell, and whether its corners are those of a box."""
    boxes = np.empty((len(cells), 2, 3), dtype=np.int32)
    for i, cell in enumerate(cells):
        for family in range(3):
            low = high = ranks[cell[0], family]
            for node in cell[1:]:
                low, high = min(low, ranks[node, family]), max(high, ranks[node, family])
            boxes[i, 0, family], boxes[i, 1, family] = low, high
        octants = 0
        for node in cell:
            octant = 0
            for family in range(3):
                rank = ranks[node, family]
                if boxes[i, 0, family] < rank < boxes[i, 1, family]:
                    return boxes, False
                octant = 2 * octant + (rank == boxes[i, 1, family])
            octants |= 1 << octant
        if octants != 0xFF:
            return boxes, False
    return boxes, True
