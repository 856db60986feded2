"""Fields of histories rounded to fewer bits, so that they compress better, with a bound on the error.

The mantissa of each value is rounded to so many bits, to the nearest and ties to even.  This is BitRound
(Klöwer et al. 2021, doi:10.1038/s43588-021-00156-2; Kouznetsov 2021, doi:10.5194/gmd-14-377-2021).  What
comes out are ordinary numbers, which any reader reads.  The attributes that tell of it are those of the CF
conventions 1.12, section 8.4, and ``quantization_maximum_relative_error``, which follows from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
from numcodecs.bitround import BitRound

if TYPE_CHECKING:
    from collections.abc import Mapping

    import zarr
    from numpy.typing import NDArray

MANTISSA_BITS = 23
"""Bits of a float32 behind the point (IEEE 754, binary32), which are those that rounding leaves fewer of."""

QUANTIZATION_VARIABLE = "quantization_info"
"""Array without values, whose attributes tell how fields were rounded."""


def round_mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round numbers to the nearest of so many bits behind the point, ties to even.

    Parameters
    ----------
    values : float32 ndarray
        Of any shape.
    bits : int
        Bits to keep, 1 to `MANTISSA_BITS`.

    Returns
    -------
    float32 ndarray
        A new array.  Each number differs from the one given by no more than `relative_error` of it, or, if
        it is subnormal (less than 2**-126), by no more than 2**-(127 + bits).  NaN and infinities, and what
        would round to infinity, stay as they are.  Rounded again, nothing changes.
    """
    codec = BitRound(bits)
    rounded: NDArray[np.float32] = codec.decode(codec.encode(values))
    # The carry makes the greatest numbers infinite, and infinities or zeros of some NaN.
    return np.where(np.isfinite(rounded) & np.isfinite(values), rounded, values)


def is_rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.bool_]:
    """Tell of each value whether it is one that `round_mantissa` gives."""
    return round_mantissa(values, bits).view(np.uint32) == values.view(np.uint32)


def relative_error(bits: int) -> float:
    """Largest relative error of a number rounded to so many bits: half of the last one."""
    return 2.0 ** -(bits + 1)


def describe_rounding(bits: int) -> str:
    """Say in a phrase how fields were rounded.

    >>> describe_rounding(7)
    'rounded to 7 of 23 bits, relative error at most 2^-8 (about 0.0039)'
    """
    bound = f"2^-{bits + 1} (about {relative_error(bits):.2g})"
    return f"rounded to {bits} of {MANTISSA_BITS} bits, relative error at most {bound}"


def quantization_attributes(bits: int) -> dict[str, Any]:
    """Attributes of the array of a field that was rounded."""
    return {
        "quantization": QUANTIZATION_VARIABLE,
        "quantization_nsb": bits,
        "quantization_maximum_relative_error": relative_error(bits),
    }


def kept_bits(attributes: Mapping[str, Any]) -> int | None:
    """Tell from the attributes of an array how many bits of its values are left.

    Parameters
    ----------
    attributes : mapping of str to JSON values
        Those of `quantization_attributes` among them, if it was rounded.

    Returns
    -------
    int or None
        None if it was not rounded.

    Raises
    ------
    ValueError
        If they make no sense.
    """
    if "quantization" not in attributes and "quantization_nsb" not in attributes:
        return None
    bits = attributes.get("quantization_nsb")
    if type(bits) is not int or not 1 <= bits <= MANTISSA_BITS:
        raise ValueError(f"quantization_nsb is {bits!r}, not one of 1 to {MANTISSA_BITS}")
    return bits


def create_quantization_variable(group: zarr.Group) -> None:
    """Create the array without values whose attributes tell how fields were rounded."""
    group.create_array(
        QUANTIZATION_VARIABLE,
        shape=(),
        dtype="int8",
        attributes={
            "algorithm": "bitround",
            "implementation": f"numcodecs version {numcodecs.__version__} (BitRound)",
        },
    )
