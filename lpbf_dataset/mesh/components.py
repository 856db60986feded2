"""Connected components of hexahedral meshes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.locate import CellLocator
from lpbf_dataset.mesh.topology import HEXAHEDRON_FACES, check_cells, check_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBE_DISTANCE = 1e-2
"""How far beyond the centre of a face its neighbour is looked for, relative to the distance from the centre
of the cell: beyond the tolerance of the locator, and within any neighbour not a hundred times thinner."""


def node_components(cells: NDArray[np.integer], node_count: int) -> NDArray[np.int32]:
    """Label the cells that hang together by common nodes.

    Cells that touch in a common corner only are joined.  At a T-junction of an octree each fine cell in a
    corner of the coarse face shares that node; a cell that meets another only in the midst of its face, with
    no common node and no cells between them, stays apart.  Merging is sequential, so that threads would not
    make it faster.

    Parameters
    ----------
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.
    node_count : int
        Number of nodes of the mesh.

    Returns
    -------
    (m,) int32 ndarray
        Component of each cell; components are numbered from 0 by their first cells.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `node_count` nodes.
    """
    cells = check_cells(cells, node_count)
    return _numbered_by_first(_joined(cells, node_count)[cells[:, 0]])


def face_components(
    points: NDArray[np.floating], cells: NDArray[np.integer], threads: int = 1
) -> NDArray[np.int32]:
    """Label the cells that hang together by faces, or by parts of faces at T-junctions.

    Two cells are joined if the point just beyond the centre of a face of one lies in the other, so that it
    does not matter whether they share the nodes, or if one lies on the centre of the other.  Cells that touch
    only in an edge or a corner stay apart.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    threads : int, optional
        Threads for the search; the result does not depend on it.

    Returns
    -------
    (m,) int32 ndarray
        Component of each cell; components are numbered from 0 by their first cells.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, or a position is not finite.
    """
    points = check_points(points)
    cells = check_cells(cells, len(points))
    if not len(cells):
        return np.zeros(0, dtype=np.int32)
    locator = CellLocator(points, cells)
    corners = locator.points[locator.cells]
    centre = corners.mean(axis=1)
    # The centre itself finds a cell that lies on this one.
    probes = [centre]
    for face in HEXAHEDRON_FACES:
        middle = corners[:, face].mean(axis=1)
        probes.append(middle + PROBE_DISTANCE * (middle - centre))
    pairs = np.empty((len(probes), len(cells), 2), dtype=np.int32)
    pairs[..., 0] = np.arange(len(cells))
    for pair, probe in zip(pairs, probes, strict=True):
        neighbour = locator.locate(probe, threads).cell
        pair[:, 1] = np.where(neighbour >= 0, neighbour, pair[:, 0])
    return _numbered_by_first(_joined(pairs.reshape(-1, 2), len(cells)))


def _numbered_by_first(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


@njit(cache=True, nogil=True)
def _joined(groups: NDArray[np.integer], count: int) -> NDArray[np.int32]:
    """Least element of the component of each of so many elements, where every row joins its elements."""
    parent = np.arange(count).astype(np.int32)
    for group in groups:
        for element in group[1:]:
            a, b = _root(parent, group[0]), _root(parent, element)
            parent[max(a, b)] = min(a, b)
    for element in range(count):
        parent[element] = parent[parent[element]]
    return parent


@njit(cache=True, nogil=True)
def _root(parent: NDArray[np.int32], element: int) -> int:
    # Halving the path on the way keeps the trees shallow (Tarjan and van Leeuwen, J. ACM 31, 1984).
    while parent[element] != element:
        parent[element] = parent[parent[element]]
        element = parent[element]
    return element
