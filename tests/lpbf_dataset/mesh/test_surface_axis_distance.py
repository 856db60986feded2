from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpbf_dataset.mesh import axis_distances, boundary
from lpbf_dataset.mesh.surface_axis_distance import surface_axis_distances

from .conftest import Mesh, box_mesh, octree_mesh, rotated


def naive_surface_distances(queries: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Test each ray against all triangles (t, 3, 3) by Moeller and Trumbore, and add up the turns."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    distances = np.zeros((len(queries), 6))
    for column, ray in enumerate(np.concatenate([-np.eye(3), np.eye(3)])):
        across = np.cross(ray, second)
        determinant = (first * across).sum(axis=1)
        faced = np.abs(determinant) > 1e-14
        divisor = np.where(faced, determinant, 1)
        for row, query in enumerate(queries):
            offset = query - corners[:, 0]
            normal = np.cross(offset, first)
            u, v = (offset * across).sum(axis=1) / divisor, normal @ ray / divisor
            t = (second * normal).sum(axis=1) / divisor
            hit = faced & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
            order = np.argsort(t[hit])
            leaves = np.where(determinant < 0, 1, -1)[hit][order]
            # Ahead of each crossing the number is what is left to leave.
            ahead = leaves.sum() - np.cumsum(leaves)
            if leaves.sum() > 0:
                distances[row, column] = t[hit][order][np.argmax(ahead <= 0)]
    return distances


def box_distances(queries: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.concatenate([queries - low, high - queries], axis=1)


PARTS = ["0-0-6-12-12-23", "Subminiature_Tensile_Bar_Blank_1", "partB", "round", "plate_holes", "angle_block"]


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("name", PARTS)
def test_real_parts_equal_naive_loop(shared_data, name, turn):
    part = trimesh.load(shared_data / "geometry" / "open" / f"{name}.stl")
    vertices = rotated(Mesh(part.vertices, part.faces)).points if turn else part.vertices
    vertices = np.asarray(vertices, dtype=np.float64)
    random = np.random.default_rng(0)
    queries = random.uniform(vertices.min(axis=0), vertices.max(axis=0), (200, 3))
    distances = surface_axis_distances(queries, vertices, part.faces, threads=2)
    np.testing.assert_allclose(distances, naive_surface_distances(queries, vertices[part.faces]), atol=1e-5)
    assert (distances > 0).any()


@pytest.mark.parametrize("name", PARTS)
def test_mirrored_parts_have_mirrored_distances(shared_data, name):
    """Rays through the corners, edges and faces of a part do not favour one side of them."""
    part = trimesh.load(shared_data / "geometry" / "open" / f"{name}.stl")
    random = np.random.default_rng(1)
    level = np.stack([random.choice(part.vertices[:, axis], 1000) for axis in range(3)], axis=1)
    queries = np.concatenate([part.vertices[:1000], level])
    distances = surface_axis_distances(queries, part.vertices, part.faces)
    assert (distances[:1000].max(axis=1) > 0).any()
    for axis in range(3):
        mirror = np.where(np.arange(3) == axis, -1.0, 1.0)
        mirrored = surface_axis_distances(queries * mirror, part.vertices * mirror, part.faces[:, ::-1])
        mirrored[:, [axis, axis + 3]] = mirrored[:, [axis + 3, axis]]
        np.testing.assert_allclose(mirrored, distances, atol=1e-9)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_surface_of_an_octree_gives_what_its_cells_give(seed, turn):
    mesh = octree_mesh(seed, size=4, keep=(0.5, 0.8, 0.95)[seed % 3])
    mesh = rotated(mesh, seed) if turn else mesh
    surface = boundary(*mesh)
    distances = surface_axis_distances(mesh.points, surface.vertices, surface.triangles, threads=2)
    np.testing.assert_allclose(distances, axis_distances(*mesh), atol=1e-5)


def test_box_with_queries_on_its_faces_edges_and_corners():
    mesh = box_mesh(4, 3, 5, (0.5, 0.25, 1.0))
    surface = boundary(*box_mesh(1, 1, 1, (2.0, 0.75, 5.0)))
    expected = box_distances(mesh.points, mesh.points.min(axis=0), mesh.points.max(axis=0))
    found = surface_axis_distances(mesh.points, surface.vertices, surface.triangles)
    np.testing.assert_array_equal(found, expected)


def test_queries_off_the_surface_by_rounding_lie_on_it():
    box = trimesh.creation.box((60.0, 40.0, 20.0))
    random = np.random.default_rng(0)
    on_face = random.uniform(-0.5, 0.5, (300, 3))
    on_face[np.arange(300), random.integers(0, 3, 300)] = random.choice([-0.5, 0.5], 300)
    queries = on_face * [60, 40, 20]
    off = queries + random.uniform(-1, 1, queries.shape) * np.finfo(np.float32).eps * 30
    distances = surface_axis_distances(off, box.vertices, box.faces)
    expected = box_distances(queries, np.array([-30, -20, -10]), np.array([30, 20, 10]))
    np.testing.assert_allclose(distances, expected, atol=1e-5)


def test_points_outside_have_no_distance():
    box = trimesh.creation.box((2.0, 2.0, 2.0))
    queries = np.array([[2, 0, 0], [-1.001, 0, 0], [2, 1, 1], [0, 3, 1], [5, 5, 5]], dtype=float)
    np.testing.assert_array_equal(surface_axis_distances(queries, box.vertices, box.faces), np.zeros((5, 6)))


def test_overlapping_touching_and_hollow_shells():
    shells = [
        trimesh.creation.box(bounds=[[0, 0, 0], [4, 2, 2]]),
        trimesh.creation.box(bounds=[[3, 0, 0], [6, 2, 2]]),  # overlaps the first
        trimesh.creation.box(bounds=[[6, 0, 0], [8, 2, 2]]),  # touches the second
        trimesh.creation.box(bounds=[[1, 0.5, 0.5], [2, 1.5, 1.5]]),
    ]
    shells[3].invert()
    shell = trimesh.util.concatenate(shells)
    queries = np.array([[5.0, 1, 1], [0.5, 1, 1], [1.5, 1, 1], [0, 0.25, 1], [6, 2, 2]])
    found = surface_axis_distances(queries, shell.vertices, shell.faces)[:, [0, 3]]
    np.testing.assert_allclose(found, [[3, 3], [0.5, 0.5], [0, 0], [0, 8], [6, 2]], atol=1e-12)


def test_threads_change_nothing():
    surface = boundary(*octree_mesh(0))
    queries = np.random.default_rng(0).uniform(-1, 8, (10_000, 3))
    one = surface_axis_distances(queries, surface.vertices, surface.triangles)
    two = surface_axis_distances(queries, surface.vertices, surface.triangles, threads=2)
    np.testing.assert_array_equal(one, two)


def test_no_queries():
    surface = boundary(*box_mesh(1, 1, 1))
    assert surface_axis_distances(np.zeros((0, 3)), surface.vertices, surface.triangles).shape == (0, 6)


def test_surface_without_triangles_is_refused():
    surface = boundary(*box_mesh(1, 1, 1))
    with pytest.raises(ValueError, match="without triangles"):
        surface_axis_distances(np.zeros((1, 3)), surface.vertices, surface.triangles[:0])
