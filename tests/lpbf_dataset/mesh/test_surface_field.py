import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset.mesh.surface_field import SurfaceInterpolator, recovered_gradient
from lpbf_dataset.simulation.octree import build_mesh
from lpbf_dataset.simulation.voxels import voxelise

CELL = 0.5


@pytest.fixture(scope="module")
def ball():
    """Return a ball on the plate and its octree mesh, of cells of several sizes, without the plate."""
    surface = trimesh.creation.icosphere(3, radius=4.0)
    surface.apply_translation([0, 0, 4])
    grid = voxelise(surface.triangles, cell_height=CELL, group_cells=4)
    mesh = build_mesh(grid, group_cells=4, plate_depth=25.0)
    nodes, cells = np.unique(mesh.cells[mesh.cell_range(1).start :], return_inverse=True)
    return surface, mesh.points[nodes], cells.reshape(-1, 8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_linear_fields_are_exact_in_and_around_the_mesh(ball, seed):
    _, points, cells = ball
    rng = np.random.default_rng(seed)
    slope, constant = rng.normal(size=(3, 2)), rng.normal(size=2)
    targets = rng.uniform(points.min(axis=0) - 3, points.max(axis=0) + 3, (200, 3))
    values, distance = SurfaceInterpolator(points, cells)(points @ slope + constant, targets)
    np.testing.assert_allclose(values, targets @ slope + constant, atol=1e-9)
    assert (distance > 0).any()
    assert (distance == 0).any()


def test_the_surface_lies_partly_outside_by_less_than_half_a_diagonal(ball):
    surface, points, cells = ball
    _, distance = SurfaceInterpolator(points, cells)(points[:, 0], surface.vertices)
    assert 0.2 < (distance > 0).mean() < 0.8
    assert distance.max() <= np.sqrt(3) / 2 * CELL


def test_a_curved_field_is_far_nearer_than_at_the_nearest_node(ball):
    surface, points, cells = ball

    def field(at):
        return np.stack([(at**2).sum(axis=1) / 20, np.sin(at[:, 0] / 3)], axis=1)

    truth = field(surface.vertices)
    values, _ = SurfaceInterpolator(points, cells)(field(points), surface.vertices)
    nearest = np.linalg.norm(surface.vertices[:, None] - points, axis=2).argmin(axis=1)
    assert np.linalg.norm(values - truth) < 0.1 * np.linalg.norm(field(points)[nearest] - truth)


def test_the_field_does_not_jump_where_it_leaves_the_mesh(ball):
    _, points, cells = ball
    rng = np.random.default_rng(0)
    field = rng.normal(size=len(points))
    start = rng.uniform(points.min(axis=0), points.max(axis=0), (50, 3))
    toward = rng.normal(size=(50, 3))
    line = (start[:, None] + np.linspace(0, 3, 3001)[:, None] * toward[:, None] / 3).reshape(-1, 3)
    values, distance = SurfaceInterpolator(points, cells)(field, line)
    values, distance = values.reshape(50, -1), distance.reshape(50, -1)
    crossing = (distance[:, 1:] > 0) != (distance[:, :-1] > 0)
    step = np.linalg.norm(toward, axis=1)[:, None] / 1000
    steepest = 6 / CELL * np.abs(field).max()
    assert crossing.any()
    assert (np.abs(np.diff(values, axis=1)) <= steepest * step)[crossing].all()


def test_shapes_and_precision(ball):
    _, points, cells = ball
    interpolator = SurfaceInterpolator(points.astype(np.float32), cells)
    tensor = np.ones((len(points), 2, 3), dtype=np.float32)
    values, _ = interpolator(tensor, points[:7] - 1)
    assert values.shape == (7, 2, 3)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, 1, atol=1e-6)
    assert interpolator(tensor, np.zeros((0, 3))).values.shape == (0, 2, 3)


def test_recovered_gradient_is_the_mean_of_those_of_the_cells(ball):
    _, points, cells = ball
    field = np.random.default_rng(1).normal(size=len(points))
    node = int(cells[len(cells) // 2, 0])
    slopes = []
    for cell in cells[(cells == node).any(axis=1)]:
        # Of a box, the trilinear gradient at the centre is the linear least-squares fit to its corners.
        design = np.column_stack([points[cell], np.ones(8)])
        slopes.append(np.linalg.lstsq(design, field[cell], rcond=None)[0][:3])
    np.testing.assert_allclose(
        recovered_gradient(points, cells, field)[node], np.mean(slopes, axis=0), atol=1e-9
    )


def test_a_target_that_is_nowhere_is_refused(ball):
    _, points, cells = ball
    with pytest.raises(ValueError, match="finite"):
        SurfaceInterpolator(points, cells)(points, np.full((1, 3), np.nan))
