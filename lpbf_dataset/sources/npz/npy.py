"""Arrays of ``.npy`` files from memory; unlike `numpy.load`, nothing is allocated or run on their word."""

from __future__ import annotations

import math
from io import BytesIO
from tokenize import TokenError
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.npz.pickled import read_pickle

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_HEADER_BYTES = 1000
"""Longest header that is evaluated (as a Python literal); that of a plain array takes 118 bytes."""

_HEADER_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}
"""Version 3.0 is for names of record fields beyond Latin-1, which no array here has."""

_BAD_HEADER = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
"""What parsing a hostile literal and making a dtype of it raise."""


class _Npy(NamedTuple):
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    body: memoryview


def read_array(contents: bytes, row_shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Read an array of numbers.

    Parameters
    ----------
    contents : bytes
        A ``.npy`` file.
    row_shape : tuple of int
        Shape of one row, ``()`` or ``(k,)``.  Scalars may also be stored as one column, (n, 1).

    Returns
    -------
    (n, *row_shape) ndarray
        Of booleans, integers or floats as they are stored; a read-only view of `contents`.

    Raises
    ------
    CaseError
        If it is no such array.
    """
    npy = _parse(contents)
    if npy.dtype.kind not in "biuf":
        raise _malformed(f"holds {_short(npy.dtype)}, not numbers")
    allowed = (row_shape,) if row_shape else ((), (1,))
    if not npy.shape or npy.shape[1:] not in allowed:
        due = ", ".join(["rows", *map(str, row_shape)])
        raise _malformed(f"has shape {_short(npy.shape)}, not ({due})")
    size = math.prod(npy.shape) * npy.dtype.itemsize
    if len(npy.body) < size:
        detail = f"{len(npy.body)} of {size} bytes of an array of shape {_short(npy.shape)} are there"
        raise CaseError(FailureReason.TRUNCATED_FILE, detail)
    array = np.ndarray(npy.shape, npy.dtype, npy.body[:size], order="F" if npy.fortran_order else "C")
    return array.reshape(-1, *row_shape)


def read_object(contents: bytes) -> object:
    """Read the one object in an object array, as `lpbf_dataset.sources.npz.pickled` allows.

    Parameters
    ----------
    contents : bytes
        A ``.npy`` file.

    Raises
    ------
    CaseError
        With reason UNSAFE_ARCHIVE if `numpy.load` would run something, else MALFORMED_FILE if it is
        no such array or not of one element.
    """
    npy = _parse(contents)
    if npy.dtype != np.dtype(object):
        raise _malformed(f"holds {_short(npy.dtype)}, not an object")
    array = read_pickle(bytes(npy.body))
    if not isinstance(array, np.ndarray) or array.size != 1:
        raise _malformed("is not an array of one object")
    return array.item()


def _parse(contents: bytes) -> _Npy:
    stream = BytesIO(contents)
    try:
        version = npy_format.read_magic(stream)
        if version not in _HEADER_READERS:
            raise _malformed(f".npy version {version[0]}.{version[1]}; save it as version 1.0 or 2.0")
        shape, fortran_order, dtype = _HEADER_READERS[version](stream, max_header_size=MAX_HEADER_BYTES)
    except _BAD_HEADER as error:
        raise _malformed(f"not a .npy file, or a damaged one ({error})") from None
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise _malformed(f"has shape {_short(shape)}")
    return _Npy(shape, fortran_order, dtype, memoryview(contents)[stream.tell() :])


def _short(value: object) -> str:
    return str(value)[:80]


def _malformed(detail: str) -> CaseError:
    return CaseError(FailureReason.MALFORMED_FILE, detail)
