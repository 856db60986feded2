from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lpbf_dataset.mesh import boundary, feature_size, node_distance, signed_distance
from lpbf_dataset.sources.netfabb import NetfabbSource

from .conftest import Mesh, box_mesh, octree_mesh, rotated

PAIRS = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
DIAGONALS = [(0, 2), (4, 6), (0, 5), (1, 6), (3, 6), (0, 7)]


def naive_feature_size(mesh: Mesh) -> np.ndarray:
    """Test every cell against every ball; only balls that could help a cell stand at middles."""
    surface = boundary(*mesh)

    def radii(balls: np.ndarray) -> np.ndarray:
        return np.abs(signed_distance(balls, surface.vertices, surface.triangles)[0])

    def largest(balls: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(centres[:, None] - balls, axis=2)
        return np.where(distance < radii(balls) * (1 - 1e-4), radii(balls), 0).max(axis=1, initial=0)

    points = mesh.points.astype(np.float64)
    centres = points[mesh.cells].mean(axis=1)
    first = largest(np.concatenate([points[np.unique(mesh.cells)], centres]))
    helpful = []
    for cell, centre, radius, known in zip(mesh.cells, centres, radii(centres), first, strict=True):
        for a, b in PAIRS + DIAGONALS:
            middle = (points[cell[a]] + points[cell[b]]) / 2
            if radius + np.linalg.norm(middle - centre) > known * (1 + 1e-4):
                helpful.append(middle)
    return 2 * np.maximum(first, largest(np.reshape(helpful, (-1, 3))))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.6, 0.9, 1.0]), st.booleans())
def test_octrees_equal_naive_loop(seed, keep, turn):
    mesh = octree_mesh(seed, size=4, keep=keep, split=0.5)
    mesh = rotated(mesh, seed) if turn else mesh
    np.testing.assert_allclose(feature_size(*mesh), naive_feature_size(mesh), rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(arrays(np.bool_, (5, 4, 3)), st.tuples(*[st.sampled_from([0.25, 0.5, 1.0])] * 3))
def test_any_voxels_equal_naive_loop(occupied, size):
    occupied[0, 0, 0] = True
    mesh = box_mesh(*occupied.shape, size)
    mesh = Mesh(mesh.points, mesh.cells[occupied.ravel()])
    np.testing.assert_allclose(feature_size(*mesh), naive_feature_size(mesh), rtol=1e-9)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_plates_have_their_thickness_away_from_the_rim(layers, axis, turn):
    shape, size = np.full(3, 12), np.full(3, 0.9)
    shape[axis], size[axis] = layers, 0.4
    mesh = box_mesh(*shape, tuple(size))
    centres = mesh.points[mesh.cells].mean(axis=1)
    inner = (np.abs(np.delete(centres, axis, axis=1) - 5.4) < 5.4 - layers * 0.4).all(axis=1)
    thickness = feature_size(*(rotated(mesh) if turn else mesh))
    np.testing.assert_allclose(thickness[inner], layers * 0.4, rtol=1e-5)
    assert thickness.max() == pytest.approx(layers * 0.4, rel=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_square_bars_of_long_cells_have_their_width(layers):
    thickness = feature_size(*box_mesh(layers, layers, 6, (0.5, 0.5, 0.8)))
    away_from_ends = thickness.reshape(-1, 6)[:, 1:-1]
    np.testing.assert_allclose(away_from_ends, layers * 0.5, rtol=1e-6)


def test_cells_around_the_inscribed_ball_of_a_cube():
    mesh = box_mesh(8, 8, 8)
    centres = mesh.points[mesh.cells].mean(axis=1)
    expected = np.linalg.norm(centres - 4, axis=1) < 4
    thickness = feature_size(*mesh)
    np.testing.assert_array_equal(thickness == 8, expected)
    # In a corner, the largest ball around (0.5, 0.5, 0.5) touches it: R sqrt(3) - R = 0.5 sqrt(3).
    limit = np.sqrt(3) / (np.sqrt(3) - 1)
    assert limit - 1 < thickness.min() <= limit


def test_a_wall_on_a_block_is_thin_and_the_block_is_not():
    occupied = np.ones((8, 9, 16), dtype=bool)
    occupied[:, :4, 8:] = occupied[:, 5:, 8:] = False
    mesh = box_mesh(*occupied.shape)
    mesh = Mesh(mesh.points, mesh.cells[occupied.ravel()])
    thickness = feature_size(*mesh)
    z = mesh.points[mesh.cells].mean(axis=1)[:, 2]
    # Next to the block, balls of the block reach into the wall.
    np.testing.assert_array_equal(thickness[z > 9], 1)
    assert thickness[z < 8].max() == 8


@pytest.mark.parametrize("seed", range(3))
def test_rotation_changes_nothing(seed):
    mesh = octree_mesh(seed, keep=0.95)
    np.testing.assert_allclose(feature_size(*rotated(mesh, seed)), feature_size(*mesh), rtol=1e-5)


def test_threads_and_a_given_surface_change_nothing():
    mesh = box_mesh(30, 20, 20)
    expected = feature_size(*mesh)
    np.testing.assert_array_equal(feature_size(*mesh, boundary(*mesh), threads=3), expected)


def test_the_real_mesh(step2):
    (case,) = NetfabbSource(step2).cases()
    step = case.final_step()
    surface = boundary(step.points, step.cells)
    thickness = feature_size(step.points, step.cells, surface)
    deepest = -node_distance(step.points, surface)[0].min()
    assert thickness.min() > 0.6245 * 0.999
    assert 2 * deepest <= thickness.max() < 2 * deepest + 0.8


def test_the_surface_of_another_mesh_is_refused():
    with pytest.raises(ValueError, match="8 points, but the surface is of a mesh of 12 nodes"):
        feature_size(*box_mesh(1, 1, 1), boundary(*box_mesh(2, 1, 1)))
