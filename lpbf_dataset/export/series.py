"""The build of a part over time, for ParaView."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lpbf_dataset.case import Case
from lpbf_dataset.export.files import ExportError, check_case_id, written_whole
from lpbf_dataset.export.vtk import write_case_vtu
from lpbf_dataset.export.vtkhdf import SeriesWriter
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.steps import case_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from lpbf_dataset.sources.base import RawCase
    from lpbf_dataset.steps import CaseStep

logger = logging.getLogger(__name__)


def export_pvd(case: RawCase | Case, folder: str | PathLike[str]) -> Path:
    """Write the steps of a build as ``<case id>.pvd``, which ParaView opens as a series over time.

    The collection lists ``<case id>/<number>_<kind>.vtu`` for each step, at its process time in seconds:
    what is built by then, without the plate, with all fields as `export_vtu` writes them.  Steps count from
    1; missing ones are left out, which the log tells.

    Parameters
    ----------
    case : RawCase or Case
        The simulation, for example of `lpbf_dataset.sources.netfabb.NetfabbSource`; or a case of a store
        with its history.
    folder : path
        Where to write; files that are there are replaced.

    Returns
    -------
    Path
        The collection, which appears when all of its files are there.

    Raises
    ------
    CaseError
        If the results, or all steps of them, cannot be read.
    ExportError
        If the id of the case cannot name a file, the folder cannot be one, or the case has no steps.
    StoreError
        If the store is damaged.
    """
    check_case_id(case.case_id)
    root = ET.Element("VTKFile", type="Collection", version="0.1")
    collection = ET.SubElement(root, "Collection")
    for step in _whole_steps(case):
        name = f"{case.case_id}/{step.index + 1:04}_{step.kind}.vtu"
        with written_whole(Path(folder, name)) as partial:
            write_case_vtu(step, partial)
        ET.SubElement(collection, "DataSet", timestep=repr(step.time), part="0", file=name)
    path = Path(folder, f"{case.case_id}.pvd")
    with written_whole(path) as partial:
        ET.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)
    return path


def export_vtkhdf_series(case: RawCase | Case, folder: str | PathLike[str]) -> Path:
    """Write the steps of a build as ``<case id>.series.vtkhdf``, one file with all of them over time.

    As `export_pvd` otherwise, with the same points, cells and fields.  Consecutive steps on one mesh share
    it in the file.  Kind, height and layer group of each step are field data, which ParaView can put into
    the picture.  Needs the ``export`` extra.
    """
    import h5py  # type: ignore[import-untyped]

    check_case_id(case.case_id)
    path = Path(folder, f"{case.case_id}.series.vtkhdf")
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        series = SeriesWriter(file, case)
        for step in _whole_steps(case):
            series.append(step)
        series.finish()
    return path


def _whole_steps(case: RawCase | Case) -> Iterator[CaseStep]:
    """Read the steps that are there one at a time, and tell of the others."""
    if isinstance(case, Case) and not case.steps:
        raise ExportError(
            f"case {case.case_id} holds its final state alone; build its store with lpbf-build --steps all"
        )
    count = 0
    for step in case.steps if isinstance(case, Case) else case_steps(case):
        if step.is_missing:
            place = f"step {step.index + 1} ({step.kind})"
            logger.warning("case %s: %s is missing and left out: %s", case.case_id, place, step.fault)
        else:
            count += 1
            yield step
    if not count:
        raise CaseError(FailureReason.MALFORMED_FILE, f"case {case.case_id} has no step that can be read")
