"""The result folder of a simulated part: Netfabb's layout, this solver's provenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import lpbf_dataset
from lpbf_dataset.sources.netfabb import LOG_FILE, PROVENANCE_FILE, write_results
from lpbf_dataset.sources.netfabb.log import EMBEDDED_SOLVER_SUCCESS, TERMINATED
from lpbf_dataset.sources.stl import write_stl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.simulation.process import Simulation

SOLVER = "lpbf-solver"
"""Name of this solver, stored as the source of its cases."""


def write_success(
    folder: Path,
    name: str,
    triangles: NDArray[np.floating],
    simulation: Simulation,
    provenance: Mapping[str, object],
    warnings: Sequence[str],
) -> None:
    """Write the results of a simulation, one result set per step, with the part and a log.

    Parameters
    ----------
    folder : Path
        Case folder, which exists.
    name : str
        Name of the part; its surface is written to ``<name>.stl``.
    triangles : (n, 3, 3) ndarray
        Surface of the part as it was simulated, mm.
    simulation : Simulation
        What to write.
    provenance : mapping
        What was simulated and how; JSON values.
    warnings : sequence of str
        What was odd about the part.
    """
    write_results(folder, simulation.steps)
    write_stl(folder / f"{name}.stl", triangles)
    _write_provenance(folder, provenance)
    lines = [*_heading(name, provenance, warnings), *_summary(simulation), EMBEDDED_SOLVER_SUCCESS]
    (folder / LOG_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_failure(
    folder: Path, name: str, reason: str, provenance: Mapping[str, object], warnings: Sequence[str]
) -> None:
    """Write the log of a part that could not be simulated, which ends in the reason.

    Parameters
    ----------
    folder : Path
        Case folder, which exists.
    name : str
        Name of the part.
    reason : str
        One line.
    provenance : mapping
        What was to be simulated and how; JSON values.
    warnings : sequence of str
        What was odd about the part.
    """
    _write_provenance(folder, provenance)
    lines = [*_heading(name, provenance, warnings), f"{TERMINATED}: {reason}"]
    (folder / LOG_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_provenance(folder: Path, provenance: Mapping[str, object]) -> None:
    text = json.dumps({"solver": SOLVER, "version": lpbf_dataset.__version__, **provenance}, indent=2)
    (folder / PROVENANCE_FILE).write_text(text + "\n", encoding="utf-8")


def _heading(name: str, provenance: Mapping[str, object], warnings: Sequence[str]) -> Iterator[str]:
    yield f"{SOLVER}, the embedded solver of lpbf-toolkit {lpbf_dataset.__version__}"
    yield "The files follow the layout of Autodesk Netfabb; no Autodesk software was involved."
    yield f"part: {name}"
    yield from json.dumps(provenance, indent=1)[2:-2].splitlines()
    yield from (f"warning: {warning}" for warning in warnings)


def _summary(simulation: Simulation) -> Iterator[str]:
    log = simulation.log
    last_with_plate, removed = simulation.steps[-2:]
    yield f"voxels: {simulation.voxel_count}"
    yield f"nodes and cells with the plate: {len(last_with_plate.points)}, {len(last_with_plate.cells)}"
    yield f"nodes and cells of the part: {len(removed.points)}, {len(removed.cells)}"
    yield f"steps: {len(simulation.steps)}"
    yield f"RMS displacement after plate removal: {log.rms_before:.7f} mm"
    yield f"RMS displacement after the best-fit rigid motion: {log.rms_after:.7f} mm"
    for stage, seconds in log.seconds.items():
        yield f"seconds for {stage}: {seconds:.2f}"
