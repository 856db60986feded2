"""The whole process: a part surface in, the state after every step of its printing out."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lpbf_dataset.simulation.inherent_strain import cell_strain, voxel_strain
from lpbf_dataset.simulation.materials import REFERENCE_TEMPERATURE
from lpbf_dataset.simulation.mechanics import Mechanics, rigid_motion
from lpbf_dataset.simulation.octree import OctreeMesh, build_mesh
from lpbf_dataset.simulation.plan import ScheduledStep, build_schedule, group_schedule, submesh
from lpbf_dataset.simulation.plate import cut_cells
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.simulation.stress import stress_fields
from lpbf_dataset.simulation.thermal import Thermal
from lpbf_dataset.simulation.voxels import drop_islands, voxelise
from lpbf_dataset.sources.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from lpbf_dataset.simulation.materials import Material
    from lpbf_dataset.simulation.plate import Region


class HasTriangles(Protocol):
    """A triangulated surface: `lpbf_dataset.sources.base.Surface`, `trimesh.Trimesh`."""

    @property
    def triangles(self) -> NDArray[np.floating]:
        """Corners of the triangles, (n, 3, 3), mm, z up."""


@dataclass(frozen=True)
class SimulationLog:
    """What happened, in numbers.

    Parameters
    ----------
    islands : list of int
        Voxels of each piece left out because it would hang in the powder for good.
    rms_before, rms_after : float
        Volume-weighted RMS displacement after plate removal, before and after the best-fit rigid
        motion was taken out, mm.
    rotation : (3, 3) float64 ndarray
    translation : (3,) float64 ndarray
        That motion, mm: ``moved @ rotation.T + translation``.
    seconds : dict of str to float
        Wall time of each stage.
    """

    islands: list[int]
    rms_before: float
    rms_after: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Simulation:
    """A simulated build.

    Parameters
    ----------
    steps : list of Step
        Two per layer group, ``deposited`` and ``dwelt``, then ``cooled`` and ``removed``, each on
        its own mesh; the last one without the plate.
    voxel_count : int
        Solid voxels of the part, islands left out.
    log : SimulationLog
    cut : Step or None
        What became of the cooled build where it was cut from the plate before the rest was removed;
        not among the steps, which are those of Netfabb.
    """

    steps: list[Step]
    voxel_count: int
    log: SimulationLog
    cut: Step | None = None


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def simulate(
    surface: HasTriangles,
    material: Material,
    settings: SimulationSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    cut: Region | None = None,
) -> Simulation:
    """Print a part on the computer.

    Parameters
    ----------
    surface : Surface or trimesh.Trimesh
        Closed surface of the part in mm, z up; it is set down on the plate.
    material : Material
    settings : SimulationSettings, optional
    progress : callable, optional
        Called with the number of finished steps and of all steps.
    cut : callable, optional
        Region of the plate, as `Region` says, from which the cooled part is cut, say by wire EDM,
        while the rest holds it; the state after it is `Simulation.cut`.

    Returns
    -------
    Simulation

    Raises
    ------
    CaseError
        If the surface is not closed, needs too fine a grid, or is too thin for the cells.
    """
    settings = settings or SimulationSettings()
    clock = _Clock()
    triangles = set_down(surface.triangles)
    with clock.stage("voxels"):
        grid = voxelise(triangles, cell_height=settings.cell_height, group_cells=settings.group_cells)
        grid, islands = drop_islands(grid)
    with clock.stage("mesh"):
        mesh = build_mesh(grid, group_cells=settings.group_cells, plate_depth=settings.plate_depth)
    with clock.stage("inherent strain"):
        voxel, values = voxel_strain(grid, triangles, material.inherent_strain, material.relaxation)
        inherent = cell_strain(mesh, grid, voxel, values)
    build = _Build(
        mesh,
        Mechanics(mesh, material, inherent),
        Thermal(mesh, grid.solid, material),
        settings,
        build_schedule(mesh, settings),
        clock,
        progress or (lambda *_: None),
    )
    for group in range(1, mesh.group_count + 1):
        build.deposit(group)
    loosened = None if cut is None else build.cut(cut)
    log = build.remove_plate(islands)
    return Simulation(build.steps, grid.count, log, loosened)


def set_down(triangles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Move a surface vertically until it stands on z = 0.

    Parameters
    ----------
    triangles : (n, 3, 3) ndarray
        In mm.

    Returns
    -------
    (n, 3, 3) float64 ndarray
        In mm.
    """
    placed = np.array(triangles, dtype=np.float64)
    if len(placed):
        placed[:, :, 2] -= placed[:, :, 2].min()
    return placed


@dataclass
class _Build:
    """The build as it grows, and the steps recorded so far."""

    mesh: OctreeMesh
    mechanics: Mechanics
    thermal: Thermal
    settings: SimulationSettings
    schedule: list[ScheduledStep]
    clock: _Clock
    progress: Callable[[int, int], None]
    steps: list[Step] = field(default_factory=list)
    displacement: NDArray[np.float64] | None = None

    def deposit(self, group: int) -> None:
        """Deposit one group and let it dwell; after the last one, cool the build down."""
        duration, power = group_schedule(self.mesh, group, self.settings)
        is_last = group == self.mesh.group_count
        with self.clock.stage("thermal"):
            temperature = self.thermal.deposit(group, duration=duration, power=power)
        with self.clock.stage("factorisation"):
            self.mechanics.deposit(group, self.displacement)
        cells = self.mesh.active_cells(group)
        rise = temperature - REFERENCE_TEMPERATURE
        strains = [
            self.mechanics.eigenstrain(rise, cells, inherent_until=last) for last in (group - 1, group)
        ]
        if is_last:
            strains.append(self.mechanics.eigenstrain(0.0 * rise, cells, inherent_until=group))
        with self.clock.stage("solution"):
            states = self.mechanics.solve(group, strains)
        self.displacement = states[1]
        for state, strain in zip(states[:2], strains[:2], strict=True):
            self._record(self._state(self._due, state, strain, temperature))
        if is_last:
            cold = np.full_like(temperature, REFERENCE_TEMPERATURE)
            self._record(self._state(self._due, states[2], strains[2], cold))

    def cut(self, region: Region) -> Step:
        """Cut the cooled build from the plate in a region; the rest of the plate holds it."""
        gone = cut_cells(self.mesh, region)
        strain, cold = self._cold_strain()
        with self.clock.stage("cut"):
            displacement = self.mechanics.solve_cut(gone, strain)
        cut = self._due._replace(kind="cut", time=self.steps[-1].time)
        return self._state(cut, displacement, strain, cold, gone=gone)

    def remove_plate(self, islands: list[int]) -> SimulationLog:
        """Take the plate away and the rigid motion out; return the log of the whole build."""
        mesh = self.mesh
        strain, cold = self._cold_strain()
        with self.clock.stage("removal"):
            displacement = self.mechanics.solve_removed(strain)
        part = slice(mesh.cell_range(1).start, len(mesh.size))
        volume = np.zeros(len(mesh.points))
        np.add.at(volume, mesh.cells[part], mesh.volume[part, None] / 8.0)
        rotation, translation = rigid_motion(mesh.points, displacement, volume)
        fitted = (mesh.points + displacement) @ rotation.T + translation - mesh.points
        gone = mesh.group == 0
        self._record(self._state(self._due, displacement, strain, cold, gone=gone, fitted=fitted))
        before, after = (
            float(np.sqrt(np.average((u**2).sum(axis=1), weights=volume))) for u in (displacement, fitted)
        )
        return SimulationLog(islands, before, after, rotation, translation, self.clock.seconds)

    def _cold_strain(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eigenstrain, (cells, 6), and temperature, (nodes,), of the whole build once it is cold."""
        mesh = self.mesh
        cold = np.full(len(mesh.points), REFERENCE_TEMPERATURE)
        every = slice(0, len(mesh.size))
        return self.mechanics.eigenstrain(0.0 * cold, every, inherent_until=mesh.group_count), cold

    @property
    def _due(self) -> ScheduledStep:
        """The step to record next."""
        return self.schedule[len(self.steps)]

    def _state(
        self,
        step: ScheduledStep,
        displacement: NDArray[np.float64],
        strain: NDArray[np.float64],
        temperature: NDArray[np.float64],
        *,
        gone: NDArray[np.bool_] | None = None,
        fitted: NDArray[np.float64] | None = None,
    ) -> Step:
        """Put the state into a step; `fitted` is the displacement to report where it differs."""
        with self.clock.stage("stress"):
            elastic = self.mechanics.nodal_strain(step.group, displacement, strain, gone)
            left = self.mesh.group <= step.group
            nodes, points, cells = submesh(self.mesh, left if gone is None else left & ~gone)
            fields = {
                "displacement": (displacement if fitted is None else fitted)[nodes].astype(np.float32),
                "temperature": temperature[nodes].astype(np.float32),
                **stress_fields(elastic[nodes], self.mechanics.elastic),
            }
        return Step(step.number, step.kind, step.time, points, cells, fields)

    def _record(self, state: Step) -> None:
        """Keep a step."""
        self.steps.append(state)
        self.progress(len(self.steps), len(self.schedule))
