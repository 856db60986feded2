"""The steps of a build as they are known before anything is solved: what is there, and when."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpbf_dataset.sources.base import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.simulation.octree import OctreeMesh
    from lpbf_dataset.simulation.settings import SimulationSettings

_RECOATING = 0.1
"""Seconds between the end of a dwell and the next deposit, as in Netfabb's results."""

_SETTLING = 50_000.0
"""Seconds that cooling down, and then plate removal, take in Netfabb's results."""


class ScheduledStep(NamedTuple):
    """When a step happens.

    Parameters
    ----------
    number : int
        Of the result, from 1.
    kind : {"deposited", "dwelt", "cooled", "removed", "cut"}
        What the step is, see `lpbf_dataset.sources.base.Step`.
    time : float
        Process time in s.
    group : int
        Layer groups deposited so far.
    """

    number: int
    kind: StepKind
    time: float
    group: int


class Submesh(NamedTuple):
    """Some cells of a mesh with their nodes alone.

    Parameters
    ----------
    nodes : (n,) int64 ndarray
        Which nodes of the whole mesh these are, ascending.
    points : (n, 3) float32 ndarray
        Their positions, mm.
    cells : (m, 8) int32 ndarray
        Nodes of each hexahedron among them, VTK order.
    """

    nodes: NDArray[np.int64]
    points: NDArray[np.float32]
    cells: NDArray[np.int32]


def submesh(mesh: OctreeMesh, chosen: NDArray[np.bool_]) -> Submesh:
    """Take some cells out of a mesh.

    Parameters
    ----------
    mesh : OctreeMesh
        The whole.
    chosen : (cells,) bool ndarray
        Which of its cells.
    """
    nodes, corners = np.unique(mesh.cells[chosen], return_inverse=True)
    return Submesh(
        nodes.astype(np.int64),
        mesh.points[nodes].astype(np.float32),
        corners.reshape(-1, 8).astype(np.int32),
    )


def group_schedule(mesh: OctreeMesh, group: int, settings: SimulationSettings) -> tuple[float, float]:
    """How long a layer group takes, and the heat that goes into it meanwhile.

    Returns
    -------
    duration : float
        Scanning and dwelling of all its layers, s.
    power : float
        Absorbed laser power, averaged over the duration, W.
    """
    cells = mesh.cell_range(group)
    top = (mesh.corner[cells, 2] + mesh.size[cells]).max()
    height = (top - (group - 1) * mesh.group_cells) * mesh.cell[2]
    layers = height / settings.layer_thickness
    area = mesh.volume[cells].sum() / height
    scanning = layers * area / (settings.hatch * settings.scan_speed)
    duration = layers * settings.dwell + scanning
    return float(duration), float(settings.absorption * settings.laser_power * scanning / duration)


def build_schedule(mesh: OctreeMesh, settings: SimulationSettings) -> list[ScheduledStep]:
    """List the steps of a build: two per layer group, then cooling down and plate removal.

    Parameters
    ----------
    mesh : OctreeMesh
        Part and plate.
    settings : SimulationSettings
        How it is printed.
    """
    moments: list[tuple[StepKind, float, int]] = []
    time, last = 0.0, mesh.group_count
    for group in range(1, last + 1):
        moments.append(("deposited", max(time, _RECOATING / 10.0), group))
        time += group_schedule(mesh, group, settings)[0]
        moments.append(("dwelt", time if group == last else time - _RECOATING, group))
    for kind in ("cooled", "removed"):
        time += _SETTLING
        moments.append((kind, time, last))
    return [ScheduledStep(number, *moment) for number, moment in enumerate(moments, start=1)]


def planned_steps(mesh: OctreeMesh, settings: SimulationSettings) -> Iterator[Step]:
    """Yield every step of a build without fields, on the mesh of the part then, without the plate.

    Parameters
    ----------
    mesh : OctreeMesh
        Part and plate.
    settings : SimulationSettings
        How it is printed.
    """
    for group, steps in itertools.groupby(build_schedule(mesh, settings), key=lambda step: step.group):
        part = submesh(mesh, (mesh.group > 0) & (mesh.group <= group))
        for step in steps:
            yield Step(step.number, step.kind, step.time, part.points, part.cells, {})
