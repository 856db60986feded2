from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh import boundary
from lpbf_dataset.mesh.crossings import position_on_line, turn_about_line

from .conftest import box_mesh

TRIANGLE = np.array([[[0, 0, 1], [2, 0, 1], [0, 2, 3]]], dtype=float)


@pytest.mark.parametrize("axis", range(3))
def test_turn_and_position_along_each_axis(axis):
    corners = np.roll(TRIANGLE, axis + 1, axis=2)
    assert turn_about_line(corners, 0, axis, 0.5, 0.5) == 1
    assert turn_about_line(corners[:, ::-1], 0, axis, 0.5, 0.5) == -1
    assert turn_about_line(corners, 0, axis, 1.5, 1.5) == 0
    assert position_on_line(corners, 0, axis, 0.5, 0.5) == 1.5


def test_position_beside_a_triangle_stays_within_its_extent():
    assert position_on_line(TRIANGLE, 0, 2, 0.5, -1.0) == 1
    assert position_on_line(TRIANGLE, 0, 2, 0.5, 9.0) == 3


@pytest.mark.parametrize("axis", range(3))
def test_lines_through_edges_and_corners_enter_and_leave_a_closed_surface_equally_often(axis):
    surface = boundary(*box_mesh(2, 2, 2))
    corners = surface.vertices[surface.triangles]
    for u in (0, 0.5, 1, 1.5, 2):
        for v in (0, 0.5, 1, 1.5, 2):
            turns = [turn_about_line(corners, t, axis, u, v) for t in range(len(corners))]
            assert sorted(turn for turn in turns if turn) in ([], [-1, 1])
            assert any(turns) or 2 in (u, v)
