"""The records of an EnSight Gold file, in its three encodings behind one interface.

Geometry and variable files are a sequence of texts, integers and floats.  C binary stores them bare
(texts in 80 bytes), Fortran binary puts the byte count of each record before and after it, ASCII
writes lines.  Netfabb announces "Fortran Binary" but writes no record markers, so the bytes are
looked at, not the announcement.

Format: EnSight User Manual, chapter "EnSight Gold Casefile Format".
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ByteOrder = Literal["little", "big"]

TEXT_BYTES = 80
"""Length of a text record of a binary file."""

DTYPE_PREFIX: dict[ByteOrder, str] = {"little": "<", "big": ">"}
_ANNOUNCEMENTS = (b"c binary", b"fortran binary")
# Fortran drops the E of an exponent of three digits: 1.234567-101.
_BARE_EXPONENT = re.compile(rb"(?<=[0-9.])(?=[+-][0-9]{3}$)")


class EnsightError(ValueError):
    """The file is not EnSight Gold as it is read here; the message says what and where."""


class TruncatedError(EnsightError):
    """The file ends before what it declares."""


class RecordReader(ABC):
    """Reads a file record by record; every method moves on past what it returns.

    A declared count is compared with the bytes that are left before anything is allocated, so
    that memory stays proportional to the size of the file.
    """

    @abstractmethod
    def text(self) -> str:
        """Read a text; bytes that are not ASCII become replacement characters."""

    @abstractmethod
    def keyword(self) -> str | None:
        """Read a text that steers the parser, or None at the end of the file."""

    @abstractmethod
    def part_number(self) -> int:
        """Read the number of a part; where the byte order is open, this number settles it."""

    @abstractmethod
    def integers(self, rows: int, columns: int = 1) -> NDArray[np.int32]:
        """Read (rows, columns) int32, stored row by row."""

    @abstractmethod
    def floats(self, count: int) -> NDArray[np.float32]:
        """Read (count,) float32."""

    @abstractmethod
    def skip_extents(self) -> None:
        """Pass over the six floats of a bounding box."""

    def count(self) -> int:
        """Read a number of things; raises `EnsightError` if it is negative."""
        value = int(self.integers(1)[0, 0])
        if value < 0:
            raise EnsightError(f"negative count {value}")
        return value


class _BinaryReader(RecordReader):
    """C binary or Fortran binary of either byte order.

    Parameters
    ----------
    data : bytes
        The whole file.
    marker_order : {"little", "big"} or None
        Byte order of the record markers; None for a file without markers.
    """

    def __init__(self, data: bytes, marker_order: ByteOrder | None) -> None:
        self._data = memoryview(data)
        self._position = 0
        self._has_markers = marker_order is not None
        self._order: ByteOrder | None = marker_order

    def text(self) -> str:
        raw = bytes(self._record(TEXT_BYTES))
        # C programs leave whatever was in memory after the terminating zero.
        return raw.partition(b"\0")[0].decode("ascii", errors="replace").strip()

    def keyword(self) -> str | None:
        return self.text() if self._position < len(self._data) else None

    def part_number(self) -> int:
        raw = self._record(4)
        if self._order is None:
            # Part numbers are small; read in the wrong order they are at least 2**24 (or 2**16).
            little, big = (int.from_bytes(raw, order) for order in ("little", "big"))
            self._order = "little" if little <= big else "big"
        return int.from_bytes(raw, self._order, signed=True)

    def integers(self, rows: int, columns: int = 1) -> NDArray[np.int32]:
        return self._array("i4", rows * columns).reshape(rows, columns).astype(np.int32, copy=False)

    def floats(self, count: int) -> NDArray[np.float32]:
        return self._array("f4", count).astype(np.float32, copy=False)

    def skip_extents(self) -> None:
        self._record(6 * 4)

    def _array(self, dtype: str, count: int) -> NDArray[np.generic]:
        if self._order is None:
            raise EnsightError("a number stands before the first part")
        return np.frombuffer(self._record(4 * count), DTYPE_PREFIX[self._order] + dtype)

    def _record(self, size: int) -> memoryview:
        self._marker(size)
        record = self._bytes(size)
        self._marker(size)
        return record

    def _marker(self, size: int) -> None:
        if not self._has_markers:
            return
        assert self._order is not None
        found = int.from_bytes(self._bytes(4), self._order)
        if found != size:
            raise EnsightError(f"record marker {found} where a record of {size} bytes is due")

    def _bytes(self, size: int) -> memoryview:
        left = len(self._data) - self._position
        if size > left:
            raise TruncatedError(f"{size} bytes are due at byte {self._position}, {left} are left")
        start = self._position
        self._position += size
        return self._data[start : self._position]


class _AsciiReader(RecordReader):
    """ASCII: one text, integer or float a line, connectivity one cell a line.

    More numbers on a line than the format asks for are accepted.

    Parameters
    ----------
    data : bytes
        The whole file.
    """

    def __init__(self, data: bytes) -> None:
        if not data.endswith(b"\n"):
            data += b"\n"
        self._data = data
        self._ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        self._line = 0

    def text(self) -> str:
        if self._line >= len(self._ends):
            raise TruncatedError(f"the file ends after line {self._line}, more is due")
        self._line += 1
        return self._lines(self._line - 1, self._line).decode("ascii", errors="replace").strip()

    def keyword(self) -> str | None:
        while self._line < len(self._ends):
            if word := self.text():
                return word
        return None

    def part_number(self) -> int:
        return int(self.integers(1)[0, 0])

    def integers(self, rows: int, columns: int = 1) -> NDArray[np.int32]:
        wide = _numbers(self._tokens(rows, columns), np.int64)
        if wide.size and (wide.max() > np.iinfo(np.int32).max or wide.min() < np.iinfo(np.int32).min):
            raise EnsightError(f"an integer before line {self._line + 1} does not fit 32 bits")
        return wide.astype(np.int32).reshape(rows, columns)

    def floats(self, count: int) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which callers check for
            return _numbers(self._tokens(count, 1), np.float64).astype(np.float32)

    def skip_extents(self) -> None:
        self._tokens(3, 2)

    def _tokens(self, rows: int, columns: int) -> list[bytes]:
        first, last = self._line, min(self._line + rows, len(self._ends))
        count = rows * columns
        chunk = self._lines(first, last)
        tokens = chunk.split(None, count) if count <= len(chunk) else []
        if len(tokens) < count:
            raise TruncatedError(f"{count} numbers are due from line {first + 1} on")
        self._line = last
        if len(tokens) > count:
            start = self._start(last) - len(tokens.pop())
            self._line = int(np.searchsorted(self._ends, start))
            if self._data[self._start(self._line) : start].strip():
                raise EnsightError(f"line {self._line + 1} holds more numbers than are due")
        return tokens

    def _start(self, line: int) -> int:
        return int(self._ends[line - 1]) + 1 if line else 0

    def _lines(self, first: int, last: int) -> bytes:
        return self._data[self._start(first) : self._start(last)]


def _numbers(tokens: list[bytes], dtype: type[np.float64 | np.int64]) -> NDArray[np.generic]:
    """Parse tokens; numbers whose exponent Fortran left bare are understood."""
    try:
        return np.array(tokens, dtype=dtype)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([_BARE_EXPONENT.sub(b"E", token) for token in tokens], dtype=dtype)
    except (ValueError, OverflowError) as error:
        raise EnsightError(f"not a number: {error}") from None


def open_records(data: bytes) -> RecordReader:
    """Choose the reader of a file by looking at its first bytes.

    Parameters
    ----------
    data : bytes
        A whole geometry or variable file.
    """
    marker = data[:4]
    for order in ("little", "big"):
        framed = int.from_bytes(marker, order) == TEXT_BYTES
        if framed and data[4 + TEXT_BYTES : 8 + TEXT_BYTES] == marker:
            return _BinaryReader(data, order)
    # Geometry files announce their encoding; variable files show it by where their second text begins.
    is_binary = data[:TEXT_BYTES].lower().startswith(_ANNOUNCEMENTS) or data[TEXT_BYTES:].startswith(b"part")
    return _BinaryReader(data, None) if is_binary else _AsciiReader(data)
