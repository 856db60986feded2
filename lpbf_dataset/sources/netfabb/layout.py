"""Where a Netfabb run keeps its files, and what it calls its results.

A case is a folder with the part (an STL file), the input and the log of the solver, and a folder
``results``::

    <case_id>/
        part.stl  <prefix>mechanical.in  <prefix>mechanical.out
        results/
            <prefix>mechanical.case
            <prefix>mechanical_<g>.geo
            <prefix>mechanical00_<s>.<extension>.ens

where ``<prefix>`` is ``<case_id>_`` or empty.  Beside it lie files of other analyses with similar names
(``*_mechanical_f.case``, ``*_mechanical_mesh_geom.case``, ``*_thermal.case``), which are not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from lpbf_dataset.schema import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from lpbf_dataset.sources.archive import Archive

RESULTS_FOLDER = "results"
CASE_FILE = "mechanical.case"
LOG_FILE = "mechanical.out"
PROVENANCE_FILE = "provenance.json"
"""Written by other solvers that use the layout of Netfabb; says what computed the results."""


class ResultName(NamedTuple):
    """What Netfabb calls a field.

    Parameters
    ----------
    extension : str
        In file names: ``mechanical00_8.<extension>.ens``.
    title : str
        In the ``.case`` file.
    """

    extension: str
    title: str


RESULT_NAMES = {
    "displacement": ResultName("dis", "Displacement"),
    "cauchy_stress": ResultName("sig", "Cauchy_stress"),
    "von_mises_stress": ResultName("svm", "von_Mises_stress"),
    "principal_stress_max": ResultName("sp1", "Principal_stress_max"),
    "principal_stress_mid": ResultName("sp2", "Principal_stress_mid"),
    "principal_stress_min": ResultName("sp3", "Principal_stress_min"),
    "principal_stress_direction_max": ResultName("sd1", "Principal_stress_direction_max"),
    "principal_stress_direction_mid": ResultName("sd2", "Principal_stress_direction_mid"),
    "principal_stress_direction_min": ResultName("sd3", "Principal_stress_direction_min"),
    "elastic_strain": ResultName("ept", "Elastic_strain"),
    "temperature": ResultName("tmp", "Temperature"),
    "recoater_clearance": ResultName("rct", "Recoater_clearance_%"),
    "recoater_status": ResultName("rcd", "Recoater_status"),
}
"""Nodal fields by their name in `lpbf_dataset.schema.VARIABLES`."""

REQUIRED_FIELDS = tuple(name for name in RESULT_NAMES if not VARIABLES[name].optional)
"""Fields without which a case is of no use."""

_KINDS = {(): "scalar", (3,): "vector", (6,): "tensor symm"}
_RUN_FILE = re.compile(r"(.*_)?(mechanical|thermal)\.(in|out|case)")
_EXTENSIONS = "|".join(name.extension for name in RESULT_NAMES.values())
_HASHED_FILE = re.compile(
    rf"(?:{RESULTS_FOLDER}/)?(?:[^/]*_)?mechanical\.(?:case|out)"
    rf"|{RESULTS_FOLDER}/(?:[^/]*_)?mechanical(?:_[0-9]+\.geo|00_[0-9]+\.(?:{_EXTENSIONS})\.ens)"
    r"|[^/]+\.stl",
    re.IGNORECASE,
)


def ensight_kind(name: str) -> str:
    """Return what EnSight calls the kind of a field: scalar, vector or symmetric tensor."""
    return _KINDS[VARIABLES[name].row_shape]


def part_file(names: Iterable[str], case_id: str) -> str:
    """Choose the file of the part among the files of a case folder.

    Parameters
    ----------
    names : iterable of str
        File names.
    case_id : str
        Name of the case.

    Returns
    -------
    str
        The only STL file; of several, that of the published archives (``test.stl``), then one named
        after the case, then the first; empty if there is none.
    """
    candidates = sorted(name for name in names if name.lower().endswith(".stl"))
    return min(
        candidates, key=lambda name: (name.lower() != "test.stl", not name.startswith(case_id)), default=""
    )


def find_file(names: Collection[str], case_id: str, suffix: str) -> str | None:
    """Find the file ``<prefix><suffix>``, the prefix being ``<case_id>_``, empty, or else any other."""
    candidates = sorted(name for name in names if name == suffix or name.endswith(f"_{suffix}"))
    preferred = (f"{case_id}_{suffix}", suffix)
    return next((name for name in (*preferred, *candidates) if name in candidates), None)


def hashed_files(archive: Archive, folder: str) -> Iterator[str]:
    """Names, relative to the case folder, of the files that make up a case: part, results, log."""
    for subfolder in ("", f"{RESULTS_FOLDER}/"):
        for name in archive.files(join(folder, subfolder.rstrip("/"))):
            if _HASHED_FILE.fullmatch(subfolder + name):
                yield subfolder + name


def join(folder: str, name: str) -> str:
    """Join two names inside an archive, either of which may be empty."""
    return "/".join(filter(None, (folder, name)))


def find_case_folders(archive: Archive) -> dict[str, str]:
    """Find the cases of an archive by their files.

    A folder with files of a Netfabb run is a case, and so is a folder beside one that holds nothing
    but a part: its preparation failed.

    Returns
    -------
    dict of str to str
        Part file, or an empty string, by folder, in order of the folders.
    """
    runs: set[str] = set()
    with_results: set[str] = set()
    parts: dict[str, str] = {}
    for folder, names in archive.walk():
        parent, _, base = folder.rpartition("/")
        case = parent if base == RESULTS_FOLDER else folder
        parts.setdefault(folder, part_file(names, folder.rpartition("/")[2]))
        if any(map(_RUN_FILE.fullmatch, names)):
            runs.add(case)
        if find_file(names, "", CASE_FILE):
            with_results.add(case)
    above = {ancestor for folder in runs for ancestor in _ancestors(folder)}
    # Input templates above many cases are no case, nor is what lies inside one.
    cases = {folder for folder in runs if folder in with_results or folder not in above}
    shelves = {folder.rpartition("/")[0] for folder in cases if folder}
    cases |= {
        folder
        for folder, part in parts.items()
        if part and folder and folder.rpartition("/")[0] in shelves and folder not in above
    }
    outermost = (folder for folder in cases if with_results.isdisjoint(_ancestors(folder)))
    return {folder: parts.get(folder, "") for folder in sorted(outermost)}


def _ancestors(folder: str) -> Iterator[str]:
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder
