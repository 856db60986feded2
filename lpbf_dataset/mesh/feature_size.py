"""Local thickness of the material of a hexahedral mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.boundary import boundary
from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree, in_chunks, morton_order
from lpbf_dataset.mesh.distance import node_distance
from lpbf_dataset.mesh.topology import HEXAHEDRON_EDGES, HEXAHEDRON_FACES, check_cells, check_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.mesh.boundary import Boundary

# Ends of the edges and of a diagonal of each face: what lies in the midst of them.
MIDDLES = np.concatenate([HEXAHEDRON_EDGES, HEXAHEDRON_FACES[:, ::2]])

TOUCHING = 1e-4
"""A ball contains a centre that lies deeper in it than this fraction of its radius: above the rounding of
single precision, so that a centre on the very sphere is outside however the mesh is turned."""


def feature_size(
    points: NDArray[np.floating],
    cells: NDArray[np.integer],
    surface: Boundary | None = None,
    threads: int = 1,
) -> NDArray[np.float64]:
    """Local thickness of the material: diameter of the largest ball in it around the centre of each cell.

    The ball contains the centre of the cell but need not be centred there (Hildebrand and Ruegsegger, *A new
    method for the model-independent assessment of thickness in three-dimensional images*, J. Microscopy
    185, 1997).  The balls tried are those about the nodes and the centres of cells and, where it can make a
    difference to a cell, about the middles of its faces and edges.  So plates of any number of equal layers
    of cells have their exact thickness away from the rim, and other shapes one too small by about a cell at
    most.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, in any unit of length.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    surface : Boundary, optional
        Surface of this mesh, found if not given.
    threads : int, optional
        Threads that share the work; the result does not depend on it.

    Returns
    -------
    (m,) float64 ndarray
        In the unit of `points`.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, the mesh has no surface (see `boundary`), or `surface`
        is that of another mesh.
    """
    positions, cells = check_points(points).astype(np.float64), check_cells(cells, len(points))
    if surface is None:
        surface = boundary(positions, cells)
    if len(surface.is_surface_node) != len(positions):
        raise ValueError(
            f"{len(positions)} points, but the surface is of a mesh of {len(surface.is_surface_node)} nodes"
        )
    inner = np.zeros(len(positions), dtype=bool)
    inner[cells] = True
    inner &= ~surface.is_surface_node
    centres = positions[cells].mean(axis=1)
    balls = np.concatenate([centres, positions[inner]])
    radii = _radii(balls, surface, threads)
    found = _largest_around(centres, balls, radii, np.zeros(len(cells)), threads)

    cell, pair = np.nonzero(_may_be_larger(positions, cells, MIDDLES, centres, radii, found))
    if not len(cell):
        return 2 * found
    ends = np.sort(cells[cell[:, None], MIDDLES[pair]].astype(np.int64), axis=1)
    once = np.unique(ends[:, 0] << 32 | ends[:, 1])
    balls = (positions[once >> 32] + positions[once & 0xFFFFFFFF]) / 2
    return 2 * _largest_around(centres, balls, _radii(balls, surface, threads), found, threads)


@njit(cache=True, nogil=True)
def _may_be_larger(
    positions: NDArray[np.float64],
    cells: NDArray[np.int32],
    middles: NDArray[np.int64],
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    found: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether the ball about each middle may be larger than what was found for the cell."""
    may = np.empty((len(cells), len(middles)), dtype=np.bool_)
    for i, cell in enumerate(cells):
        for k, (a, b) in enumerate(middles):
            squared = 0.0
            for axis in range(3):
                middle = (positions[cell[a], axis] + positions[cell[b], axis]) / 2
                squared += (middle - centres[i, axis]) ** 2
            # Radii differ by no more than the distance between the balls.
            may[i, k] = radii[i] + np.sqrt(squared) > (1 + TOUCHING) * found[i]
    return may


def _radii(balls: NDArray[np.float64], surface: Boundary, threads: int) -> NDArray[np.float64]:
    """Distances (b,) from points in the material to its surface."""
    # To the surface, they are the inner nodes of a finer mesh.
    inside = surface._replace(is_surface_node=np.zeros(len(balls), dtype=bool))
    return -node_distance(balls, inside, threads)[0]


def _largest_around(
    queries: NDArray[np.float64],
    balls: NDArray[np.float64],
    radii: NDArray[np.float64],
    known: NDArray[np.float64],
    threads: int,
) -> NDArray[np.float64]:
    """Radius (k,) of the largest ball that contains each query, or the known radius if none is larger."""
    tree = box_tree(balls, balls)
    spheres = np.concatenate([balls, radii[:, None]], axis=1)[tree.order]
    largest = _largest_of_boxes(radii[tree.order], LEAF_SIZE, len(tree.low))
    order = morton_order(queries)
    ordered, found = queries[order], known[order]

    def kernel(start: int, stop: int) -> None:
        _search(ordered[start:stop], spheres, tree.low, tree.high, largest, LEAF_SIZE, found[start:stop])

    in_chunks(kernel, len(queries), threads)
    unordered = np.empty_like(found)
    unordered[order] = found
    return unordered


@njit(cache=True, nogil=True)
def _largest_of_boxes(radii: NDArray[np.float64], leaf_size: int, box_count: int) -> NDArray[np.float64]:
    largest = np.zeros(box_count)
    first_leaf = box_count // 2
    for item in range(len(radii)):
        box = first_leaf + item // leaf_size
        largest[box] = max(largest[box], radii[item])
    for box in range(first_leaf - 1, -1, -1):
        largest[box] = max(largest[2 * box + 1], largest[2 * box + 2])
    return largest


@njit(cache=True, nogil=True)
def _search(
    queries: NDArray[np.float64],
    spheres: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    largest: NDArray[np.float64],
    leaf_size: int,
    found: NDArray[np.float64],
) -> None:
    first_leaf = len(low) // 2
    stack = np.empty(64, dtype=np.int64)
    last = 0
    for q in range(len(queries)):
        query = queries[q]
        best = found[q]
        # The ball around the last query often contains this one too, and prunes most boxes.
        if spheres[last, 3] > best and _within(spheres[last, 3], spheres[last], spheres[last], query):
            best = spheres[last, 3]
        stack[0], size = 0, 1
        while size:
            size -= 1
            box = stack[size]
            if largest[box] <= best or not _within(largest[box], low[box], high[box], query):
                continue
            if box < first_leaf:
                larger = 1 if largest[2 * box + 1] > largest[2 * box + 2] else 2
                stack[size], stack[size + 1] = 2 * box + 3 - larger, 2 * box + larger
                size += 2
                continue
            item = (box - first_leaf) * leaf_size
            for ball in range(item, min(item + leaf_size, len(spheres))):
                radius = spheres[ball, 3]
                if radius > best and _within(radius, spheres[ball], spheres[ball], query):
                    best, last = radius, ball
        found[q] = best


@njit(cache=True, nogil=True)
def _within(
    radius: float, low: NDArray[np.float64], high: NDArray[np.float64], query: NDArray[np.float64]
) -> bool:
    """Whether a ball of a given radius about the nearest point of a box contains a query."""
    squared = 0.0
    for axis in range(3):
        offset = max(low[axis] - query[axis], query[axis] - high[axis], 0.0)
        squared += offset * offset
    return squared < ((1 - TOUCHING) * radius) ** 2
