"""What the build plate holds, and where it is cut from the part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lpbf_dataset.simulation.octree import OctreeMesh

Region = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]
"""Region of the build plate: given x and y in mm, (n,) float64 each, which places it holds, (n,) bool."""


def plate_supports(mesh: OctreeMesh) -> NDArray[np.bool_]:
    """Find the fixed displacement components, (nodes, 3) bool.

    The bottom of the plate is clamped; its side faces below the build surface slide.
    """
    fixed = np.zeros(mesh.points.shape, dtype=np.bool_)
    low, high = mesh.lattice.min(axis=0), mesh.lattice.max(axis=0)
    below = mesh.lattice[:, 2] < 0
    for axis in (0, 1):
        side = (mesh.lattice[:, axis] == low[axis]) | (mesh.lattice[:, axis] == high[axis])
        fixed[:, axis] = side & below
    fixed[mesh.lattice[:, 2] == low[2]] = True
    return fixed


def cut_cells(mesh: OctreeMesh, region: Region) -> NDArray[np.bool_]:
    """Find the cells that a cut between part and plate takes away.

    They are the uppermost of the plate whose centre lies in the region, so that the edge of the cut
    is as sharp as they are wide: it is best laid where the part does not touch the plate.

    Parameters
    ----------
    mesh : OctreeMesh
    region : callable
        See `Region`.

    Returns
    -------
    (cells,) bool ndarray
    """
    on_top = mesh.corner[:, 2] + mesh.size == 0
    centre = mesh.points[mesh.cells[on_top]].mean(axis=1)
    gone = np.zeros(len(mesh.size), dtype=np.bool_)
    gone[on_top] = region(centre[:, 0], centre[:, 1])
    return gone
