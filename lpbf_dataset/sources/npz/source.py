"""The published NPZ release as a source of cases."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.schema import SPLITS, VARIABLES, field_names
from lpbf_dataset.sources.archive import open_archive
from lpbf_dataset.sources.base import CaseError, FailureReason, SourceError, Step, parent_design
from lpbf_dataset.sources.npz.layout import METADATA, array_name, case_name_of_file
from lpbf_dataset.sources.npz.metadata import Metadata, read_metadata
from lpbf_dataset.sources.npz.npy import read_array

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.schema import Split
    from lpbf_dataset.sources.archive import Archive

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NpzCase:
    """One ``.npz`` of the release; opens it only when asked, so that it travels to worker processes.

    Metadata that cannot be read cost the case only the name in them: it is called after its file,
    with a warning.  If they would make `numpy.load` call something, or are a zip bomb, the whole case
    is refused, since whoever made the file meant harm.

    Parameters
    ----------
    path : Path
        The file.
    official_split : {"train", "val", "test"} or None
        The folder it lies in, where that is named after a split.
    """

    path: Path
    official_split: Split | None = None

    @cached_property
    def case_id(self) -> str:
        """Name of the printed body: that in the metadata, else that of the file."""
        return self._metadata.case_name or self._name_of_file

    @property
    def design_id(self) -> str:
        """Name of the parent CAD model."""
        return self._metadata.design_id or parent_design(self.case_id, self._name_of_file)

    @property
    def source(self) -> str:
        """``"npz"``."""
        return "npz"

    @property
    def location(self) -> str:
        """The file."""
        return str(self.path)

    def content_hash(self) -> str:
        """SHA-256 over names, sizes and CRC-32 of the arrays; only the zip directory is read.

        Raises
        ------
        CaseError
            If the file cannot be opened.
        """
        archive = open_archive(self.path)
        digest = hashlib.sha256()
        for name in sorted(archive.files("")):
            size, crc32 = archive.size_and_crc32(name)
            digest.update(f"{name}\0{size}\0{crc32:08x}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def field_names(self) -> tuple[str, ...]:
        """Names of the fields that there are; raises `CaseError` if the file cannot be opened."""
        members = open_archive(self.path).files("")
        return tuple(name for name in field_names(include_optional=True) if _member(name) in members)

    def steps(self, fields: Collection[str] | None = None) -> Sequence[Step]:
        """Read the one state that the release has, as `final_step`."""
        return [self.final_step(fields)]

    def history(self, fields: Collection[str] | None = None) -> Iterator[Step]:  # noqa: ARG002
        """Yield nothing: the release has no other state than the final one."""
        return iter(())

    def final_step(self, fields: Collection[str] | None = None) -> Step:
        """Read the state after plate removal; its time is not stated and so NaN.

        Parameters
        ----------
        fields : collection of str, optional
            Fields to read, by the names of `lpbf_dataset.schema.VARIABLES`; all that there are by default.

        Raises
        ------
        CaseError
            If the file, or an array in it that is needed, is missing or cannot be used.
        """
        if fields is not None and (unknown := set(fields) - set(field_names(include_optional=True))):
            raise ValueError(f"no nodal field {', '.join(sorted(unknown))}")
        if isinstance(self._metadata_or_error, CaseError):
            raise self._metadata_or_error
        archive = open_archive(self.path)
        points = _read_floats(archive, "points")
        if not len(points):
            raise CaseError(FailureReason.MALFORMED_FILE, f"{self.path}: has no nodes")
        names = self.field_names() if fields is None else fields
        return Step(
            number=1,
            kind="removed",
            time=math.nan,
            points=points,
            cells=_read_cells(archive, len(points)),
            fields={name: _read_floats(archive, name, len(points)) for name in names},
        )

    def surface(self) -> None:
        """Return None: the release has no surfaces."""

    @property
    def _name_of_file(self) -> str:
        # A name that is not valid in the encoding of the file system could not be stored.
        return case_name_of_file(os.fsencode(self.path.stem).decode(errors="replace"))

    @property
    def _metadata(self) -> Metadata:
        return Metadata() if isinstance(self._metadata_or_error, CaseError) else self._metadata_or_error

    @cached_property
    def _metadata_or_error(self) -> Metadata | CaseError:
        """The metadata, empty if they cannot be read; the error if they are not to be trusted."""
        try:
            archive = open_archive(self.path)
            name = _member(METADATA)
            if name not in archive.files(""):
                return Metadata()
            contents = archive.read(name)
            try:
                return read_metadata(contents)
            except CaseError as error:
                raise _named(error, archive.label(name)) from None
        except CaseError as error:
            if error.reason is FailureReason.UNSAFE_ARCHIVE:
                return error
            logger.warning("called %s after its file: %s", self._name_of_file, error.detail)
            return Metadata()


class NpzSource:
    """The published release, or files like it.

    Parameters
    ----------
    path : path
        Folder with the folders ``train`` and ``test`` (or ``val``) of ``.npz`` files, or with such
        files themselves; or one file.  Links to files are followed, as Hugging Face's download cache
        consists of them.

    Raises
    ------
    SourceError
        If there is no such path, or no ``.npz`` file in it.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path).absolute()
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder")
        self._cases = tuple(_find_cases(path))
        if not self._cases:
            raise SourceError(
                f"{path}: holds no .npz file; looked there and in its folders {', '.join(SPLITS)}"
            )

    def __len__(self) -> int:
        return len(self._cases)

    def cases(self) -> Iterator[NpzCase]:
        """Yield the cases by split and file name, whether they can be read or not."""
        return iter(self._cases)


def _find_cases(path: Path) -> Iterator[NpzCase]:
    if path.is_file():
        if path.suffix == ".npz":
            yield NpzCase(path)
        return
    for file in _npz_files(path):
        yield NpzCase(file)
    for split in SPLITS:
        for file in _npz_files(path / split):
            yield NpzCase(file, split)


def _npz_files(folder: Path) -> list[Path]:
    # A name with a leading dot is what macOS and interrupted copies leave.
    return sorted(file for file in folder.glob("*.npz") if file.is_file() and not file.name.startswith("."))


def _read_floats(archive: Archive, variable: str, nodes: int | None = None) -> NDArray[np.float32]:
    """Read a variable on the nodes as float32; all its values must be finite."""
    array = _read(archive, variable)
    label = archive.label(_member(variable))
    if nodes is not None and len(array) != nodes:
        raise CaseError(FailureReason.MALFORMED_FILE, f"{label}: {len(array)} values for {nodes} nodes")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite
        values = np.ascontiguousarray(array, dtype=np.float32)
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise CaseError(FailureReason.MALFORMED_FILE, f"{label}: {bad} values are not finite")
    return values


def _read_cells(archive: Archive, nodes: int) -> NDArray[np.int32]:
    array = _read(archive, "cells")
    label = archive.label(_member("cells"))
    if array.dtype.kind not in "iu":
        raise CaseError(FailureReason.MALFORMED_FILE, f"{label}: holds {array.dtype}, not integers")
    if not len(array):
        raise CaseError(FailureReason.MALFORMED_FILE, f"{label}: has no cells")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= nodes:
        detail = f"{label}: names nodes {low} to {high} of {nodes}, counted from 0"
        raise CaseError(FailureReason.MALFORMED_FILE, detail)
    return np.ascontiguousarray(array, dtype=np.int32)


def _read(archive: Archive, variable: str) -> NDArray[np.generic]:
    name = _member(variable)
    contents = archive.read(name)
    try:
        return read_array(contents, VARIABLES[variable].row_shape)
    except CaseError as error:
        raise _named(error, archive.label(name)) from None


def _member(variable: str) -> str:
    return f"{array_name(variable)}.npy"


def _named(error: CaseError, label: str) -> CaseError:
    return CaseError(error.reason, f"{label}: {error.detail}")
