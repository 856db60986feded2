"""NumPy arrays and scalars as they lie in a pickle: calls of a few functions, rebuilt here from the bytes."""

from __future__ import annotations

import math
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Callable

_DTYPE_CODE = re.compile(r"[biufcSU]\d{1,5}|O8")
_BYTE_ORDERS = ("<", ">", "|", "=")


def malformed(detail: str) -> CaseError:
    """Error for a pickle that is damaged or holds what is not read."""
    return CaseError(FailureReason.MALFORMED_FILE, detail)


class Symbol(Enum):
    """A function or class that a pickle names; never called, only recognised."""

    RECONSTRUCT = auto()
    SCALAR = auto()
    FROMBUFFER = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()


SYMBOLS = {
    ("numpy", "ndarray"): Symbol.NDARRAY,
    ("numpy", "dtype"): Symbol.DTYPE,
    # How protocol 2, made for Python 2, spells bytes.
    ("_codecs", "encode"): Symbol.ENCODE,
    ("__builtin__", "bytes"): Symbol.BYTES,
    ("builtins", "bytes"): Symbol.BYTES,
} | {
    (f"numpy.{core}.{module}", name): symbol
    # NumPy 2 renamed the package.
    for core in ("core", "_core")
    for module, name, symbol in (
        ("multiarray", "_reconstruct", Symbol.RECONSTRUCT),
        ("multiarray", "scalar", Symbol.SCALAR),
        ("numeric", "_frombuffer", Symbol.FROMBUFFER),
    )
}


class Unbuilt:
    """An array or dtype that a later BUILD opcode completes; the memo may refer to it before."""

    def __init__(self, build: Callable[[tuple[Any, ...]], Any]) -> None:
        self.build = build
        self.value: Any = None


def _reconstruct(kind: Symbol, shape: object, typecode: object) -> Unbuilt:  # noqa: ARG001
    if kind is not Symbol.NDARRAY:
        raise malformed("an array of an unknown class")
    return Unbuilt(lambda state: _array_of_state(*state))


def _array_of_state(version: object, shape: Any, dtype: Any, fortran_order: object, data: Any) -> Any:
    if version != 1:
        raise malformed("an array of an unknown version")
    return _array(data, dtype, shape, "F" if fortran_order else "C")


def _dtype(code: str, align: object, copy: object) -> Unbuilt:  # noqa: ARG001
    if not _DTYPE_CODE.fullmatch(code):
        raise malformed(f"arrays of {code[:80]} are not read")
    return Unbuilt(lambda state: _dtype_of_state(code, *state))


def _dtype_of_state(
    code: str,
    version: object,
    byte_order: object,
    subarray: object,
    names: object,
    fields: object,
    *_: object,
) -> np.dtype[Any]:
    if version != 3 or byte_order not in _BYTE_ORDERS or not (subarray is names is fields is None):
        raise malformed("arrays of records are not read")
    # The type does not follow what it was checked to be one of.
    return np.dtype(code).newbyteorder(byte_order)  # type: ignore[arg-type]


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    if not isinstance(shape, tuple) or not all(type(length) is int for length in shape):
        raise malformed("the shape of an array is no tuple of integers")
    if not isinstance(dtype, np.dtype) or dtype.itemsize == 0:
        raise malformed("an array without a type")
    count = math.prod(shape)
    if dtype.hasobject:
        return _object_array(data, count).reshape(shape, order=order)
    if not isinstance(data, bytes) or len(data) != count * dtype.itemsize:
        raise malformed("the data of an array do not fill it")
    return np.ndarray(shape, dtype, data, order=order)


def _object_array(data: Any, count: int) -> np.ndarray[Any, Any]:
    if not isinstance(data, list) or len(data) != count:
        raise malformed("the objects of an array do not fill it")
    array = np.empty(count, dtype=object)
    # One at a time: NumPy would take a list of equally long lists for an array of two dimensions.
    for index, value in enumerate(data):
        array[index] = value
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    if isinstance(dtype, np.dtype) and dtype.itemsize == 0:
        return dtype.type()
    return _array(data, dtype, (), "C")[()]


def _encode(text: str, encoding: object) -> bytes:
    if encoding != "latin1":
        raise malformed("bytes in an unknown encoding")
    return text.encode("latin1")


REDUCTIONS: dict[Symbol, Callable[..., Any]] = {
    Symbol.RECONSTRUCT: _reconstruct,
    Symbol.SCALAR: _scalar,
    Symbol.FROMBUFFER: _array,
    Symbol.DTYPE: _dtype,
    Symbol.ENCODE: _encode,
    Symbol.BYTES: lambda: b"",
}
