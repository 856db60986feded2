from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps

from viz.colors import ERROR_MAP, SIGNED_MAP, UNSIGNED_MAP, ColorScale, error_scale, field_scale, round_up


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (0.0849, 0.085),
        (0.085, 0.085),
        (float(np.float32(0.4)), 0.4),
        (1670.5, 1700.0),
        (1.0, 1.0),
        (0.0101, 0.011),
        (99.1, 100.0),
        (0.3, 0.3),
    ],
)
def test_limits_have_two_digits(value: float, rounded: float) -> None:
    assert round_up(value) == rounded


@given(st.floats(1e-12, 1e12))
def test_rounding_up_reaches_the_value_and_adds_a_tenth_at_most(value: float) -> None:
    assert value * (1 - 1e-6) <= round_up(value) <= 1.1 * value * (1 + 1e-6)


def test_components_are_symmetric_about_zero_even_where_all_are_positive() -> None:
    assert field_scale("displacement_z", values(0.1, 0.32)) == ColorScale(SIGNED_MAP, (-0.32, 0.32))


def test_the_more_distant_end_sets_both_limits() -> None:
    assert field_scale("displacement_z", values(-0.084, 0.06)).limits == (-0.084, 0.084)


def test_negative_scalars_are_signed() -> None:
    assert field_scale("principal_stress_min", values(-900, 100)) == ColorScale(SIGNED_MAP, (-900, 900))


def test_one_scale_covers_all_arrays() -> None:
    assert field_scale("displacement_z", values(-0.1, 0.2), values(0.0, 0.4)).limits == (-0.4, 0.4)
    assert field_scale("von_mises_stress", values(10, 20), values(0, 700)).limits == (0, 700)


def test_unsigned_fields_start_at_zero_unless_they_are_far_from_it() -> None:
    assert field_scale("von_mises_stress", values(3, 930)) == ColorScale(UNSIGNED_MAP, (0, 930))
    assert field_scale("temperature", values(200, 225)).limits == (200, 225)


def test_constant_fields_have_a_range() -> None:
    assert field_scale("temperature", values(25, 25)).limits == (25, 26)
    assert field_scale("displacement_x", values(0, 0)).limits == (-1, 1)


def test_errors_have_other_colours_and_a_neutral_middle() -> None:
    assert error_scale(values(-0.02, 0.01)) == ColorScale(ERROR_MAP, (-0.02, 0.02))
    assert error_scale(values(0, 0)).limits == (-1, 1)
    assert ERROR_MAP not in (SIGNED_MAP, UNSIGNED_MAP)
    assert np.ptp(colormaps[ERROR_MAP](0.5)[:3]) < 0.05
