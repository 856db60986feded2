from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viz.warp import automatic_warp, deformed_surface, hexahedra, warp_factor

if TYPE_CHECKING:
    from lpbf_dataset import Case

BOX = np.array([[0, 0, 0], [60, 20, 10]], np.float32)


def moved(largest: float) -> np.ndarray:
    """Return displacements of the two points of the box: none, and one along a diagonal."""
    return np.array([[0, 0, 0], [0, 0.6 * largest, -0.8 * largest]])


@pytest.mark.parametrize(
    ("largest", "factor"), [(0.3, 20), (0.31, 10), (0.0849, 70), (6.0, 1), (1e-5, 600_000)]
)
def test_factor_has_one_digit_and_draws_at_most_a_tenth_of_the_longest_side(
    largest: float, factor: float
) -> None:
    assert automatic_warp(BOX, moved(largest)) == pytest.approx(factor)


@given(st.floats(1e-6, 5.9))
def test_the_drawn_displacement_is_a_twentieth_to_a_tenth(largest: float) -> None:
    drawn = automatic_warp(BOX, moved(largest)) * largest / 60
    assert 0.05 < drawn <= 0.1 + 1e-9


@pytest.mark.parametrize("largest", [0.0, 7.0, 1e6])
def test_nothing_is_shrunk(largest: float) -> None:
    assert automatic_warp(BOX, moved(largest)) == 1.0


def test_a_factor_that_is_given_stands(tilted_bar: Case) -> None:
    assert warp_factor(tilted_bar.points, tilted_bar.displacement, 3.5) == 3.5
    assert warp_factor(tilted_bar.points, tilted_bar.displacement, 0.0) == 0.0
    # 10 mm long, 0.05 mm at the ends: a tenth of the length is 20 times that.
    assert warp_factor(tilted_bar.points, tilted_bar.displacement, "auto") == 20.0


def test_the_surface_carries_values_to_their_displaced_places(tilted_bar: Case) -> None:
    surface = deformed_surface(hexahedra(tilted_bar), tilted_bar.points[:, 0], tilted_bar.displacement, 20.0)
    np.testing.assert_allclose(surface["values"], surface.points[:, 0])
    assert surface.bounds == pytest.approx((-5, 5, -1.5, 1.5, -1, 4), abs=1e-6)


def test_the_undeformed_surface_of_a_box_has_its_area(tilted_bar: Case) -> None:
    surface = deformed_surface(hexahedra(tilted_bar), tilted_bar.points[:, 0], tilted_bar.displacement, 0.0)
    assert surface.area == pytest.approx(2 * (10 * 3 + 10 * 3 + 3 * 3))
    np.testing.assert_array_equal(tilted_bar.points[:, 2].max(), 3)
