import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset.mesh.self_intersection import piercing_triangles


def piercing_twin(vertices, faces):
    """All pairs, each edge against each triangle by solving for the point of intersection."""
    found = np.zeros(len(faces), dtype=bool)
    for i, first in enumerate(faces):
        for j, second in enumerate(faces):
            if i == j or set(first) & set(second):
                continue
            a, b, c = vertices[second]
            for start, end in zip(vertices[first], vertices[np.roll(first, -1)], strict=True):
                matrix = np.column_stack([end - start, a - b, a - c])
                if abs(np.linalg.det(matrix)) < 1e-12:
                    continue
                t, u, v = np.linalg.solve(matrix, a - start)
                margin = 1e-6
                if margin < t < 1 - margin and u > margin and v > margin and u + v < 1 - margin:
                    found[[i, j]] = True
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_random_triangles_agree_with_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    vertices = rng.uniform(-1, 1, (36, 3))
    faces = rng.permutation(36).reshape(12, 3)
    np.testing.assert_array_equal(piercing_triangles(vertices, faces), piercing_twin(vertices, faces))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_overlapping_boxes_pierce_and_separate_ones_do_not(scale):
    box = trimesh.creation.box((2, 2, 2))
    overlapping = trimesh.util.concatenate([box, box.copy().apply_translation((1, 0.9, 0.8))])
    separate = trimesh.util.concatenate([box, box.copy().apply_translation((3, 0, 0))])
    assert piercing_triangles(overlapping.vertices * scale, overlapping.faces).any()
    assert not piercing_triangles(separate.vertices * scale, separate.faces).any()


def test_touching_boxes_do_not_pierce():
    box = trimesh.creation.box((2, 2, 2))
    stacked = trimesh.util.concatenate([box, box.copy().apply_translation((0.5, 0.5, 2))])
    assert not piercing_triangles(stacked.vertices, stacked.faces).any()


def test_single_precision_sphere_does_not_pierce_itself():
    sphere = trimesh.creation.icosphere(3)
    assert not piercing_triangles(sphere.vertices.astype(np.float32), sphere.faces).any()


def test_no_triangles_and_degenerate_ones():
    assert piercing_triangles(np.zeros((0, 3)), np.zeros((0, 3), dtype=int)).shape == (0,)
    assert not piercing_triangles(np.zeros((6, 3)), np.arange(6).reshape(2, 3)).any()
