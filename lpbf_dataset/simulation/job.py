"""Simulating parts one by one or many at a time, each into a result folder that is never half written."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import lpbf_dataset
from lpbf_dataset.engine import SerialEngine, TaskError
from lpbf_dataset.mesh import aspect_ratios, cell_volumes
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.simulation.results import write_failure, write_success
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.netfabb import LOG_FILE, PROVENANCE_FILE
from lpbf_dataset.sources.netfabb.log import failure
from lpbf_dataset.sources.part_files import PartGeometry, place_on_plate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.engine import Engine
    from lpbf_dataset.simulation.materials import Material
    from lpbf_dataset.simulation.process import Simulation


VOLUME_TOLERANCE = 0.1
"""Relative error of the meshed volume above which a user is warned; voxels at 60 mm keep it under 3 %."""

MAX_ASPECT_RATIO = 3.0
"""Aspect ratio of cells above which the published selection rejects a case (FLARE, arXiv 2508.12594)."""


class PartSource(Protocol):
    """A part that has not been read yet; picklable."""

    @property
    def name(self) -> str:
        """Unique name of the part, which becomes that of its result folder."""

    def read(self) -> PartGeometry:
        """Read the part.  Raises `CaseError`."""


@dataclass(frozen=True)
class PartSetup:
    """How a part is placed on the plate, of what and how it is printed.

    Parameters
    ----------
    material : Material
        What it is made of.
    settings : SimulationSettings
        How it is printed and meshed.
    scale_to : float or None
        Length of its longest edge in mm; None keeps its size.
    orient : str or tuple of 3 float
        Axis of the part that points up, or angles in degrees; see `place_on_plate`.
    """

    material: Material
    settings: SimulationSettings = field(default_factory=SimulationSettings)
    scale_to: float | None = None
    orient: str | tuple[float, float, float] = "as-is"


@dataclass(frozen=True)
class Outcome:
    """What became of one part.

    Parameters
    ----------
    name : str
        Name of the part.
    status : {"simulated", "reused", "failed"}
        Whether it was simulated now, had been before with the same input, or cannot be.
    detail : str
        Reason of a failure, else empty.
    warnings : tuple of str
        What was odd about the part, and what was done about it.
    """

    name: str
    status: Literal["simulated", "reused", "failed"]
    detail: str = ""
    warnings: tuple[str, ...] = ()


def simulate_parts(
    parts: Sequence[PartSource], setup: PartSetup, output: Path, engine: Engine | None = None
) -> Iterator[Outcome]:
    """Simulate parts into ``output/<name>``.

    A part that was simulated there before with the same surface, setup and version of the solver
    is left as it is.

    Parameters
    ----------
    parts : sequence of PartSource
        What to simulate; names are unique.
    setup : PartSetup
        How, the same for all.
    output : Path
        Folder of the result folders; workers on other machines reach it by the same absolute path.
    engine : Engine, optional
        Simulates several at a time, see `share_cores`; by default one after the other in this process.

    Yields
    ------
    Outcome
        Of each part, as they finish.  One whose process was killed, or ran out of time, has failed.
    """
    output = output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    simulate_one = functools.partial(simulate_part, setup=setup, output=output)
    for index, result in (engine or SerialEngine()).map(simulate_one, parts):
        yield _given_up(parts[index].name, setup, output, result) if isinstance(result, TaskError) else result


@contextmanager
def share_cores(workers: int) -> Iterator[None]:
    """Let the solver use its share of the cores in each worker process of an engine that is opened meanwhile.

    An engine gives each process one thread, which would leave cores idle where processes are fewer.  What
    the user set in ``MKL_NUM_THREADS`` or ``OMP_NUM_THREADS`` prevails.

    Parameters
    ----------
    workers : int
        Processes at work at a time, at least 1.
    """
    # Inherited by the processes, and read by MKL when the first part loads it.
    name = "MKL_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    try:
        yield
    finally:
        del os.environ[name]


def simulate_part(part: PartSource, setup: PartSetup, output: Path) -> Outcome:
    """Simulate one part into ``output/<name>``, whole or not at all.

    Parameters
    ----------
    part : PartSource
        What to simulate.
    setup : PartSetup
        How.
    output : Path
        Folder of the result folders, which exists.

    Returns
    -------
    Outcome
        A part that cannot be simulated is a failed outcome, with a log that says why, not an error.
    """
    folder, partial = output / part.name, _beside(output / part.name, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    provenance = _describe(part.name, setup)
    warnings: list[str] = []
    try:
        geometry = part.read()
        warnings += geometry.warnings
        placed = place_on_plate(geometry.mesh, setup.scale_to, setup.orient)
        triangles = placed.triangles
        provenance["surface"] = hashlib.sha256(triangles.astype("<f4").tobytes()).hexdigest()
        if _is_done(folder, provenance):
            return Outcome(part.name, "reused", warnings=tuple(warnings))
        simulation = simulate(_Surface(triangles), setup.material, setup.settings)
        warnings += _remarks(simulation, placed.volume)
        partial.mkdir()
        write_success(partial, part.name, triangles, simulation, provenance, warnings)
    except CaseError as error:
        outcome = Outcome(part.name, "failed", str(error), tuple(warnings))
        partial.mkdir()
        write_failure(partial, part.name, str(error), provenance, warnings)
    else:
        outcome = Outcome(part.name, "simulated", warnings=tuple(warnings))
    _put_in_place(partial, folder)
    return outcome


def _given_up(name: str, setup: PartSetup, output: Path, error: TaskError) -> Outcome:
    """Record why the process that simulated a part ended early."""
    reason = str(CaseError(FailureReason(error.kind), error.detail))
    folder = output / name
    # Not the folder of unfinished results: a process that is overdue may write there until it is killed.
    record = _beside(folder, "given_up")
    shutil.rmtree(record, ignore_errors=True)
    record.mkdir()
    write_failure(record, name, reason, _describe(name, setup), ())
    _put_in_place(record, folder)
    shutil.rmtree(_beside(folder, "partial"), ignore_errors=True)
    return Outcome(name, "failed", reason)


def _beside(folder: Path, role: str) -> Path:
    """Path of a hidden folder that grows beside the one it will become."""
    return folder.with_name(f".{folder.name}.{role}")


def _put_in_place(grown: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    grown.rename(folder)


def _remarks(simulation: Simulation, volume: float) -> Iterator[str]:
    """Yield what a user should know about how the mesh stands for the part, whose volume is in mm3."""
    if islands := simulation.log.islands:
        yield f"left out {sum(islands)} voxels in {len(islands)} places that nothing holds"
    part = simulation.steps[-1]
    meshed = float(cell_volumes(part.points, part.cells).sum())
    if abs(meshed / volume - 1.0) > VOLUME_TOLERANCE:
        yield f"the mesh has {meshed / volume:.0%} of the part's volume: features are thinner than the cells"
    if (ratio := float(aspect_ratios(part.points, part.cells).max())) > MAX_ASPECT_RATIO:
        yield f"cells have an aspect ratio of {ratio:.1f}: the part is narrow, choose a smaller finest cell"


@dataclass(frozen=True)
class _Surface:
    triangles: NDArray[np.float64]


def _describe(name: str, setup: PartSetup) -> dict[str, object]:
    """Everything that decides the result but the surface itself, as JSON values."""
    return json.loads(json.dumps({"part": name, "version": lpbf_dataset.__version__, **asdict(setup)}))


def _is_done(folder: Path, provenance: dict[str, object]) -> bool:
    try:
        stored = json.loads((folder / PROVENANCE_FILE).read_bytes())
        log = (folder / LOG_FILE).read_bytes()
    except (OSError, ValueError):
        return False
    return all(stored.get(key) == value for key, value in provenance.items()) and failure(log) is None
