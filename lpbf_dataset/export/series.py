"""The build of a part over time, for ParaView: a ``.pvd`` collection of one ``.vtu`` a step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from lpbf_dataset.case import Case
from lpbf_dataset.export.files import ExportError, check_case_id, written_whole
from lpbf_dataset.export.vtk import write_case_vtu
from lpbf_dataset.sources.steps import case_at_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from lpbf_dataset.sources.base import RawCase


class _State(NamedTuple):
    name: str
    time: float
    case: Case


def export_pvd(case: RawCase | Case, folder: str | PathLike[str]) -> Path:
    """Write the steps of a simulation as ``<case id>.pvd``, which ParaView opens as a series over time.

    The collection lists ``<case id>/<number>_<kind>.vtu`` for each step, at its process time in seconds:
    what is built by then, without the plate, with all fields as `export_vtu` writes them.

    Parameters
    ----------
    case : RawCase or Case
        The simulation, for example of `lpbf_dataset.sources.netfabb.NetfabbSource`, with steps numbered as
        there; or a case of a store with its history, whose steps count from 1 and leave out missing ones.
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
        If the id of the case cannot name a file, the folder cannot be one, or the case has no steps.
    StoreError
        If the store is damaged.
    """
    check_case_id(case.case_id)
    states = _stored_states(case) if isinstance(case, Case) else _computed_states(case)
    root = ET.Element("VTKFile", type="Collection", version="0.1")
    collection = ET.SubElement(root, "Collection")
    for state in states:
        name = f"{case.case_id}/{state.name}.vtu"
        with written_whole(Path(folder, name)) as partial:
            write_case_vtu(state.case, partial)
        ET.SubElement(collection, "DataSet", timestep=repr(state.time), part="0", file=name)
    path = Path(folder, f"{case.case_id}.pvd")
    with written_whole(path) as partial:
        ET.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)
    return path


def _computed_states(raw: RawCase) -> Iterator[_State]:
    steps = raw.steps()
    digits = len(str(max(step.number for step in steps)))
    for step in steps:
        yield _State(f"{step.number:0{digits}}_{step.kind}", step.time, case_at_step(raw, step))


def _stored_states(case: Case) -> Iterator[_State]:
    if not case.steps:
        raise ExportError(
            f"case {case.case_id} holds its final state alone; build its store with lpbf-build --steps all"
        )
    digits = len(str(len(case.steps)))
    for step in case.steps:
        if not step.is_missing:
            yield _State(f"{step.index + 1:0{digits}}_{step.kind}", step.time, step)
