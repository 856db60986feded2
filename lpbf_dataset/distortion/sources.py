"""Where a displacement comes from: the solver, or anything else that tells it for a surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from trimesh import Trimesh

from lpbf_dataset.mesh.surface_field import SurfaceInterpolator
from lpbf_dataset.simulation.process import simulate

if TYPE_CHECKING:
    from lpbf_dataset.simulation.materials import Material
    from lpbf_dataset.simulation.settings import SimulationSettings

DisplacementSource = Callable[[Trimesh], NDArray[np.floating]]
"""Given a surface in mm as it would be printed, z up, the displacement of its vertices once it has cooled and
left the plate, (v, 3) in mm, up to a rigid motion.  A component that is not known is zero: it is then neither
measured nor compensated."""


def simulated_displacement(
    material: Material, settings: SimulationSettings | None = None
) -> DisplacementSource:
    """Displacement from the embedded solver.

    Parameters
    ----------
    material : Material
        What the part is made of.
    settings : SimulationSettings, optional
        How it is printed and meshed.

    Returns
    -------
    DisplacementSource
        Raises `CaseError` where the solver does.
    """

    def displacement(surface: Trimesh) -> NDArray[np.float64]:
        removed = simulate(surface, material, settings).steps[-1]
        return displacement_at(surface, removed.points, removed.cells, removed.fields["displacement"])

    return displacement


def displacement_at(
    surface: Trimesh,
    points: NDArray[np.floating],
    cells: NDArray[np.integer],
    displacement: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Bring a displacement from the mesh of a part to the vertices of its surface.

    Parameters
    ----------
    surface : trimesh.Trimesh
        The part in mm, where the user put it.
    points : (n, 3) float ndarray
        Nodes of the mesh that was made from it after `set_down`, so that z = 0 is its lowest point, in mm.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron.
    displacement : (n, ...) float ndarray
        Of each node, in mm; or any other field.

    Returns
    -------
    (v, ...) float64 ndarray
        See `SurfaceInterpolator`.
    """
    standing = np.array(surface.vertices, dtype=np.float64)
    standing[:, 2] -= surface.bounds[0, 2]
    return SurfaceInterpolator(points, cells)(displacement, standing).values
