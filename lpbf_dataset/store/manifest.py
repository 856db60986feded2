"""Size and SHA-256 of every file of a store, in a file of the store itself.

``checksums.json`` is no Zarr object, so Zarr readers pass over it.  Its text is a function of the
files alone, to the byte: whatever changes in it or in them shows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

MANIFEST = "checksums.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class FileRecord:
    """What the manifest says of one file.

    Parameters
    ----------
    size : int
        In bytes.
    sha256 : str
        Digest in lower-case hexadecimal.
    """

    size: int
    sha256: str


class StoreFiles:
    """Files of a store, wherever it is, by their paths in it (with ``/`` on every system).

    Parameters
    ----------
    location : path or str
        Folder, or fsspec URL.

    Raises
    ------
    StoreError
        If the URL names a protocol that is not known or not installed.
    """

    def __init__(self, location: str | PathLike[str]) -> None:
        try:
            self._system, root = fsspec.core.url_to_fs(str(location))
        except (ValueError, ImportError) as error:
            raise StoreError(f"cannot open {location}: {error}") from error
        self._root: str = root.rstrip("/")
        self.is_local = isinstance(self._system, LocalFileSystem)
        """Whether the store is a folder of this machine."""
        self.location = self._root if self.is_local else str(location)
        """Absolute path of a local store, URL of another."""

    def sizes(self) -> dict[str, int]:
        """Size in bytes of every file; empty where the file system cannot list (plain HTTP)."""
        self._system.invalidate_cache()
        try:
            found = self._system.find(self._root, detail=True)
        except (FileNotFoundError, NotImplementedError):
            return {}
        return {path.removeprefix(f"{self._root}/"): entry["size"] for path, entry in found.items()}

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return bool(self._system.exists(f"{self._root}/{name}"))

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        return self._system.cat_file(f"{self._root}/{name}")

    def sha256(self, name: str) -> str:
        """Digest of a file in hexadecimal, read piece by piece.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        with self._system.open(f"{self._root}/{name}", "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: str | PathLike[str]) -> None:
    """Record every file of a store in its manifest, in place of an earlier one.

    Parameters
    ----------
    folder : path
        A local store that is otherwise complete.
    """
    files = StoreFiles(folder)
    records = {
        name: FileRecord(size, files.sha256(name)) for name, size in files.sizes().items() if name != MANIFEST
    }
    (Path(folder) / MANIFEST).write_bytes(_to_bytes(records))


def read_manifest(files: StoreFiles) -> dict[str, FileRecord] | None:
    """Read the manifest of a store.

    Parameters
    ----------
    files : StoreFiles
        The store.

    Returns
    -------
    dict of str to FileRecord, or None
        By path in the store; None if the store has no manifest.

    Raises
    ------
    StoreError
        If it is not as `write_manifest` wrote it, to the byte.
    """
    try:
        content = files.read(MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{MANIFEST} cannot be read: {error}") from error
    try:
        records = _from_json(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{MANIFEST} is not a list of checksums ({type(error).__name__}: {error})"
        ) from error
    if _to_bytes(records) != content:
        raise StoreError(f"{MANIFEST} is not as it was written")
    if outside := [name for name in records if not _is_inside(name)]:
        raise StoreError(f"{MANIFEST} names {outside[0]!r}, which is no file of the store")
    return records


def _from_json(stored: Any) -> dict[str, FileRecord]:
    if stored["version"] != MANIFEST_VERSION or stored["algorithm"] != "sha256":
        raise ValueError(f"version {stored['version']} of {stored['algorithm']} is not known")
    return {
        name: FileRecord(int(record["size"]), str(record["sha256"]))
        for name, record in stored["files"].items()
    }


def _to_bytes(records: Mapping[str, FileRecord]) -> bytes:
    content = {
        "algorithm": "sha256",
        "files": {name: asdict(records[name]) for name in sorted(records)},
        "version": MANIFEST_VERSION,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name
