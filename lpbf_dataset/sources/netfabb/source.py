"""Netfabb results as a source of cases."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.sources.archive import OTHER_ARCHIVES, FolderArchive, open_archive
from lpbf_dataset.sources.base import UNKNOWN_SOURCE, CaseError, SourceError, Surface, parent_design
from lpbf_dataset.sources.netfabb.layout import (
    CASE_FILE,
    PROVENANCE_FILE,
    find_case_folders,
    hashed_files,
    join,
)
from lpbf_dataset.sources.netfabb.results import Results
from lpbf_dataset.sources.stl import parse_stl

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from lpbf_dataset.sources.base import DamagedStep, Step


@dataclass(frozen=True)
class NetfabbCase:
    """One Netfabb run; opens no file until asked, so that it travels to worker processes.

    Parameters
    ----------
    path : Path
        The zip archive that holds the case, or its folder on disk.
    folder : str
        Its folder in the archive; empty for the top.
    case_id : str
        Unique name of the printed body.
    part_file : str
        STL file in the case folder; empty if there is none.
    """

    path: Path
    folder: str
    case_id: str
    part_file: str = ""

    @property
    def design_id(self) -> str:
        """Name of the parent CAD model."""
        return parent_design(self.case_id, self.part_file)

    @property
    def source(self) -> str:
        """Name of what computed the results: "netfabb", what their provenance names, or "unknown"."""
        try:
            archive = open_archive(self.path)
            if PROVENANCE_FILE not in archive.files(self.folder):
                return "netfabb"
            return str(json.loads(archive.read(join(self.folder, PROVENANCE_FILE)))["solver"])
        except (CaseError, OSError, ValueError, KeyError, TypeError, RecursionError):
            # What is wrong with the files is told when the case is read.
            return UNKNOWN_SOURCE

    @property
    def location(self) -> str:
        """Where the case lies: a folder, or ``archive.zip!folder``."""
        return f"{self.path}!{self.folder}" if self.folder else str(self.path)

    def content_hash(self) -> str:
        """SHA-256 over names, sizes and CRC-32 of the part, the results and the log.

        Of a zip archive only the central directory is read.

        Raises
        ------
        CaseError
            If the case cannot be opened.
        """
        archive = open_archive(self.path)
        digest = hashlib.sha256()
        for name in sorted(hashed_files(archive, self.folder)):
            size, crc32 = archive.size_and_crc32(join(self.folder, name))
            digest.update(f"{name}\0{size}\0{crc32:08x}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def steps(self, fields: Collection[str] | None = None) -> Sequence[Step]:
        """Read every step, each with its own mesh.

        Parameters
        ----------
        fields : collection of str, optional
            Fields to read, by the names of `lpbf_dataset.schema.VARIABLES`; all that there are by default.

        Raises
        ------
        CaseError
            If the run failed or its files cannot be used.
        """
        results = self._results()
        return [results.step(index, fields) for index in range(results.step_count)]

    def history(self, fields: Collection[str] | None = None) -> Iterator[Step | DamagedStep]:
        """Read the steps one after another, whole or not; as `steps` otherwise."""
        results = self._results()
        return (results.step_if_whole(index, fields) for index in range(results.step_count))

    def field_names(self) -> tuple[str, ...]:
        """Names of the fields that there are; raises `CaseError` as `steps`."""
        return self._results().field_names

    def final_step(self, fields: Collection[str] | None = None) -> Step:
        """Read the state after plate removal alone; as `steps` otherwise."""
        results = self._results()
        return results.step(results.step_count - 1, fields)

    def surface(self) -> Surface | None:
        """Read the surface of the part, or None where the case has no STL file.

        Raises
        ------
        CaseError
            If the STL file cannot be used.
        """
        if not self.part_file:
            return None
        archive = open_archive(self.path)
        name = join(self.folder, self.part_file)
        contents = archive.read(name)
        try:
            return Surface(parse_stl(contents), self.part_file)
        except CaseError as error:
            raise CaseError(error.reason, f"{archive.label(name)}: {error.detail}") from None

    def _results(self) -> Results:
        return Results(open_archive(self.path), self.folder, self.case_id)


class NetfabbSource:
    """Netfabb results, found by looking.

    Parameters
    ----------
    path : path
        A zip archive of one case or many, a folder of cases or of such archives, or the folder of
        one case.  Links to folders are not followed.

    Raises
    ------
    SourceError
        If there is no such path, it is neither a folder nor a zip archive, or it holds no case.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder")
        try:
            self._cases = tuple(_cases_in_folder(path) if path.is_dir() else _cases_in_zip(path))
        except CaseError as error:
            raise SourceError(error.detail) from None
        if not self._cases:
            raise SourceError(
                f"{path}: holds no Netfabb case; looked for folders with results/{CASE_FILE} or "
                f"results/*_{CASE_FILE}, or with the input or log of a run, and for zip archives of them"
            )

    def __len__(self) -> int:
        return len(self._cases)

    def cases(self) -> Iterator[NetfabbCase]:
        """Yield the cases in order of their folders, whether they can be read or not."""
        return iter(self._cases)


def _cases_in_zip(path: Path) -> Iterator[NetfabbCase]:
    for folder, part in find_case_folders(open_archive(path)).items():
        yield NetfabbCase(path, folder, folder.rpartition("/")[2] or path.stem, part)


def _cases_in_folder(path: Path) -> list[NetfabbCase]:
    top = path.resolve()
    archive = FolderArchive(top)
    found = find_case_folders(archive)
    cases = [NetfabbCase(top / folder, "", (top / folder).name, part) for folder, part in found.items()]
    inside_a_case = tuple(f"{folder}/" if folder else "" for folder in found)
    files = [
        top / folder / name
        for folder, names in archive.walk()
        if not f"{folder}/".startswith(inside_a_case)
        for name in names
    ]
    for file in files:
        if file.name.lower().endswith(".zip"):
            cases += _cases_in_one_of_many_zips(file)
    # Archives of another kind hold cases too where the rest does; by themselves they may hold anything.
    if cases:
        cases += [_unreadable(file) for file in files if file.name.lower().endswith(OTHER_ARCHIVES)]
    return cases


def _cases_in_one_of_many_zips(path: Path) -> list[NetfabbCase]:
    try:
        return list(_cases_in_zip(path))
    except CaseError:
        return [_unreadable(path)]


def _unreadable(path: Path) -> NetfabbCase:
    """Stand for the cases of an archive that cannot be opened; reading it says why."""
    return NetfabbCase(path, "", path.stem)
