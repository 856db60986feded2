"""Read the results of one Netfabb run step by step, each step on its own mesh."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from lpbf_dataset.sources.base import CaseError, DamagedStep, FailureReason, Step
from lpbf_dataset.sources.ensight import (
    EnsightError,
    Geometry,
    TruncatedError,
    read_case,
    read_geometry,
    read_variable,
)
from lpbf_dataset.sources.netfabb.layout import (
    CASE_FILE,
    LOG_FILE,
    REQUIRED_FIELDS,
    RESULT_NAMES,
    RESULTS_FOLDER,
    ensight_kind,
    find_file,
    join,
)
from lpbf_dataset.sources.netfabb.log import failure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.sources.archive import Archive
    from lpbf_dataset.sources.ensight import CaseFile, FileSeries, TimeSet, VariableSeries


class Results:
    """The results of one run.

    Netfabb writes two results per layer group, just deposited and after its dwell, both on one
    geometry, then the whole build cooled down and the part off the plate, each with a geometry of
    its own.  With S results and G geometries, S - 2 = 2 (G - 2).

    Parameters
    ----------
    archive : Archive
        Where the files are.
    folder : str
        The case folder in it.
    case_id : str
        Name of the case.

    Raises
    ------
    CaseError
        If the solver did not succeed, or its ``.case`` file cannot be used.
    """

    def __init__(self, archive: Archive, folder: str, case_id: str) -> None:
        self._archive = archive
        self._folder = folder
        self._case_id = case_id
        self._geometries: dict[int, Geometry] = {}
        self._check_members()
        name = self._find_case_file()
        self._check_log(unfinished=True)
        self._top = posixpath.dirname(name)
        self._case_name = name
        with self._naming(name):
            self._case: CaseFile = read_case(BytesIO(archive.read(name)))
        self._check_steps()

    @property
    def step_count(self) -> int:
        """Number of results."""
        return len(self._results.times)

    def step(self, index: int, fields: Collection[str] | None) -> Step:
        """Read the state after one step.

        Parameters
        ----------
        index : int
            From 0, in order of time.
        fields : collection of str or None
            Names of the fields to read; None for all that the run has.

        Raises
        ------
        CaseError
            If a file is missing or cannot be read, or a value is not finite.
        """
        geometry = self._geometry(self._geometry_of_step[index])
        number = self._results.file_numbers[index]
        part = geometry.parts[0]
        return Step(
            number=number,
            kind=self._kind(index),
            time=self._results.times[index],
            points=part.points,
            cells=part.cells["hexa8"],
            fields={
                name: self._field(series, number, geometry) for name, series in self._selected(fields).items()
            },
        )

    def step_if_whole(self, index: int, fields: Collection[str] | None) -> Step | DamagedStep:
        """Read the state after one step as `step`, or say what is wrong with it."""
        try:
            return self.step(index, fields)
        except CaseError as error:
            return DamagedStep(
                self._results.file_numbers[index], self._kind(index), self._results.times[index], error
            )

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the nodal fields that the run declares."""
        return tuple(self._fields)

    def _check_members(self) -> None:
        for folder in (self._folder, join(self._folder, RESULTS_FOLDER)):
            if member := self._archive.unsafe_member(folder):
                raise CaseError(
                    FailureReason.UNSAFE_ARCHIVE,
                    f"{self._archive.label(member)}: names a file outside its folder; pack the archive anew",
                )

    def _find_case_file(self) -> str:
        for subfolder in (RESULTS_FOLDER, ""):
            folder = join(self._folder, subfolder)
            if name := find_file(self._archive.files(folder), self._case_id, CASE_FILE):
                return join(folder, name)
        # A log that says why there are no results says more than their absence.
        self._check_log(unfinished=False)
        raise CaseError(
            FailureReason.NO_CASE_FILE,
            f"{self._archive.label(join(self._folder, RESULTS_FOLDER))}: no {CASE_FILE} or *_{CASE_FILE}; "
            "the simulation was not prepared",
        )

    def _check_log(self, *, unfinished: bool) -> None:
        """Raise if the log tells of a failure; `unfinished` includes a log that merely breaks off."""
        name = find_file(self._archive.files(self._folder), self._case_id, LOG_FILE)
        if name is None:
            return
        path = join(self._folder, name)
        if found := failure(self._archive.read(path)):
            reason, remark = found
            if reason is FailureReason.ANALYSIS_UNFINISHED and not unfinished:
                return
            raise CaseError(reason, f"{self._archive.label(path)}: {remark}")

    def _check_steps(self) -> None:
        results, geometries = len(self._results.times), len(self._geometry_times.times)
        if results < 4 or results - 2 != 2 * (geometries - 2):
            self._inconsistent(f"{results} results do not go with {geometries} geometries")
        expected = np.append(np.arange(results - 2) // 2, [geometries - 2, geometries - 1])
        if not np.array_equal(self._geometry_of_step, expected):
            self._inconsistent("the times of results and geometries do not belong together")

    @cached_property
    def _fields(self) -> dict[str, VariableSeries]:
        """The nodal fields of the run, by their names in the schema."""
        names = {result.extension: name for name, result in RESULT_NAMES.items()}
        found = {}
        for series in self._case.variables:
            extension = series.pattern.removesuffix(".ens").rpartition(".")[2]
            if series.location == "node" and extension in names:
                name = names[extension]
                if series.kind != ensight_kind(name):
                    detail = f"{series.name} is a {series.kind}, not a {ensight_kind(name)}"
                    raise CaseError(
                        FailureReason.MALFORMED_FILE, f"{self._archive.label(self._case_name)}: {detail}"
                    )
                found[name] = series
        return found

    @cached_property
    def _results(self) -> TimeSet:
        numbers = {series.time_set for series in self._fields.values()}
        if len(numbers) != 1:
            self._inconsistent("the fields do not share one time set" if numbers else "no nodal fields")
        return self._time_set(numbers.pop())

    @cached_property
    def _geometry_times(self) -> TimeSet:
        return self._time_set(self._case.geometry.time_set)

    @cached_property
    def _geometry_of_step(self) -> NDArray[np.intp]:
        """Index of the latest geometry at the time of each result, (results,)."""
        latest = np.searchsorted(self._geometry_times.times, self._results.times, side="right") - 1
        return latest.astype(np.intp)

    def _time_set(self, number: int | None) -> TimeSet:
        if number is None:
            self._inconsistent("a series of files has no time set")
        time_set = self._case.time_sets[number]
        if not np.isfinite(time_set.times).all() or not np.all(np.diff(time_set.times) > 0):
            self._inconsistent(f"the times of time set {number} do not increase")
        if len(set(time_set.file_numbers)) < len(time_set.times):
            self._inconsistent(f"time set {number} names a file twice")
        return time_set

    def _kind(self, index: int) -> StepKind:
        if index >= self.step_count - 2:
            return "removed" if index == self.step_count - 1 else "cooled"
        return "dwelt" if index % 2 else "deposited"

    def _selected(self, fields: Collection[str] | None) -> dict[str, VariableSeries]:
        if fields is not None and (unknown := set(fields) - RESULT_NAMES.keys()):
            raise ValueError(
                f"no nodal field {', '.join(sorted(unknown))}; there are {', '.join(RESULT_NAMES)}"
            )
        needed = REQUIRED_FIELDS if fields is None else fields
        if missing := sorted(set(needed) - self._fields.keys()):
            raise CaseError(
                FailureReason.MISSING_FILE,
                f"{self._archive.label(self._case_name)}: no result {', '.join(missing)}",
            )
        return {name: series for name, series in self._fields.items() if fields is None or name in fields}

    def _geometry(self, index: int) -> Geometry:
        if index not in self._geometries:
            # Steps come in order of time, so that one geometry at a time is enough to keep.
            self._geometries = {index: self._read_geometry(self._geometry_times.file_numbers[index])}
        return self._geometries[index]

    def _read_geometry(self, number: int) -> Geometry:
        path = self._resolve(self._case.geometry, number)
        with self._naming(path):
            geometry = read_geometry(BytesIO(self._archive.read(path)))
            if len(geometry.parts) != 1 or set(geometry.parts[0].cells) != {"hexa8"}:
                found = [sorted(part.cells) for part in geometry.parts]
                raise EnsightError(f"one part of hexa8 cells is due, not {found}")
            if not np.isfinite(geometry.parts[0].points).all():
                raise EnsightError("a node position is not finite")
        return geometry

    def _field(self, series: VariableSeries, number: int, geometry: Geometry) -> NDArray[np.float32]:
        path = self._resolve(series, number)
        with self._naming(path):
            values = read_variable(BytesIO(self._archive.read(path)), geometry, series.components)
            field = values[geometry.parts[0].number]
            if not (finite := np.isfinite(field)).all():
                raise EnsightError(f"{np.count_nonzero(~finite)} values are not finite")
        return field

    def _resolve(self, series: FileSeries, number: int) -> str:
        """Name in the archive of a file that the ``.case`` file refers to."""
        if "*" not in series.pattern:
            self._inconsistent(f"{series.pattern!r} is one file for all steps")
        reference = series.file_name(number)
        path = posixpath.normpath(posixpath.join(self._top, reference))
        top = f"{self._folder}/" if self._folder else ""
        if path.startswith(("/", "../")) or not path.startswith(top):
            raise CaseError(
                FailureReason.UNSAFE_ARCHIVE,
                f"{self._archive.label(self._case_name)}: refers to {reference!r}, outside the case",
            )
        return path

    def _inconsistent(self, detail: str) -> NoReturn:
        raise CaseError(FailureReason.INCONSISTENT_STEPS, f"{self._archive.label(self._case_name)}: {detail}")

    @contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        """Name the file in the errors of the EnSight reader, as errors of the case."""
        try:
            yield
        except TruncatedError as error:
            raise CaseError(FailureReason.TRUNCATED_FILE, f"{self._archive.label(path)}: {error}") from None
        except EnsightError as error:
            raise CaseError(FailureReason.MALFORMED_FILE, f"{self._archive.label(path)}: {error}") from None
