"""A part as the case that its simulation would become: same mesh, same features, no fields yet."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.case import Case
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.mesh import cell_volumes, unique_edges
from lpbf_dataset.simulation.job import VOLUME_TOLERANCE
from lpbf_dataset.simulation.octree import build_mesh
from lpbf_dataset.simulation.plan import planned_steps, submesh
from lpbf_dataset.simulation.process import set_down
from lpbf_dataset.simulation.voxels import drop_islands, voxelise
from lpbf_dataset.sources.base import Surface, parent_design
from lpbf_dataset.sources.part_files import place_on_plate, plate_frame
from lpbf_dataset.steps import HistoryInMemory, Steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from trimesh import Trimesh

    from lpbf_dataset.features import SdfSurface
    from lpbf_dataset.simulation.job import PartSetup
    from lpbf_dataset.simulation.process import HasTriangles
    from lpbf_dataset.simulation.settings import SimulationSettings
    from lpbf_dataset.sources.part_files import PartGeometry

NOT_SIMULATED = "part"
"""Source of a case that nothing has computed fields for."""


@dataclass(frozen=True, eq=False)
class PlacedPart:
    """A part on the plate.

    Parameters
    ----------
    name : str
        Of the part.
    surface : trimesh.Trimesh
        As it would be printed, in mm: z up, the plate at z = 0, centred on the z axis.
    frame : (4, 4) float64 ndarray
        Where it was turned and moved to from its file, without what scales it: the inverse brings a surface
        back to where the part lies in the file, at the size at which it is printed.
    warnings : tuple of str
        What was odd about the file, and what was done about it.
    """

    name: str
    surface: Trimesh
    frame: NDArray[np.float64]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MeshedPart:
    """A part with its mesh.

    Parameters
    ----------
    case : Case
        Points, cells, edges and features, in the order in which a store has them, and the planned steps.
    warnings : tuple of str
        What a user should know about how the mesh stands for the part.
    seconds : dict of str to float
        Wall time: "mesh" and "features".
    """

    case: Case
    warnings: tuple[str, ...]
    seconds: dict[str, float]


def place_part(part: PartGeometry, setup: PartSetup) -> PlacedPart:
    """Put a part on the plate as the solver does.

    Parameters
    ----------
    part : PartGeometry
        As it was read.
    setup : PartSetup
        Its scale and orientation.

    Raises
    ------
    ValueError
        If these make no sense; see `place_on_plate`.
    """
    frame = plate_frame(part.mesh, setup.scale_to, setup.orient)
    frame[:3, :3] /= np.cbrt(np.linalg.det(frame[:3, :3]))
    placed = place_on_plate(part.mesh, setup.scale_to, setup.orient)
    return PlacedPart(part.name, placed, frame, tuple(part.warnings))


def mesh_part(
    name: str,
    surface: HasTriangles,
    settings: SimulationSettings,
    *,
    features: bool = True,
    steps: bool = False,
    sdf_surface: SdfSurface = "mesh",
) -> MeshedPart:
    """Mesh a part as `lpbf_dataset.simulation.process.simulate` does, and keep what it is stored with.

    Parameters
    ----------
    name : str
        Case id.
    surface : Surface or trimesh.Trimesh
        Closed, in mm, z up; it is set down on the plate.
    settings : SimulationSettings
        How it is meshed.
    features : bool
        Whether the case gets the geometry features.
    steps : bool
        Whether the case gets the steps of its build, `Case.steps`, without fields.
    sdf_surface : {"mesh", "stl"}
        What their distances are taken to: the surface of the mesh, or that of the part.

    Returns
    -------
    MeshedPart

    Raises
    ------
    CaseError
        If the surface is not closed, needs too fine a grid, or is too thin for the cells.
    """
    started = time.perf_counter()
    triangles = set_down(surface.triangles)
    grid = voxelise(triangles, cell_height=settings.cell_height, group_cells=settings.group_cells)
    grid, islands = drop_islands(grid)
    mesh = build_mesh(grid, group_cells=settings.group_cells, plate_depth=settings.plate_depth)
    _, points, cells = submesh(mesh, mesh.group > 0)
    variables: dict[str, NDArray[np.generic]] = {
        "points": points,
        "cells": cells,
        "edges": unique_edges(cells, len(points)),
    }
    meshed = time.perf_counter()
    if features:
        part = Surface(triangles.astype(np.float32), name) if sdf_surface == "stl" else None
        variables |= geometry_features(points, cells, mesh_surface(points, cells), part)
    case = Case(name, parent_design(name), NOT_SIMULATED, variables)
    if steps:
        history = HistoryInMemory(*lay_out_history(planned_steps(mesh, settings), ()))
        case = replace(case, steps=Steps(case, history))
    seconds = {"mesh": meshed - started, "features": time.perf_counter() - meshed}
    return MeshedPart(case, tuple(_remarks(case, islands, triangles)), seconds)


def _remarks(case: Case, islands: list[int], triangles: NDArray[np.float64]) -> Iterator[str]:
    if islands:
        yield f"left out {sum(islands)} voxels in {len(islands)} places that nothing holds"
    volume = float(np.einsum("ij,ij->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6)
    meshed = float(cell_volumes(case.points, case.cells).sum())
    if abs(meshed / volume - 1.0) > VOLUME_TOLERANCE:
        yield f"the mesh has {meshed / volume:.0%} of the part's volume: features are thinner than the cells"
