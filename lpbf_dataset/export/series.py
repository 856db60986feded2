"""The build of a part over time, for ParaView: a ``.pvd`` collection of one ``.vtu`` a step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lpbf_dataset.export.files import check_case_id, written_whole
from lpbf_dataset.export.vtk import write_case_vtu
from lpbf_dataset.sources.steps import case_at_step

if TYPE_CHECKING:
    from os import PathLike

    from lpbf_dataset.sources.base import RawCase


def export_pvd(case: RawCase, folder: str | PathLike[str]) -> Path:
    """Write the steps of a simulation as ``<case id>.pvd``, which ParaView opens as a series over time.

    The collection lists ``<case id>/<number>_<kind>.vtu`` for each step, at its process time in seconds:
    what is built by then, without the plate, with all fields as `export_vtu` writes them.

    Parameters
    ----------
    case : RawCase
        The simulation, for example of `lpbf_dataset.sources.netfabb.NetfabbSource`.
    folder : path
        Where to write; files that are there are replaced.

    Returns
    -------
    Path
        The collection, which appears when all of its files are there.

    Raises
    ------
    CaseError
        If the results cannot be read.
    ExportError
        If the id of the case cannot name a file, or the folder cannot be one.
    """
    check_case_id(case.case_id)
    steps = case.steps()
    digits = len(str(max(step.number for step in steps)))
    root = ET.Element("VTKFile", type="Collection", version="0.1")
    collection = ET.SubElement(root, "Collection")
    for step in steps:
        name = f"{case.case_id}/{step.number:0{digits}}_{step.kind}.vtu"
        with written_whole(Path(folder, name)) as partial:
            write_case_vtu(case_at_step(case, step), partial)
        ET.SubElement(collection, "DataSet", timestep=repr(step.time), part="0", file=name)
    path = Path(folder, f"{case.case_id}.pvd")
    with written_whole(path) as partial:
        ET.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)
    return path
