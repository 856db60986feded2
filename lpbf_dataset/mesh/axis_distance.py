"""Distance from the nodes of a mesh to where the material ends along the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.cell_lines import line_distances
from lpbf_dataset.mesh.lattice import find_lattice
from lpbf_dataset.mesh.lattice_lines import aligned_distances, is_along_axes
from lpbf_dataset.mesh.lattice_rays import lattice_distances
from lpbf_dataset.mesh.quality import cell_volumes
from lpbf_dataset.mesh.topology import HEXAHEDRON_EDGES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def axis_distances(
    points: NDArray[np.floating], cells: NDArray[np.integer], threads: int = 1
) -> NDArray[np.float64]:
    """Distance from each node to the first exit from the material along -x, -y, -z, +x, +y, +z.

    The material is the closed union of the cells.  So a ray that runs in a face, or along an edge, stays
    in the material as far as the face or edge does; a ray that leaves a surface node outwards has length
    0; and cells that touch, if only in an edge or a corner through which the ray passes, leave no gap.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, in any unit of length.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order, with flat faces.
    threads : int
        Threads that share the work.

    Returns
    -------
    (n, 6) float64 ndarray
        In the unit of `points`.  0 for nodes of no cell.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, or a cell is inverted, flat or not finite.
    """
    volumes = cell_volumes(points, cells)
    if not (volumes > 0).all():
        raise ValueError(f"cell {int(np.argmin(volumes > 0))} is inverted, flat or not finite")
    distances = np.zeros((len(points), 6))
    if not len(cells):
        return distances
    is_used = np.zeros(len(points), dtype=bool)
    is_used[cells] = True
    positions = np.asarray(points, dtype=np.float64)[is_used]
    local = (np.cumsum(is_used) - 1)[cells]
    rounding = float(np.finfo(np.float32).eps * np.abs(positions).max())
    shortest_edge = _shortest_edge(positions, local)
    lattice = find_lattice(positions, local, shortest_edge, rounding)
    values = None
    if lattice is not None and is_along_axes(lattice):
        values = aligned_distances(lattice, threads)
    if lattice is not None and values is None:
        values = lattice_distances(positions, local, lattice, rounding, threads)
    if values is None:
        values = line_distances(positions, local, shortest_edge, rounding, threads)
    distances[is_used] = values
    return distances


@njit(cache=True, nogil=True)
def _shortest_edge(positions: NDArray[np.float64], cells: NDArray[np.int64]) -> float:
    shortest = np.inf
    for cell in cells:
        for a, b in HEXAHEDRON_EDGES:
            squared = 0.0
            for axis in range(3):
                squared += (positions[cell[a], axis] - positions[cell[b], axis]) ** 2
            shortest = min(shortest, squared)
    return np.sqrt(shortest)
