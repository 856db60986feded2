"""The files of an export: safe names, and each whole or not there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from lpbf_dataset.case import Case

MAX_NAME_BYTES = 200
"""Longest case id in UTF-8; file systems allow 255 bytes, of which endings take some."""

_NOT_IN_NAMES = frozenset('/\\:*?"<>|')
"""Separators and what Windows allows in no file name."""


class ExportError(ValueError):
    """A dataset cannot be exported: one line that names the thing and what to do."""


def check_case_id(case_id: str) -> None:
    """Refuse a case id that is no plain file name; stores may come from anywhere.

    Parameters
    ----------
    case_id : str
        The id.

    Raises
    ------
    ExportError
        If a file named after it could lie in another folder or not at all.
    """
    if (
        case_id.strip(" .") != case_id
        or not case_id
        or not case_id.isprintable()
        or not _NOT_IN_NAMES.isdisjoint(case_id)
        or len(case_id.encode()) > MAX_NAME_BYTES
    ):
        raise ExportError(f"case id {case_id[:80]!r} cannot name a file; rename the case at its source")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it is renamed on success and removed on failure.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made if need be, a file that is there is replaced.

    Raises
    ------
    ExportError
        If the folder is a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ExportError(f"{path.parent} is no folder; choose another one to export to") from None
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_cases(
    cases: Iterable[Case], suffix: str, folder_of: Callable[[Case], Path], write: Callable[[Case, Path], None]
) -> list[Path]:
    """Write one file a case, named after it.

    Parameters
    ----------
    cases : iterable of Case
        Taken one at a time.
    suffix : str
        Ending of the file names.
    folder_of : callable
        Folder of the file of a case.
    write : callable
        Writes a case to a path, which is not yet that of the file.

    Returns
    -------
    list of Path
        The files, in order of the cases.

    Raises
    ------
    ExportError
        If a case id cannot name a file, or a folder cannot be one.
    """
    paths = []
    for case in cases:
        check_case_id(case.case_id)
        path = folder_of(case) / f"{case.case_id}{suffix}"
        with written_whole(path) as partial:
            write(case, partial)
        paths.append(path)
    return paths
