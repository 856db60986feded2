from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.report.text import label, label_with_unit, number, percent, quantity, unit


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.0, "7"), (1390, "1 390"), (29_151_080, "29 151 080"), (0.29512, "0.2951"),
     (12345.67, "12 346"), (-0.5, "-0.5"), (1.5e-9, "1.5e-09"), (math.nan, ""), (math.inf, "inf")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value).replace("\u202f", " ") == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_true_to_four_digits(value):
    assert float(number(value).replace("\u202f", "")) == pytest.approx(value, rel=5.1e-4)


def test_units():
    assert unit("mm3") == "mm³"
    assert unit("1") == ""
    assert quantity(0.5, "max_z") == "0.5\u202fmm"
    assert quantity(3, "nodes") == "3"
    assert label_with_unit("surface_area") == "area of the part surface (STL) [mm²]"
    assert label("genus") == "genus of the part surface (STL)"


def test_percent():
    assert percent(0.409) == "40.9\u202f%"
    assert percent(math.nan) == ""
