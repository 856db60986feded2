"""The ``.case`` file of EnSight Gold: which files hold which variable at which time.

Format: EnSight User Manual, chapter "EnSight Gold Casefile Format".
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Literal

from lpbf_dataset.sources.ensight.records import EnsightError

if TYPE_CHECKING:
    from collections.abc import Mapping

Location = Literal["node", "element"]

COMPONENTS = {"scalar": 1, "vector": 3, "tensor symm": 6, "tensor asym": 9}
"""Numbers per node or element of each kind of variable."""

_SECTIONS = {"FORMAT", "GEOMETRY", "VARIABLE", "TIME", "FILE", "MATERIAL", "SCRIPTS", "BLOCK_CONTINUATION"}
_NUMBER = r"(?:([0-9]{1,9})\s+)?"
_MODEL = re.compile(rf"model\s*:\s*{_NUMBER}{_NUMBER}(.+)")
_VARIABLE = re.compile(
    rf"({'|'.join(COMPONENTS)})\s+per\s+(node|element)\s*:\s*{_NUMBER}{_NUMBER}(\S+)\s+(.+)"
)
_WILDCARD = re.compile(r"\*+")


@dataclass(frozen=True)
class TimeSet:
    """A series of times and the numbers that stand for them in file names.

    Parameters
    ----------
    times : tuple of float
        Process time of each step, in the unit of the solver (Netfabb: seconds).
    file_numbers : tuple of int
        What replaces the wildcard of a file name at each step.
    """

    times: tuple[float, ...]
    file_numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.times) != len(self.file_numbers):
            raise EnsightError(f"{len(self.times)} times for {len(self.file_numbers)} file numbers")


@dataclass(frozen=True)
class FileSeries:
    """A file name with a wildcard, and the time set that counts it.

    Parameters
    ----------
    pattern : str
        File name relative to the ``.case`` file; a run of ``*`` stands for the number.
    time_set : int or None
        Number of the time set; None for a file that does not change.
    """

    pattern: str
    time_set: int | None = None

    def file_name(self, number: int) -> str:
        """Name of one file; the number is zero-padded to the length of the wildcard."""
        return _WILDCARD.sub(lambda stars: f"{number:0{len(stars[0])}d}", self.pattern)


@dataclass(frozen=True)
class VariableSeries(FileSeries):
    """The files of one variable.

    Parameters
    ----------
    pattern, time_set
        As in `FileSeries`.
    name : str
        What the solver calls the variable.
    kind : str
        A key of `COMPONENTS`.
    location : {"node", "element"}
        What the values belong to.
    """

    name: str = ""
    kind: str = "scalar"
    location: Location = "node"

    @property
    def components(self) -> int:
        """Numbers per node or element."""
        return COMPONENTS[self.kind]


@dataclass(frozen=True)
class CaseFile:
    """What a ``.case`` file says.

    Parameters
    ----------
    geometry : FileSeries
        The geometry files.
    variables : tuple of VariableSeries
        The variables on nodes and elements; constants and measured data are left out.
    time_sets : mapping of int to TimeSet
        By their number.
    """

    geometry: FileSeries
    variables: tuple[VariableSeries, ...] = ()
    time_sets: Mapping[int, TimeSet] = field(default_factory=dict)


def parse_case(text: str) -> CaseFile:
    """Parse the text of a ``.case`` file.

    Raises
    ------
    EnsightError
        If the text is not an EnSight Gold case, or uses file sets or lists of numbers in other
        files, which are not read here.
    """
    sections: dict[str, list[str]] = defaultdict(list)
    current = ""
    for line in map(str.strip, StringIO(text)):
        if line in _SECTIONS:
            current = line
        elif line and not line.startswith("#"):
            sections[current].append(line)
    if not any(re.fullmatch(r"type\s*:\s*ensight gold", line.lower()) for line in sections["FORMAT"]):
        raise EnsightError("no line 'type: ensight gold' under FORMAT")

    geometry = _geometry(sections["GEOMETRY"])
    variables = tuple(
        VariableSeries(
            pattern=_file_name(match[6]),
            time_set=_time_set_number(match[3], match[4]),
            name=match[5],
            kind=match[1],
            location="node" if match[2] == "node" else "element",
        )
        for match in map(_VARIABLE.fullmatch, sections["VARIABLE"])
        if match
    )
    time_sets = _time_sets(sections["TIME"])
    for series in (geometry, *variables):
        if series.time_set is not None and series.time_set not in time_sets:
            raise EnsightError(f"{series.pattern!r} refers to time set {series.time_set}, which is not given")
    return CaseFile(geometry, variables, time_sets)


def format_case(case: CaseFile) -> str:
    """Text of a ``.case`` file; the inverse of `parse_case`."""
    lines = ["FORMAT", "type: ensight gold", "GEOMETRY", f"model: {_series(case.geometry)}"]
    if case.variables:
        lines.append("VARIABLE")
    lines += [
        f"{variable.kind} per {variable.location}: {_series(variable, variable.name)}"
        for variable in case.variables
    ]
    for number, time_set in case.time_sets.items():
        lines += ["TIME", f"time set: {number}", f"number of steps: {len(time_set.times)}"]
        lines += ["filename numbers:", *(f"{value:12d}" for value in time_set.file_numbers)]
        lines += ["time values:", *(f"{value:24.16E}" for value in time_set.times)]
    return "\n".join(lines) + "\n"


def _series(series: FileSeries, name: str = "") -> str:
    number = "" if series.time_set is None else str(series.time_set)
    return " ".join(word for word in (number, name, series.pattern) if word)


def _geometry(lines: list[str]) -> FileSeries:
    for line in lines:
        if match := _MODEL.fullmatch(line):
            if "change_coords_only" in line:
                raise EnsightError("'change_coords_only' geometry is not supported")
            return FileSeries(_file_name(match[3]), _time_set_number(match[1], match[2]))
    raise EnsightError("no line 'model:' under GEOMETRY")


def _file_name(text: str) -> str:
    return text.strip().strip('"').replace("\\", "/")


def _time_set_number(time_set: str | None, file_set: str | None) -> int | None:
    if file_set is not None:
        raise EnsightError("file sets (several steps in one file) are not supported")
    return None if time_set is None else int(time_set)


def _time_sets(lines: list[str]) -> dict[int, TimeSet]:
    """Split the TIME sections, which each begin with ``time set:``, into time sets."""
    entries: dict[int, dict[str, list[str]]] = {}
    values: list[str] = []
    for line in lines:
        key, colon, rest = line.partition(":")
        if not colon:
            values += line.split()
            continue
        key, values = key.strip(), rest.split()
        if key == "time set":
            current = entries.setdefault(_integer(values[:1], "time set"), {})
        elif not entries:
            raise EnsightError(f"{line!r} stands before any 'time set:'")
        else:
            current[key] = values
    return {number: _time_set(number, entry) for number, entry in entries.items()}


def _time_set(number: int, entry: Mapping[str, list[str]]) -> TimeSet:
    steps = _integer(entry.get("number of steps", []), "number of steps")
    try:
        times = tuple(float(value) for value in entry.get("time values", []))
        file_numbers = tuple(int(value) for value in entry.get("filename numbers", []))
    except ValueError as error:
        raise EnsightError(f"time set {number}: {error}") from None
    if steps != len(times):
        raise EnsightError(f"time set {number} declares {steps} steps and has {len(times)} time values")
    if not file_numbers:
        start = _integer(entry.get("filename start number", ["1"]), "filename start number")
        increment = _integer(entry.get("filename increment", ["1"]), "filename increment")
        file_numbers = tuple(start + increment * step for step in range(steps))
    return TimeSet(times, file_numbers)


def _integer(values: list[str], what: str) -> int:
    if len(values) != 1 or not re.fullmatch(r"-?[0-9]{1,18}", values[0]):
        raise EnsightError(f"'{what}:' needs one integer, not {' '.join(values) or 'nothing'!r}")
    return int(values[0])
