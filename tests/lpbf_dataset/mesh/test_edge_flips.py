import numpy as np
import pytest
import trimesh
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay
from scipy.spatial.transform import Rotation

from lpbf_dataset.mesh.edge_flips import flipped_to_delaunay
from lpbf_dataset.mesh.flat_patches import flat_patches

TOLERANCE = 1e-4


def flipped(vertices, faces, longest=np.inf):
    return flipped_to_delaunay(vertices, faces, flat_patches(vertices, faces, TOLERANCE), longest)


def coned(plane, simplices):
    """Triangles over points in a plane, closed by a cone to a point far below."""
    x, y = plane[simplices[:, 1:]].swapaxes(0, 1) - plane[simplices[:, 0]]
    faces = np.where((x[:, 0] * y[:, 1] > x[:, 1] * y[:, 0])[:, None], simplices, simplices[:, ::-1])
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    rim = edges[trimesh.grouping.group_rows(np.sort(edges, axis=1), require_count=1)]
    cone = np.column_stack([rim[:, ::-1], np.full(len(rim), len(plane))])
    vertices = np.column_stack([np.vstack([plane, plane.mean(axis=0)]), np.append(np.zeros(len(plane)), -50)])
    return vertices, np.concatenate([faces, cone])


def as_sets(faces):
    return {frozenset(map(int, face)) for face in faces}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60))
def test_a_plane_gets_the_delaunay_triangulation_of_qhull(seed, count):
    plane = np.random.default_rng(seed).uniform(-10, 10, (count, 2))
    wanted, stretched = Delaunay(plane).simplices, Delaunay(plane * [1, 10]).simplices
    # Qhull leaves out triangles at the rim that are all but flat.
    assume(len(wanted) == len(stretched))
    vertices, faces = coned(plane, stretched)
    vertices = vertices @ Rotation.random(random_state=seed).as_matrix().T
    found = as_sets(flipped(vertices, faces))
    assert {face for face in found if count not in face} == as_sets(wanted)
    assert {face for face in found if count in face} == {face for face in as_sets(faces) if count in face}


solids = st.sampled_from(
    [
        trimesh.creation.box((30, 10, 2)),
        trimesh.creation.cylinder(radius=5, height=20, sections=48),
        trimesh.creation.annulus(r_min=2, r_max=9, height=3, sections=40),
        trimesh.creation.icosphere(2),
    ]
)


@settings(max_examples=25, deadline=None)
@given(solids, st.integers(0, 10_000))
def test_a_closed_surface_keeps_vertices_shape_and_closedness(solid, seed):
    rotation = Rotation.random(random_state=seed).as_matrix()
    vertices = solid.vertices @ rotation.T
    mesh = trimesh.Trimesh(vertices, flipped(vertices, solid.faces), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == solid.euler_number
    assert mesh.volume == pytest.approx(solid.volume, rel=1e-9)
    assert mesh.area == pytest.approx(solid.area, rel=1e-9)
    assert np.sort(mesh.face_angles.min(axis=1))[0] >= np.sort(solid.face_angles.min(axis=1))[0] - 1e-9


def test_a_cap_on_a_ridge_is_flipped_away():
    """A vertex all but on the ridge becomes part of it."""
    tip = TOLERANCE / 10
    vertices = np.array([(-1, 0, 0), (1, 0, 0), (0, tip, 0), (0, 2, 0), (0, 0.5, -1)], dtype=float)
    faces = np.array([(0, 1, 2), (0, 2, 3), (2, 1, 3), (1, 0, 4), (0, 3, 4), (3, 1, 4)])
    mesh = trimesh.Trimesh(vertices, flipped(vertices, faces), process=False)
    assert mesh.is_watertight
    assert mesh.area_faces.min() > 0.1
    assert mesh.volume == pytest.approx(trimesh.Trimesh(vertices, faces).volume, rel=TOLERANCE)


def test_slivers_on_each_other_are_undone():
    """A slit of no width in an upright edge, with a vertex on either side of it."""
    left, right = (0, 0, 0.4), (0, 1e-9, 0.7)
    vertices = np.array([(0, 0, 0), (0, 0, 1), left, right, (1, -1, 0.5), (1, 1, 0.5)], dtype=float)
    faces = [(0, 1, 2), (1, 0, 3), (2, 1, 4), (0, 2, 4), (1, 3, 5), (3, 0, 5), (1, 5, 4), (0, 4, 5)]
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.is_watertight
    assert np.sort(solid.area_faces)[1] < 1e-9
    found = solid.faces
    for _ in range(2):
        found = flipped(vertices, found)
    mesh = trimesh.Trimesh(vertices, found, process=False)
    assert mesh.is_watertight
    assert mesh.area_faces.min() > 0.1
    assert mesh.volume == pytest.approx(solid.volume, rel=1e-6)


def test_no_edge_grows_beyond_the_longest_allowed():
    plane = np.array([(0, 0), (1.9, 0), (0.9, 0.3), (0.9, -2)])
    vertices, faces = coned(plane, np.array([(0, 1, 2), (1, 0, 3)]))
    assert as_sets(flipped(vertices, faces)) != as_sets(faces)
    np.testing.assert_array_equal(flipped(vertices, faces, 2.0), faces)


def test_a_flip_that_would_double_an_edge_is_not_made():
    """Two flat triangles, back to back with two others over the same rim: the diagonal is there already."""
    vertices = np.array([(0, 1, 0), (0, -1, 0), (-0.4, 0, 0), (0.4, 0, 0)], dtype=float)
    faces = np.array([(0, 1, 3), (1, 0, 2), (2, 3, 1), (3, 2, 0)])
    np.testing.assert_array_equal(flipped(vertices, faces), faces)


def test_what_three_triangles_share_stays():
    vertices = np.array([(0, 0, 0), (0, 0, 3), (0.1, 0, 1.5), (-0.1, 0, 1.5), (0, -1, 0)], dtype=float)
    faces = np.array([(0, 1, 2), (1, 0, 3), (0, 1, 4)])
    np.testing.assert_array_equal(flipped(vertices, faces), faces)


def test_no_triangles():
    faces = np.zeros((0, 3), dtype=int)
    assert flipped(np.zeros((0, 3)), faces).shape == (0, 3)
