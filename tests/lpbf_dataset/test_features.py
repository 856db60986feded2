from __future__ import annotations

import numpy as np
import pytest
from trimesh.creation import box

from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.schema import FEATURE_VARIABLES, VARIABLES
from lpbf_dataset.sources.base import CaseError, FailureReason, Surface
from lpbf_dataset.sources.netfabb import NetfabbSource


@pytest.fixture(scope="module")
def block(synthetic_case):
    """Return nodes and cells of a block of 4 x 3 x 2 unit cells."""
    case = synthetic_case(4, 3, 2)
    return case.points, case.cells


def features_of(points, cells, part=None):
    return geometry_features(points, cells, mesh_surface(points, cells), part)


def part(extents=(4.0, 3.0, 2.0), center=(2.0, 1.5, 1.0)):
    """Return a box as the part surface."""
    solid = box(extents)
    solid.apply_translation(center)
    return Surface(solid.triangles.astype(np.float32), "part.stl")


def test_features_of_a_block(block):
    features = features_of(*block)
    assert tuple(features) == FEATURE_VARIABLES
    for name, values in features.items():
        assert values.dtype == VARIABLES[name].dtype
        assert values.shape == (len(block[0]), *VARIABLES[name].row_shape)
    high = np.array([4, 3, 2])
    to_walls = np.concatenate([block[0], high - block[0]], axis=1)
    np.testing.assert_allclose(features["sdf"], -to_walls.min(axis=1), atol=1e-6)
    np.testing.assert_allclose(features["axis_distance"], to_walls, atol=1e-6)
    np.testing.assert_array_equal(features["on_surface"], to_walls.min(axis=1) == 0)
    lengths = np.linalg.norm(features["sdf_direction"], axis=1)
    np.testing.assert_allclose(lengths, ~features["on_surface"], atol=1e-6)


def test_the_part_of_the_same_shape_gives_the_same_features(block):
    of_mesh, of_part = features_of(*block), features_of(*block, part())
    for name in ("sdf", "axis_distance", "on_surface"):
        np.testing.assert_allclose(of_part[name], of_mesh[name], atol=1e-6)


def test_nodes_outside_the_part_have_positive_distance(block):
    features = features_of(*block, part(extents=(4, 3, 1.5), center=(2, 1.5, 0.75)))
    top = block[0][:, 2] == 2
    np.testing.assert_allclose(features["sdf"][top], 0.5)
    assert not features["axis_distance"][top].any()
    np.testing.assert_array_equal(features["on_surface"], features_of(*block)["on_surface"])


def test_a_part_elsewhere_is_brought_to_the_mesh(block):
    moved = features_of(*block, part(center=(30, -20, 100)))
    np.testing.assert_allclose(moved["sdf"], features_of(*block)["sdf"], atol=1e-5)


def test_a_part_turned_inside_out_is_turned_back(block):
    inverted = Surface(part().triangles[:, ::-1], "part.stl")
    features = features_of(*block, inverted)
    np.testing.assert_allclose(features["sdf"], features_of(*block)["sdf"], atol=1e-6)


def test_a_triangle_collapsed_by_rounding_opens_nothing(block):
    triangles = part().triangles
    edge = triangles[0][[0, 1, 1]]
    with_edge = Surface(np.concatenate([triangles, edge[None]]), "part.stl")
    for name, values in features_of(*block, with_edge).items():
        np.testing.assert_array_equal(values, features_of(*block, part())[name])


@pytest.mark.parametrize(
    ("surface", "reason"),
    [
        (part(extents=(40, 30, 20)), FailureReason.SURFACE_MISMATCH),
        (Surface(part().triangles[1:], "part.stl"), FailureReason.OPEN_SURFACE),
        (Surface(np.ones((4, 3, 3), np.float32), "part.stl"), FailureReason.OPEN_SURFACE),
    ],
    ids=["other size", "open", "collapsed"],
)
def test_a_part_surface_that_does_not_serve_is_a_failed_case(block, surface, reason):
    with pytest.raises(CaseError) as error:
        features_of(*block, surface)
    assert error.value.reason is reason


@pytest.mark.parametrize(
    "spoil",
    [
        lambda points, cells: (points, np.concatenate([cells, cells[:1]])),
        lambda points, cells: (points, cells[:, [4, 5, 6, 7, 0, 1, 2, 3]]),
        lambda points, cells: (np.concatenate([points, points[:1] - 5]), cells),
        lambda points, cells: (np.where(np.arange(len(points))[:, None] == 7, np.nan, points), cells),
        lambda points, cells: (points, cells[:0]),
    ],
    ids=["doubled cell", "inverted", "unused node", "not finite", "no cells"],
)
def test_an_unsound_mesh_is_a_failed_case(block, spoil):
    with pytest.raises(CaseError) as error:
        features_of(*spoil(*block))
    assert error.value.reason is FailureReason.INVALID_MESH


def test_real_mesh_against_its_stl(step2):
    (case,) = NetfabbSource(step2).cases()
    step = case.final_step(("displacement",))
    of_mesh = features_of(step.points, step.cells)
    of_part = features_of(step.points, step.cells, case.surface())
    # The mesh is the part to the size of its cells, 0.8 mm at most along an edge.
    assert np.abs(of_mesh["sdf"] - of_part["sdf"]).max() < 1.2
    assert (of_mesh["sdf"] <= 0).all()
    assert (of_part["sdf"] > 0).any()
