from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from viz.checks import SceneError
from viz.cuts import Clip, ClipBox, Plane, Slice, Threshold, across, cut_label, visible_surface
from viz.warp import deformed_surface, hexahedra, sharp_edges

if TYPE_CHECKING:
    import pyvista as pv

    from lpbf_dataset import Case
    from viz.cuts import Cut


def what_is_left(case: Case, cut: Cut | None) -> pv.PolyData:
    """Surface of the bar of 10 x 3 x 3 mm, with its x coordinate as values."""
    return visible_surface(hexahedra(case), case.points[:, 0], case.displacement, cut)


def test_a_slice_is_the_section_and_carries_interpolated_values(tilted_bar: Case) -> None:
    section = what_is_left(tilted_bar, Slice(across("x", 1.3)))
    assert section.area == pytest.approx(9.0)
    np.testing.assert_allclose(section["values"], 1.3, rtol=1e-6)
    np.testing.assert_allclose(section["displacement"][:, 2], 0.013, rtol=1e-5)


@pytest.mark.parametrize(
    ("axis", "bounds"),
    [("x", (-5, 0.5, -1.5, 1.5, 0, 3)), ("y", (-5, 5, 0.5, 1.5, 0, 3)), ("z", (-5, 5, -1.5, 1.5, 0, 0.5))],
)
def test_a_clip_takes_away_the_side_of_the_viewer(
    tilted_bar: Case, axis: str, bounds: tuple[float, ...]
) -> None:
    assert what_is_left(tilted_bar, Clip(across(axis, 0.5))).bounds == pytest.approx(bounds)


def test_a_clip_along_any_plane_shows_the_cut_face(tilted_bar: Case) -> None:
    left = what_is_left(tilted_bar, Clip(Plane((1.0, 0.0, 1.0), (0.0, 0.0, 1.5))))
    assert left.points @ (1.0, 0.0, 1.0) == pytest.approx(
        np.minimum(left.points @ (1.0, 0.0, 1.0), 1.5), abs=1e-5
    )
    # Half the bar: its ends, sides and the oblique section.
    assert left.area == pytest.approx(9 + 2 * 15 + 6.5 * 3 + 3.5 * 3 + 3 * 3 * np.sqrt(2), rel=1e-5)


def test_a_box_takes_whole_cells_away(tilted_bar: Case) -> None:
    left = what_is_left(tilted_bar, ClipBox((0.0, -2.0, 2.0), (9.0, 0.0, 9.0)))
    # The corner of 5 x 1 x 1 mm (y from -1.5 to -0.5) is gone: all areas but those of its ends remain.
    assert left.area == pytest.approx(2 * (30 + 30 + 9))
    assert not ((left.points > (0.5, -9, 2.5)) & (left.points < (9, -1.0, 9))).all(axis=1).any()


def test_a_threshold_keeps_cells_by_their_mean(tilted_bar: Case) -> None:
    assert what_is_left(tilted_bar, Threshold(2.5, np.inf)).bounds[:2] == (2, 5)
    assert what_is_left(tilted_bar, Threshold(-1.0, 1.0)).bounds[:2] == (-1, 1)


@pytest.mark.parametrize(
    "cut",
    [Slice(across("x", 300.0)), Clip(across("z", -1.0)), ClipBox((-9,) * 3, (9,) * 3), Threshold(6.0, 7.0)],
)
def test_nothing_left_is_said_with_what_there_is(tilted_bar: Case, cut: Cut) -> None:
    with pytest.raises(SceneError, match=r"nothing to draw \(.*\): .* x from -5 to 5, .*from -5 to 5$"):
        what_is_left(tilted_bar, cut)


@pytest.mark.parametrize(
    ("cut", "label"),
    [
        (Slice(across("y", 4.8e-9)), "slice at y = 0 mm"),
        (Clip(across("z", 12.5)), "clipped at z = 12.5 mm"),
        (Clip(Plane((1, 0, 1), (0, 0, 0))), "clipped at the plane with normal (1, 0, 1)"),
        (Threshold(300, np.inf), "from 300 MPa"),
        (Threshold(-np.inf, 5), "up to 5 MPa"),
        (Threshold(1, 5), "1 to 5 MPa"),
    ],
)
def test_cuts_in_words(cut: Cut, label: str) -> None:
    assert cut_label(cut, "MPa") == label


def test_cuts_move_with_the_part_and_leave_it_as_it_was(tilted_bar: Case, skin: pv.PolyData) -> None:
    grid = hexahedra(tilted_bar)
    moved = deformed_surface(
        grid, tilted_bar.points[:, 0], tilted_bar.displacement, 20.0, cut=Slice(across("x", 5.0))
    )
    assert moved.bounds[4:] == pytest.approx((1, 4), abs=1e-5)
    for mesh in (grid, skin):
        before = np.array(mesh.points)
        deformed_surface(mesh, np.zeros(len(before)), np.ones_like(before), 20.0)
        np.testing.assert_array_equal(mesh.points, before)


def test_sharp_edges_are_the_twelve_of_a_box_despite_hanging_nodes(
    bar_with_hanging_nodes: tuple[Case, Case],
) -> None:
    for case in bar_with_hanging_nodes:
        lines = sharp_edges(hexahedra(case))
        assert lines.compute_cell_sizes()["Length"].sum() == pytest.approx(4 * (4 + 2 + 2))
