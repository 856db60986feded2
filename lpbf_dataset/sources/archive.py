"""Files of simulated cases, in a folder or in place inside a zip archive, seen the same way.

Whatever lies in an archive is untrusted.  Nothing is ever extracted; a member is read into memory
only after its declared size is found plausible, and never beyond that size.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_FILE_BYTES = 128 * 2**20
"""Largest file that is read.  A tensor field on 5.6 million nodes has this size, more than a hundred times
the nodes of the largest case that the published set keeps (47 542)."""

MAX_COMPRESSION_RATIO = 200
"""Largest ratio of unpacked to packed size, for members above `RATIO_EXEMPT_BYTES`.  Result fields
deflate 2 to 20 times."""

RATIO_EXEMPT_BYTES = 32 * 2**20
"""Members up to this size may deflate to next to nothing, as a field of one constant does."""

OPEN_ARCHIVES = 16
"""Archives that one process keeps open."""

OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tar.gz", ".tgz")
"""Ends of the names of archives that are not read."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Compression methods that can be unpacked piece by piece within a bound; others cannot by `zipfile`."""

_ENCRYPTED = 0x1
_MAC_METADATA = "__MACOSX/"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, struct.error)
"""What `zipfile` raises for archives that are damaged or lie about themselves."""


class Archive(Protocol):
    """A tree of files; names are relative to its top, with forward slashes, the top itself is ``""``."""

    def walk(self) -> Iterator[tuple[str, Collection[str]]]:
        """Yield each folder that holds files, with the names of these files, in a fixed order."""

    def files(self, folder: str) -> Collection[str]:
        """Names of the files directly in a folder; none if there is no such folder."""

    def read(self, name: str) -> bytes:
        """Contents of a file.  Raises `CaseError`."""

    def size_and_crc32(self, name: str) -> tuple[int, int]:
        """Size in bytes and CRC-32 of a file.  Raises `CaseError`."""

    def unsafe_member(self, folder: str) -> str | None:
        """Name a member that would leave the folder if it were extracted, or None."""

    def label(self, name: str) -> str:
        """Name of a file for messages."""


class FolderArchive:
    """A folder on disk.

    Links to folders are not walked into, and a link that leads out of the folder is not read.

    Parameters
    ----------
    path : Path
        The top of the tree.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def walk(self) -> Iterator[tuple[str, Collection[str]]]:
        """Yield each folder that holds files, with the names of these files, in a fixed order."""
        for folder, subfolders, names in os.walk(self._path):
            subfolders.sort()
            if names:
                relative = Path(folder).relative_to(self._path).as_posix()
                yield "" if relative == "." else relative, sorted(names)

    def files(self, folder: str) -> Collection[str]:
        """Names of the files directly in a folder; none if there is no such folder."""
        path = self._path / folder
        return sorted(entry.name for entry in path.iterdir() if entry.is_file()) if path.is_dir() else ()

    def read(self, name: str) -> bytes:
        """Contents of a file.  Raises `CaseError`."""
        try:
            return self._checked(name).read_bytes()
        except OSError as error:
            raise CaseError(FailureReason.MISSING_FILE, f"{self.label(name)}: {error.strerror}") from None

    def size_and_crc32(self, name: str) -> tuple[int, int]:
        """Size in bytes and CRC-32 of a file.  Raises `CaseError`."""
        contents = self.read(name)
        return len(contents), zlib.crc32(contents)

    def unsafe_member(self, folder: str) -> str | None:  # noqa: ARG002
        """Name a member that would leave the folder if it were extracted: a folder has none."""
        return None

    def label(self, name: str) -> str:
        """Name of a file for messages."""
        return str(self._path / name)

    def _checked(self, name: str) -> Path:
        try:
            path = (self._path / name).resolve()
            # Reading a pipe or a device would block or never end.
            is_file = path.is_file()
        except (ValueError, RuntimeError) as error:  # a null byte in the name, a loop of links
            raise CaseError(FailureReason.MALFORMED_FILE, f"{self.label(name)!r}: {error}") from None
        if not path.is_relative_to(self._path):
            detail = f"{self.label(name)}: leads out of the folder of its case"
            raise CaseError(FailureReason.UNSAFE_ARCHIVE, detail)
        if not is_file:
            raise CaseError(FailureReason.MISSING_FILE, f"{self.label(name)}: no such file")
        _check_size(self.label(name), path.stat().st_size)
        return path


class ZipArchive:
    """A zip archive, read in place.

    The central directory is indexed by folder once, so that the cost of a case does not depend on
    how many others the archive holds.

    Parameters
    ----------
    path : Path
        The archive.

    Raises
    ------
    CaseError
        If the file is not a zip archive, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            reason = FailureReason.MALFORMED_FILE
            raise CaseError(reason, f"{path}: not a zip archive, or a damaged one ({error})") from None
        self._folders: dict[str, dict[str, zipfile.ZipInfo]] = defaultdict(dict)
        self._unsafe: dict[str, str] = {}
        for member in self._zip.infolist():
            name = member.filename.replace("\\", "/").removeprefix("./")
            if name.endswith("/") or name.startswith(_MAC_METADATA):
                continue
            folder, _, base = name.rpartition("/")
            self._folders[folder][base] = member
            if (top := _top_before_escape(name)) is not None:
                self._unsafe[top] = member.filename

    def walk(self) -> Iterator[tuple[str, Collection[str]]]:
        """Yield each folder that holds files, with the names of these files, in a fixed order."""
        yield from sorted(self._folders.items(), key=lambda item: item[0])

    def files(self, folder: str) -> Collection[str]:
        """Names of the files directly in a folder; none if there is no such folder."""
        return self._folders.get(folder, ())

    def read(self, name: str) -> bytes:
        """Contents of a file.  Raises `CaseError`."""
        member, label = self._member(name), self.label(name)
        _check_size(label, member.file_size)
        if member.flag_bits & _ENCRYPTED:
            raise CaseError(FailureReason.MALFORMED_FILE, f"{label}: encrypted; store it without a password")
        if member.compress_type not in _METHODS:
            detail = f"{label}: zip compression method {member.compress_type}; only deflate (8) is read"
            raise CaseError(FailureReason.MALFORMED_FILE, detail)
        packed = max(member.compress_size, 1)
        if member.file_size > max(RATIO_EXEMPT_BYTES, MAX_COMPRESSION_RATIO * packed):
            raise CaseError(
                FailureReason.UNSAFE_ARCHIVE, f"{label}: unpacks from {packed} to {member.file_size} bytes"
            )
        try:
            with self._zip.open(member) as stream:
                # Without a limit, zipfile unpacks a member whole before it cuts it to its declared size.
                contents = stream.read(member.file_size + 1)
        except _DAMAGE as error:
            raise CaseError(FailureReason.MALFORMED_FILE, f"{label}: damaged ({error})") from None
        if len(contents) != member.file_size:
            detail = f"{label}: {len(contents)} of {member.file_size} bytes are there"
            raise CaseError(FailureReason.TRUNCATED_FILE, detail)
        return contents

    def size_and_crc32(self, name: str) -> tuple[int, int]:
        """Size in bytes and CRC-32 of a file, from the central directory.  Raises `CaseError`."""
        member = self._member(name)
        return member.file_size, member.CRC

    def unsafe_member(self, folder: str) -> str | None:
        """Name a member that would leave the folder if it were extracted, or None."""
        if (top := _top_before_escape(folder)) is not None:
            return self._unsafe.get(top)
        return self._unsafe.get(folder)

    def label(self, name: str) -> str:
        """Name of a file for messages."""
        return f"{self._path}!{name}"

    def _member(self, name: str) -> zipfile.ZipInfo:
        folder, _, base = name.rpartition("/")
        member = self._folders.get(folder, {}).get(base)
        if member is None:
            raise CaseError(FailureReason.MISSING_FILE, f"{self.label(name)}: no such file")
        return member


def open_archive(path: Path) -> Archive:
    """Open a folder or zip archive, or return it where this process has it open already.

    Raises
    ------
    CaseError
        If the path is neither a folder nor a readable zip archive; UNSUPPORTED_FORMAT if it is named as an
        archive of another kind.
    """
    if path.is_dir():
        return FolderArchive(path)
    if path.name.lower().endswith(OTHER_ARCHIVES):
        detail = f"{path}: only zip archives are read; unpack it, or pack its contents into a zip"
        raise CaseError(FailureReason.UNSUPPORTED_FORMAT, detail)
    try:
        state = path.stat()
    except OSError as error:
        raise CaseError(FailureReason.MISSING_FILE, f"{path}: {error.strerror}") from None
    # Opening a pipe would wait for somebody to write into it.
    if not stat.S_ISREG(state.st_mode):
        raise CaseError(FailureReason.MALFORMED_FILE, f"{path}: neither a file nor a folder")
    # A process forked from this one shares the position of an open file with it, hence the process id.
    return _open_zip(path, os.getpid(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=OPEN_ARCHIVES)
def _open_zip(path: Path, process: int, modified: int, size: int) -> ZipArchive:  # noqa: ARG001
    return ZipArchive(path)


def _top_before_escape(name: str) -> str | None:
    """Folder that a member name begins in before it leaves it, or None for a harmless name."""
    parts = PurePosixPath(name).parts
    for index, part in enumerate(parts):
        if part in {"..", "/", "//"} or (index == 0 and part[1:2] == ":"):
            return "/".join(parts[:index])
    return None


def _check_size(label: str, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise CaseError(
            FailureReason.UNSAFE_ARCHIVE, f"{label}: {size} bytes; at most {MAX_FILE_BYTES} are read"
        )
