"""Closed surface of a hexahedral mesh whose cells meet at T-junctions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from lpbf_dataset.mesh.covered_faces import MAX_HALVINGS, RELATIVE_TOLERANCE, subtract_finer
from lpbf_dataset.mesh.quality import cell_volumes
from lpbf_dataset.mesh.topology import HEXAHEDRON_FACES

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Boundary(NamedTuple):
    """Closed surface of a hexahedral mesh, turning outwards.

    `quads` and `triangles` are the same surface.  A face that finer cells cover in part is cut into the
    quarters (of quarters) that are left.

    Attributes
    ----------
    vertices : (v, 3) float64 ndarray
        The nodes of the mesh, in their order, then the corners of quarters at which there is no node.
    quads : (k, 4) int32 ndarray
        Vertices of each exposed face, without those that hang on its edges.
    quad_cell : (k,) int32 ndarray
        Cell of each quad.
    triangles : (t, 3) int32 ndarray
        Triangulation of the quads in which every hanging node is a corner: each edge is shared by as
        many triangles in one direction as in the other.
    triangle_cell : (t,) int32 ndarray
        Cell of each triangle.
    is_surface_node : (n,) bool ndarray
        Nodes on the surface.
    """

    vertices: NDArray[np.float64]
    quads: NDArray[np.int32]
    quad_cell: NDArray[np.int32]
    triangles: NDArray[np.int32]
    triangle_cell: NDArray[np.int32]
    is_surface_node: NDArray[np.bool_]


def boundary(points: NDArray[np.floating], cells: NDArray[np.integer]) -> Boundary:
    """Find the surface of a hexahedral mesh, watertight also where fine cells meet coarse ones.

    A coarse face may be covered by finer ones, in whole or in part, as in an octree of any depth and
    any orientation.  Faces with hanging nodes must be flat; cells that touch without common nodes are
    taken to be apart.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, in any unit of length.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.

    Returns
    -------
    Boundary
        Its triangles enclose the volume of the cells, up to the warp of faces that are not flat.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, a position is not finite, a cell is inverted,
        three faces or two cells on the same side share four nodes, two nodes coincide, or faces overlap
        without one being a quarter (of a quarter) of the other.
    """
    _check_cells(points, cells)
    faces = np.ascontiguousarray(cells[:, HEXAHEDRON_FACES].reshape(-1, 4), dtype=np.int32)
    mates = _match_faces(faces, len(points))
    if (mates == -2).any():
        face = int(np.argmax(mates == -2))
        raise ValueError(f"cell {face // 6} shares a face with a cell on the same side of it: cells overlap")
    single = np.flatnonzero(mates == -1)
    positions = np.asarray(points, dtype=np.float64)
    tolerance = RELATIVE_TOLERANCE * _shortest_edge(positions, faces[single])
    is_outer = np.zeros(len(points), dtype=bool)
    is_outer[faces[single]] = True
    outer = np.flatnonzero(is_outer)
    tree = cKDTree(positions[outer], balanced_tree=False)
    _check_distinct(tree, outer, tolerance)

    uncovered, owner, quarters = subtract_finer(positions[faces[single]])
    quads, vertices = _join(positions, tree, outer, quarters, tolerance)
    quads = np.concatenate([faces[single][uncovered], quads])
    quad_cell = (np.concatenate([single[uncovered], single[owner]]) // 6).astype(np.int32)

    # A node whose own faces are all covered may yet lie on the edge of an exposed coarse face.
    may_hang = np.concatenate([outer, np.arange(len(points), len(vertices))])
    start, polygons, sides = _hang(vertices, quads, may_hang, tolerance)
    triangles, triangle_quad = _triangulate(vertices, start, polygons, sides)
    _check_closed(triangles)
    is_surface_node = np.zeros(len(points), dtype=bool)
    is_surface_node[triangles[triangles < len(points)]] = True
    return Boundary(vertices, quads, quad_cell, triangles, quad_cell[triangle_quad], is_surface_node)


def _check_cells(points: NDArray[np.floating], cells: NDArray[np.integer]) -> None:
    if not len(cells):
        raise ValueError("a mesh without cells has no surface")
    volumes = cell_volumes(points, cells)
    if not np.isfinite(volumes).all():
        raise ValueError(f"cell {np.argmin(np.isfinite(volumes))} has a corner at no finite position")
    if volumes.min() <= 0:
        raise ValueError(f"cell {volumes.argmin()} is inverted or flat: its volume is {volumes.min():.3g}")


def _check_distinct(tree: cKDTree, nodes: NDArray[np.int64], tolerance: float) -> None:
    pairs = tree.query_pairs(tolerance, output_type="ndarray")
    if len(pairs):
        first, second = nodes[pairs[0]]
        raise ValueError(f"nodes {first} and {second} coincide: merge the nodes of the mesh first")


def _check_closed(triangles: NDArray[np.int32]) -> None:
    tail, head = triangles.ravel().astype(np.int64), np.roll(triangles, -1, axis=1).ravel()
    keys = np.minimum(tail, head) << 32 | np.maximum(tail, head)
    order = np.argsort(keys)
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    turns = np.add.reduceat(np.where(tail < head, 1, -1)[order], first)
    if turns.any():
        edge = keys[order][first[np.argmax(turns != 0)]]
        raise ValueError(
            f"the surface is open at the edge from node {edge >> 32} to {edge & 0xFFFFFFFF}: "
            "its cells do not fit together as in an octree"
        )


def _shortest_edge(positions: NDArray[np.float64], faces: NDArray[np.int32]) -> float:
    edges = positions[faces] - positions[np.roll(faces, -1, axis=1)]
    return float(np.sqrt(np.einsum("fki,fki->fk", edges, edges).min()))


@njit(cache=True, nogil=True)
def _match_faces(faces: NDArray[np.int32], node_count: int) -> NDArray[np.int32]:
    """Other face with the same nodes, -1 for none, -2 where the two do not turn against each other."""
    start = np.zeros(node_count + 1, dtype=np.int64)
    for face in faces:
        start[face.min() + 1] += 1
    for node in range(node_count):
        start[node + 1] += start[node]
    bucket = np.empty(len(faces), dtype=np.int32)
    filled = start[:node_count].copy()
    mates = np.full(len(faces), -1, dtype=np.int32)
    for i, face in enumerate(faces):
        node = face.min()
        for other in bucket[start[node] : filled[node]]:
            relation = _compare_faces(face, faces[other])
            if relation == 0:
                continue
            against = relation < 0 and mates[other] == -1
            mates[i] = other if against else -2
            mates[other] = i if against else -2
        bucket[filled[node]] = i
        filled[node] += 1
    return mates


@njit(cache=True, nogil=True)
def _compare_faces(first: NDArray[np.int32], second: NDArray[np.int32]) -> int:
    """Return 1 if the faces are the same, -1 if they turn against each other, 2 if only the nodes agree."""
    common = 0
    for node in first:
        for other in second:
            common += node == other
    if common < 4:
        return 0
    for k in range(4):
        if first[0] == second[k]:
            if first[1] == second[(k + 3) % 4] and first[2] == second[(k + 2) % 4]:
                return -1
            if first[1] == second[(k + 1) % 4] and first[2] == second[(k + 2) % 4]:
                return 1
    return 2


def _join(
    positions: NDArray[np.float64],
    tree: cKDTree,
    nodes: NDArray[np.int64],
    quarters: NDArray[np.float64],
    tolerance: float,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Vertices of the quarters (q, 4, 3): those of the nodes in the tree that are there, and new ones."""
    corners = quarters.reshape(-1, 3)
    distance, nearest = tree.query(corners, distance_upper_bound=tolerance)
    known = np.isfinite(distance)
    vertex = np.empty(len(corners), dtype=np.int64)
    vertex[known] = nodes[nearest[known]]
    new = corners[~known]
    first = np.arange(len(new))
    if len(new):
        pairs = cKDTree(new).query_pairs(tolerance, output_type="ndarray")
        np.minimum.at(first, pairs.max(axis=1), pairs.min(axis=1))
    kept, index = np.unique(first, return_inverse=True)
    vertex[~known] = len(positions) + index
    return vertex.reshape(-1, 4).astype(np.int32), np.concatenate([positions, new[kept]])


def _hang(
    vertices: NDArray[np.float64], quads: NDArray[np.int32], may_hang: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Polygons of the quads with those vertices that may hang and lie on their edges.

    Returns where each polygon starts, the vertices, and of each the sides it lies on: bit k for the side
    after corner k.
    """
    tail, head = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    length = np.sqrt(((vertices[tail] - vertices[head]) ** 2).sum(axis=1))
    side = np.arange(len(tail))
    where, found, bits = [side.astype(float)], [tail], [np.tile([0b1001, 0b0011, 0b0110, 0b1100], len(quads))]
    tree = cKDTree(vertices[may_hang], balanced_tree=False)
    halvings = np.floor(np.log2(length / (RELATIVE_TOLERANCE**-1 * tolerance)) + 0.1)
    for level in range(1, int(min(halvings.max(), MAX_HALVINGS)) + 1):
        # Odd multiples only: the others have been looked up at the levels before.
        fraction = np.arange(1, 2**level, 2) / 2**level
        long = side[halvings >= level]
        candidate = np.repeat(long, len(fraction))
        t = np.tile(fraction, len(long))
        between = (1 - t)[:, None] * vertices[tail[candidate]] + t[:, None] * vertices[head[candidate]]
        distance, nearest = tree.query(between, distance_upper_bound=tolerance)
        hit = np.isfinite(distance)
        where.append((candidate + t)[hit])
        found.append(may_hang[nearest[hit]])
        bits.append(1 << candidate[hit] % 4)
    place = np.concatenate(where)
    order = np.argsort(place)
    start = np.searchsorted(place[order], np.arange(len(quads) + 1) * 4.0)
    polygons, sides = np.concatenate(found)[order], np.concatenate(bits)[order]
    return start, polygons.astype(np.int32), sides.astype(np.uint8)


@njit(cache=True, nogil=True)
def _triangulate(
    vertices: NDArray[np.float64],
    start: NDArray[np.int64],
    polygons: NDArray[np.int32],
    sides: NDArray[np.uint8],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cut ears off each convex polygon, the shortest cut first, never one of three vertices on a side."""
    total = len(polygons) - 2 * (len(start) - 1)
    triangles = np.empty((total, 3), dtype=np.int32)
    owner = np.empty(total, dtype=np.int32)
    count = 0
    for quad in range(len(start) - 1):
        ring = polygons[start[quad] : start[quad + 1]].copy()
        bits = sides[start[quad] : start[quad + 1]].copy()
        size = len(ring)
        while size >= 3:
            ear = _best_ear(vertices, ring, bits, size)
            triangles[count, 0] = ring[ear - 1 if ear else size - 1]
            triangles[count, 1] = ring[ear]
            triangles[count, 2] = ring[(ear + 1) % size]
            owner[count] = quad
            count += 1
            for k in range(ear, size - 1):
                ring[k], bits[k] = ring[k + 1], bits[k + 1]
            size -= 1
    return triangles, owner


@njit(cache=True, nogil=True)
def _best_ear(
    vertices: NDArray[np.float64], ring: NDArray[np.int32], bits: NDArray[np.uint8], size: int
) -> int:
    best, shortest = 0, np.inf
    for i in range(size):
        before, after = (i - 1 if i else size - 1), (i + 1) % size
        rest = 0b1111
        for k in range(size):
            if k != i:
                rest &= bits[k]
        straight = bits[before] & bits[i] & bits[after] != 0
        if straight or (rest != 0 and size > 3):
            continue
        squared = 0.0
        for axis in range(3):
            squared += (vertices[ring[before], axis] - vertices[ring[after], axis]) ** 2
        # Equal diagonals of a box are told apart by rounding alone, were they not taken in order.
        if squared < 0.999 * shortest:
            best, shortest = i, squared
    return best
