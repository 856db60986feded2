import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lpbf_dataset.mesh.edge_splitting import split_long_edges
from lpbf_dataset.mesh.flat_patches import flat_patches

TOLERANCE = 1e-4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_box_has_six_patches_wherever_it_lies(seed):
    rng = np.random.default_rng(seed)
    box = trimesh.creation.box(rng.uniform(0.5, 5, 3))
    vertices, faces = split_long_edges(box.vertices, box.faces, 0.5)
    vertices = vertices @ Rotation.random(random_state=seed).as_matrix().T + rng.uniform(-50, 50, 3)
    labels, normals = flat_patches(vertices, faces, TOLERANCE)
    assert sorted(set(labels)) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(
        trimesh.Trimesh(vertices, faces, process=False).face_normals, normals[labels], atol=1e-9
    )


def test_vertices_lie_in_the_plane_of_their_patch():
    ball = trimesh.creation.icosphere(5, radius=10)
    labels, normals = flat_patches(ball.vertices, ball.faces, 0.01)
    assert 100 < len(normals) < len(ball.faces)
    for patch in range(0, len(normals), 50):
        heights = ball.vertices[ball.faces[labels == patch]] @ normals[patch]
        assert np.ptp(heights) <= 2 * 0.01


def test_a_sliver_joins_the_patch_at_its_longest_edge():
    """Two walls at a right angle; a cap of the upright one has its long edge on the ridge."""
    vertices = np.array([(0, 0, 0), (2, 0, 0), (1, -1, 0), (1, 0, -1e-6), (1, 0, -1)])
    faces = np.array([(0, 2, 1), (0, 1, 3), (3, 1, 4), (0, 3, 4)])
    labels, _ = flat_patches(vertices, faces, TOLERANCE)
    assert labels[1] == labels[0]
    assert labels[2] == labels[3] != labels[0]


def test_slivers_on_their_own_have_no_patch():
    vertices = np.array([(0, 0, 0), (1, 0, 0), (0.5, 1e-9, 0), (0.5, -1e-9, 0)])
    labels, normals = flat_patches(vertices, np.array([(0, 1, 2), (1, 0, 3)]), TOLERANCE)
    assert (labels == -1).all()
    assert len(normals) == 0
