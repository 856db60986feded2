from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpbf_dataset.mesh.boundary import boundary
from lpbf_dataset.mesh.distance import node_distance, signed_distance
from lpbf_dataset.sources.netfabb import NetfabbSource

from .conftest import Mesh, box_mesh, octree_mesh, rotated


def naive_distance(queries: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest of triangles (t, 3, 3): to their insides, then to their edges."""
    a, normals = corners[:, 0], np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    distances = []
    for query in queries.astype(np.float64):
        height = ((query - a) * normals).sum(axis=1)
        foot = query - height[:, None] * normals
        inside = np.ones(len(corners), dtype=bool)
        nearest = np.inf
        for k in range(3):
            start, along = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k]
            inside &= (np.cross(along, foot - start) * normals).sum(axis=1) >= 0
            t = np.clip(((query - start) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
            nearest = min(nearest, np.linalg.norm(start + t[:, None] * along - query, axis=1).min())
        distances.append(min(nearest, np.abs(height[inside]).min(initial=np.inf)))
    return np.array(distances)


def is_inside(mesh: Mesh, queries: np.ndarray) -> np.ndarray:
    """Return which points lie in a closed cell of a mesh of boxes along the axes."""
    low, high = mesh.points[mesh.cells[:, 0]] - 1e-6, mesh.points[mesh.cells[:, 6]] + 1e-6
    return ((queries[:, None] >= low) & (queries[:, None] <= high)).all(axis=2).any(axis=1)


def assert_node_distance_equals_naive(mesh: Mesh, every: int = 1) -> None:
    surface = boundary(*mesh)
    corners = surface.vertices[surface.triangles]
    distance, direction = node_distance(mesh.points, surface, threads=2)
    naive = naive_distance(mesh.points[::every], corners)
    np.testing.assert_allclose(-distance[::every], naive, atol=1e-5)
    assert (distance[surface.is_surface_node] == 0).all()
    assert (direction[surface.is_surface_node] == 0).all()
    inside = ~surface.is_surface_node
    assert (distance[inside] < 0).all()
    np.testing.assert_allclose(np.linalg.norm(direction[inside], axis=1), 1)
    nearest = (mesh.points - distance[:, None] * direction)[inside][::every]
    np.testing.assert_allclose(naive_distance(nearest, corners), 0, atol=1e-10)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_nodes_of_octrees(seed, turn):
    mesh = octree_mesh(seed, size=4, keep=0.95)
    assert_node_distance_equals_naive(rotated(mesh, seed) if turn else mesh)


def test_nodes_of_the_real_mesh(step2):
    (case,) = NetfabbSource(step2).cases()
    step = case.final_step()
    assert_node_distance_equals_naive(Mesh(step.points, step.cells), every=10)


def test_nodes_of_a_box_have_the_closed_form():
    mesh = box_mesh(9, 10, 11, (0.5, 0.25, 1.0))
    distance, _ = node_distance(mesh.points, boundary(*mesh))
    expected = np.minimum(mesh.points, mesh.points.max(axis=0) - mesh.points).min(axis=1)
    np.testing.assert_array_equal(-distance, expected)


@pytest.mark.parametrize("seed", range(3))
def test_any_points_have_the_sign_of_the_cells_they_lie_in(seed):
    mesh = octree_mesh(seed, size=4)
    surface = boundary(*mesh)
    random = np.random.default_rng(seed)
    extent = mesh.points.max(axis=0)
    # Half of the points are level with nodes, where rays along an axis would graze faces and edges.
    lattice = random.integers(-1, 17, (300, 3)) * np.array([0.25, 0.125, 0.2])
    queries = np.concatenate([random.uniform(-1, extent + 1, (300, 3)), lattice])
    distance, direction = signed_distance(queries, surface.vertices, surface.triangles, threads=2)
    naive = naive_distance(queries, surface.vertices[surface.triangles])
    np.testing.assert_allclose(np.abs(distance), naive, atol=1e-9)
    off = naive > 1e-6
    np.testing.assert_array_equal(distance[off] < 0, is_inside(mesh, queries)[off])
    lengths = np.linalg.norm(direction[off], axis=1)
    np.testing.assert_allclose(lengths, 1)


def test_surface_of_triangles_alone():
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    queries = np.random.default_rng(0).uniform(-3, 3, (500, 3))
    distance, _ = signed_distance(queries, sphere.vertices, sphere.faces)
    np.testing.assert_allclose(np.abs(distance), naive_distance(queries, sphere.triangles), atol=1e-9)
    # A convex body is what lies behind all of its faces.
    heights = ((queries[:, None] - sphere.triangles[:, 0]) * sphere.face_normals).sum(axis=2)
    np.testing.assert_array_equal(distance < 0, (heights < 0).all(axis=1))


def test_threads_change_nothing():
    surface = boundary(*octree_mesh(0))
    queries = np.random.default_rng(0).uniform(-1, 8, (10_000, 3))
    one = signed_distance(queries, surface.vertices, surface.triangles)
    two = signed_distance(queries, surface.vertices, surface.triangles, threads=2)
    np.testing.assert_allclose(one[0], two[0], rtol=0, atol=1e-12)


def test_bad_surfaces_are_refused():
    surface = boundary(*box_mesh(1, 1, 1))
    with pytest.raises(ValueError, match="without triangles"):
        signed_distance(np.zeros((1, 3)), surface.vertices, surface.triangles[:0])
    with pytest.raises(ValueError, match="beyond the 7"):
        signed_distance(np.zeros((1, 3)), surface.vertices[:7], surface.triangles)
    with pytest.raises(ValueError, match="finite"):
        signed_distance(np.full((1, 3), np.nan), surface.vertices, surface.triangles)
    with pytest.raises(ValueError, match="7 points"):
        node_distance(np.zeros((7, 3)), surface)
