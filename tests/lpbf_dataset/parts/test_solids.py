import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.parts import solids
from lpbf_dataset.parts.draw import VARIANT_REACH, Draw
from lpbf_dataset.parts.families.gears import involute_outline

INSCRIBED = np.sin(2 * np.pi / solids.CIRCLE_SEGMENTS) * solids.CIRCLE_SEGMENTS / (2 * np.pi)
"""Area of the polygon that stands for a circle, relative to the circle."""


def bounds(solid):
    return np.reshape(solid.bounding_box(), (2, 3))


def test_slab_of_a_disc_has_the_volume_of_a_cylinder():
    assert solids.slab(solids.disc(10), 4).volume() == pytest.approx(INSCRIBED * np.pi * 25 * 4)


def test_rounded_rectangle_lacks_its_corners():
    area = solids.rectangle(20, 10, 2).area()
    assert area == pytest.approx(20 * 10 - (4 - np.pi) * 2**2, rel=1e-3)
    assert solids.rectangle(20, 10, at=(3, 4)).bounds() == pytest.approx((-7, -1, 13, 9))


def test_chamfer_takes_a_prism_from_each_top_edge():
    solid = solids.chamfered_slab(solids.rectangle(20, 20), 5, 1)
    # A frustum 1 mm high on a block 4 mm high.
    assert solid.volume() == pytest.approx(20 * 20 * 4 + (400 + 324 + np.sqrt(400 * 324)) / 3)


def test_walls_stand_where_they_are_put():
    sketch = solids.rectangle(10, 6, at=(0, 3))
    np.testing.assert_allclose(bounds(solids.wall_xz(sketch, 2, y=7)), [(-5, 6, 0), (5, 8, 6)], atol=1e-12)
    np.testing.assert_allclose(bounds(solids.wall_yz(sketch, 2, x=7)), [(6, -5, 0), (8, 5, 6)], atol=1e-12)


def test_turned_ring_has_the_volume_of_pappus():
    ring = solids.turned([(4, 0), (6, 0), (6, 3), (4, 3)])
    assert ring.volume() == pytest.approx(INSCRIBED * 2 * np.pi * 5 * 6)


def test_polygon_takes_either_direction_of_turn():
    corners = [(0, 0), (4, 0), (4, 3)]
    assert solids.polygon(corners).area() == solids.polygon(corners[::-1]).area() == pytest.approx(6)


def test_around_repeats_evenly():
    three = solids.around(solids.slab(solids.disc(2, at=(10, 0)), 1), 3)
    assert len(three.decompose()) == 3
    assert three.volume() == pytest.approx(3 * INSCRIBED * np.pi)


@pytest.mark.parametrize("teeth", [12, 17, 32])
def test_involute_wheel_follows_the_standard(teeth):
    module = 2.0
    contour = involute_outline(teeth, module).to_polygons()[0]
    radius = np.hypot(*contour.T)
    assert radius.max() == pytest.approx(module * (teeth / 2 + 1))
    assert radius.min() == pytest.approx(module * (teeth / 2 - 1.25))
    # Teeth are as thick as the gaps between them on the pitch circle.
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    pitch_circle = module * teeth / 2 * np.exp(1j * angle)
    order = np.argsort(np.angle(contour[:, 0] + 1j * contour[:, 1]))
    profile_angle = np.angle(contour[:, 0] + 1j * contour[:, 1])[order]
    outline = np.interp(np.angle(pitch_circle), profile_angle, radius[order], period=2 * np.pi)
    assert np.mean(outline > module * teeth / 2) == pytest.approx(0.5, abs=0.02)


@given(st.integers(0, 2**32), st.floats(-100, 100), st.floats(0, 50))
def test_dimensions_of_variants_stay_near_and_in_range(seed, low, width):
    parent = Draw(np.random.default_rng(seed))
    variant = Draw(np.random.default_rng(seed), np.random.default_rng(seed + 1))
    for name in "abc":
        first, second = (draw.dimension(name, low, low + width) for draw in (parent, variant))
        assert low <= min(first, second)
        assert max(first, second) <= low + width + 1e-12
        assert abs(first - second) <= VARIANT_REACH * width + 1e-9
    assert parent.count("n", 2, 9) == variant.count("n", 2, 9)
    assert parent.choice("kind", "x", "y") == variant.choice("kind", "x", "y")
    assert parent.has("rib") == variant.has("rib")
    assert parent.parameters.keys() == variant.parameters.keys()
