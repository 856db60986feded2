from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lpbf_dataset.schema import STORED_VARIABLES
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.rounding import (
    MANTISSA_BITS,
    describe_rounding,
    is_rounded,
    kept_bits,
    quantization_attributes,
    relative_error,
    round_mantissa,
)

SMALLEST_NORMAL = Fraction(2) ** -126
LARGEST = float(np.finfo(np.float32).max)

bit_counts = st.integers(1, MANTISSA_BITS)
patterns = st.integers(0, 2**32 - 1)
"""Every float32 there is."""


def number(pattern: int) -> float:
    return struct.unpack("<f", struct.pack("<I", pattern))[0]


def pattern_of(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


def slowly_rounded(pattern: int, bits: int) -> int:
    """Round the magnitude as a fraction to a multiple of the last bit that is kept."""
    sign, magnitude = pattern & 1 << 31, pattern & ~(1 << 31)
    if magnitude >= pattern_of(float("inf")):
        return pattern
    value = Fraction(number(magnitude))
    exponent = max((magnitude >> MANTISSA_BITS) - 127, -126)
    last_bit = Fraction(2) ** (exponent - bits)
    # Of two integers that are as near, Python's round takes the even one.
    rounded = round(value / last_bit) * last_bit
    return pattern if rounded > LARGEST else sign | pattern_of(float(rounded))


@given(patterns, bit_counts)
@example(0x7F800001, 1)
@example(0x7FFFFFFF, 7)
@example(0xFFFFFFFF, 7)
@example(0x7F7FFFFF, 7)
@example(0xFF800000, 22)
@example(0x807FFFFF, 3)
@example(0x3F810000, 6)
@example(0x3F830000, 6)
@settings(max_examples=500, deadline=None)
def test_as_rounded_slowly(pattern, bits):
    values = np.array([pattern], np.uint32).view(np.float32)
    (rounded,) = round_mantissa(values, bits).view(np.uint32).tolist()
    assert rounded == slowly_rounded(pattern, bits)


@given(patterns, bit_counts)
@example(0x7F7FFFFF, 1)
@settings(max_examples=500, deadline=None)
def test_the_bound_on_the_error(pattern, bits):
    values = np.array([pattern], np.uint32).view(np.float32)
    rounded = round_mantissa(values, bits)
    if not np.isfinite(values).all():
        assert rounded.view(np.uint32)[0] == pattern
        return
    value, error = (
        abs(Fraction(number(pattern))),
        abs(Fraction(float(rounded[0])) - Fraction(number(pattern))),
    )
    if value >= SMALLEST_NORMAL:
        assert error <= Fraction(relative_error(bits)) * value
    else:
        assert error <= Fraction(2) ** -(127 + bits)


@given(hnp.arrays(np.uint32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)), bit_counts)
@settings(max_examples=100, deadline=None)
def test_once_is_enough(patterns, bits):
    values = patterns.view(np.float32)
    rounded = round_mantissa(values, bits)
    assert (rounded.shape, rounded.dtype) == (values.shape, np.float32)
    assert is_rounded(rounded, bits).all()
    np.testing.assert_array_equal(is_rounded(values, bits), values.view(np.uint32) == rounded.view(np.uint32))
    np.testing.assert_array_equal(values.view(np.uint32), patterns)


@given(st.lists(patterns, min_size=1), bit_counts)
def test_the_order_stays(patterns, bits):
    values = np.array(patterns, np.uint32).view(np.float32)
    values = np.sort(values[np.isfinite(values)])
    # What would round to infinity is left out.
    limit = 2.0**127 * (2 - relative_error(bits))
    rounded = round_mantissa(values[np.abs(values.astype(float)) < limit], bits)
    assert (rounded[1:] >= rounded[:-1]).all()


def test_all_bits_change_nothing():
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    np.testing.assert_array_equal(round_mantissa(values, MANTISSA_BITS), values)


@pytest.mark.parametrize("bits", range(1, MANTISSA_BITS + 1))
def test_attributes_come_back(bits):
    attributes = quantization_attributes(bits)
    assert kept_bits(attributes) == bits
    assert attributes["quantization_maximum_relative_error"] == 0.5 * 2.0**-bits
    assert kept_bits({"units": "mm"}) is None


@pytest.mark.parametrize("bits", [0, 24, -1, "7", 7.0, True, None])
def test_attributes_that_make_no_sense(bits):
    with pytest.raises(ValueError, match=r"quantization_nsb is .* not one of 1 to 23"):
        kept_bits({"quantization": "quantization_info", "quantization_nsb": bits})


def test_in_words():
    assert describe_rounding(7) == "rounded to 7 of 23 bits, relative error at most 2^-8 (about 0.0039)"
    assert describe_rounding(10).endswith("2^-11 (about 0.00049)")


def test_only_fields_of_histories_are_rounded():
    encoding = Encoding(history_bits=5)
    rounded = {name for name, variable in STORED_VARIABLES.items() if encoding.kept_bits(variable)}
    assert {"history_displacement", "history_von_mises_stress", "history_temperature"} <= rounded
    assert not rounded & {"displacement", "points", "history_points", "history_cells"}
    assert not any(map(Encoding().kept_bits, STORED_VARIABLES.values()))
