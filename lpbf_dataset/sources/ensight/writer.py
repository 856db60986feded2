"""Write EnSight Gold ``.case``, geometry and variable files, as C binary or ASCII."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from lpbf_dataset.sources.ensight.case import format_case
from lpbf_dataset.sources.ensight.records import DTYPE_PREFIX, TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from lpbf_dataset.sources.ensight.case import CaseFile, Location
    from lpbf_dataset.sources.ensight.geometry import Geometry
    from lpbf_dataset.sources.ensight.records import ByteOrder

Encoding = Literal["binary", "ascii"]


def write_case(file: str | PathLike[str] | BinaryIO, case: CaseFile) -> None:
    """Write a ``.case`` file.

    Parameters
    ----------
    file : path or binary stream
    case : CaseFile
    """
    with _output(file) as stream:
        stream.write(format_case(case).encode())


def write_geometry(
    file: str | PathLike[str] | BinaryIO,
    geometry: Geometry,
    *,
    encoding: Encoding = "binary",
    byteorder: ByteOrder = "little",
) -> None:
    """Write a geometry file, without ids.

    Parameters
    ----------
    file : path or binary stream
    geometry : Geometry
    encoding : {"binary", "ascii"}
        C binary keeps every bit of a float32, ASCII six digits.
    byteorder : {"little", "big"}
        Byte order of C binary.
    """
    with _output(file) as stream:
        records = _open_writer(stream, encoding, byteorder)
        if encoding == "binary":
            records.text("C Binary")
        for line in (*geometry.descriptions, "node id off", "element id off"):
            records.text(line)
        for part in geometry.parts:
            records.text("part")
            records.integers(part.number)
            records.text(part.description)
            records.text("coordinates")
            records.integers(len(part.points))
            records.floats(part.points)
            for element_type, cells in part.cells.items():
                records.text(element_type)
                records.integers(len(cells))
                records.integers(cells + 1)


def write_variable(
    file: str | PathLike[str] | BinaryIO,
    description: str,
    geometry: Geometry,
    values: Mapping[int, NDArray[np.floating]],
    location: Location = "node",
    *,
    encoding: Encoding = "binary",
    byteorder: ByteOrder = "little",
) -> None:
    """Write a variable file.

    Parameters
    ----------
    file : path or binary stream
    description : str
        At most 80 characters.
    geometry : Geometry
        The mesh the values belong to.
    values : mapping of int to (n,) or (n, components) ndarray
        Values by part number, as `read_variable` returns them.
    location : {"node", "element"}
        What the values belong to.
    encoding, byteorder
        As in `write_geometry`.

    Raises
    ------
    ValueError
        If there are not as many values as nodes or cells.
    """
    parts = {part.number: part for part in geometry.parts}
    with _output(file) as stream:
        records = _open_writer(stream, encoding, byteorder)
        records.text(description)
        for number, array in values.items():
            sizes = parts[number].value_counts(location)
            if len(array) != sum(sizes.values()):
                raise ValueError(
                    f"{len(array)} values for {sum(sizes.values())} {location}s of part {number}"
                )
            records.text("part")
            records.integers(number)
            start = 0
            for block, size in sizes.items():
                records.text(block)
                records.floats(array[start : start + size])
                start += size


class _RecordWriter(ABC):
    """Writes a file record by record."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    @abstractmethod
    def text(self, text: str) -> None:
        """Write a text of at most 80 characters; a longer one is cut."""

    @abstractmethod
    def integers(self, values: ArrayLike) -> None:
        """Write integers, the rows of a matrix one after another."""

    @abstractmethod
    def floats(self, values: ArrayLike) -> None:
        """Write floats, the components (columns) of a matrix one after another."""


class _BinaryWriter(_RecordWriter):
    """C binary.

    Parameters
    ----------
    stream : binary file
        Where to write.
    byteorder : {"little", "big"}
        Order of the bytes of a number.
    """

    def __init__(self, stream: BinaryIO, byteorder: ByteOrder = "little") -> None:
        super().__init__(stream)
        self._prefix = DTYPE_PREFIX[byteorder]

    def text(self, text: str) -> None:
        self._stream.write(_ascii(text).ljust(TEXT_BYTES))

    def integers(self, values: ArrayLike) -> None:
        self._stream.write(np.asarray(values).astype(self._prefix + "i4").tobytes())

    def floats(self, values: ArrayLike) -> None:
        self._stream.write(np.asarray(values).astype(self._prefix + "f4").tobytes("F"))


class _AsciiWriter(_RecordWriter):
    """ASCII, in the field widths of the manual: integers ``%10d``, floats ``%12.5e``."""

    def text(self, text: str) -> None:
        self._stream.write(_ascii(text) + b"\n")

    def integers(self, values: ArrayLike) -> None:
        self._rows(np.atleast_1d(np.asarray(values)), "%10d")

    def floats(self, values: ArrayLike) -> None:
        self._rows(np.asarray(values).ravel("F"), "%12.5e")

    def _rows(self, rows: NDArray[np.generic], layout: str) -> None:
        np.savetxt(self._stream, rows, fmt=layout, delimiter="")


def _open_writer(stream: BinaryIO, encoding: Encoding, byteorder: ByteOrder) -> _RecordWriter:
    """Make the writer of an encoding; ASCII has no byte order."""
    return _AsciiWriter(stream) if encoding == "ascii" else _BinaryWriter(stream, byteorder)


def _ascii(text: str) -> bytes:
    return " ".join(text.split()).encode("ascii", errors="replace")[:TEXT_BYTES]


@contextmanager
def _output(file: str | PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(file, (str, PathLike)):
        with Path(file).open("wb") as stream:
            yield stream
    else:
        yield file
