import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.sources.part_files import place_on_plate, plate_frame

angle = st.floats(-360, 360)


@given(st.tuples(angle, angle, angle), st.none() | st.floats(0.1, 500), st.tuples(angle, angle, angle))
def test_any_part_stands_centred_on_the_plate(orient, edge, shift):
    box = trimesh.creation.box((20.0, 10.0, 5.0)).apply_translation(shift)
    placed = place_on_plate(box, edge, orient)
    size = placed.extents.max()
    np.testing.assert_allclose(placed.bounds[:, :2].sum(axis=0), 0, atol=1e-9 * size)
    assert placed.bounds[0, 2] == pytest.approx(0, abs=1e-12 * size)
    scale = 1 if edge is None else (placed.volume / 1000) ** (1 / 3)
    assert placed.volume == pytest.approx(1000 * scale**3)
    if edge is not None:
        assert size == pytest.approx(edge)


@pytest.mark.parametrize(
    ("orient", "up"),
    [("as-is", 2), ("x", 0), ("y", 1), ("-x", 0), ("-y", 1), ("-z", 2)],
)
def test_the_named_axis_points_up(orient, up):
    # A cone-like wedge with its apex along the axis in question.
    apex = np.zeros(3)
    apex[up] = -9.0 if orient.startswith("-") else 9.0
    others = [np.roll((1.0, 0, 0), up + 1), np.roll((1.0, 0, 0), up + 2)]
    base = [others[0], others[1], -others[0] - others[1]]
    wedge = trimesh.Trimesh([apex, *base], [(0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2)], process=False)
    placed = place_on_plate(wedge, orient=orient)
    assert placed.vertices[0, 2] == pytest.approx(9)
    np.testing.assert_allclose(placed.vertices[1:, 2], 0, atol=1e-12)
    assert placed.volume == pytest.approx(wedge.volume)


def test_the_given_part_is_left_as_it_is(box):
    before = box.vertices.copy()
    place_on_plate(box, 60.0, "x")
    np.testing.assert_array_equal(box.vertices, before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"orient": "up"},
        {"orient": (0, 0)},
        {"orient": (0, 0, np.nan)},
        {"scale_to_mm": 0},
        {"scale_to_mm": np.inf},
    ],
)
def test_nonsense_is_refused(box, arguments):
    with pytest.raises(ValueError, match="give"):
        place_on_plate(box, **arguments)


@pytest.mark.parametrize("scale", [None, 60.0])
@pytest.mark.parametrize("orient", ["as-is", "-x", (20, 30, 40)])
def test_the_frame_of_the_plate_leads_there_and_back(scale, orient):
    mesh = trimesh.creation.box((1, 2, 3), transform=trimesh.transformations.random_rotation_matrix())
    mesh.apply_translation((100, -30, 7))
    frame = plate_frame(mesh, scale, orient)
    placed = place_on_plate(mesh, scale, orient)
    np.testing.assert_allclose(trimesh.transform_points(mesh.vertices, frame), placed.vertices, atol=1e-9)
    back = trimesh.transform_points(placed.vertices, np.linalg.inv(frame))
    np.testing.assert_allclose(back, mesh.vertices, atol=1e-9)
