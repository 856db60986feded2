from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh import boundary, lattice_lines, lattice_rays, node_distance
from lpbf_dataset.mesh.axis_distance import axis_distances
from lpbf_dataset.sources.netfabb import NetfabbSource

from .conftest import Mesh, box_mesh, octree_mesh, rotated


def naive_axis_distances(mesh: Mesh) -> np.ndarray:
    """Follow each ray through axis-parallel closed boxes, cell by cell."""
    points = mesh.points.astype(np.float64)
    low, high = points[mesh.cells].min(axis=1) - 1e-4, points[mesh.cells].max(axis=1) + 1e-4
    distances = np.zeros((len(points), 6))
    for node, point in enumerate(points):
        for axis in range(3):
            others = [k for k in range(3) if k != axis]
            on_line = ((low <= point) & (point <= high))[:, others].all(axis=1)
            for column, sign in ((axis, -1), (axis + 3, 1)):
                at = point[axis]
                while True:
                    around = on_line & (low[:, axis] <= at) & (at <= high[:, axis])
                    ends = points[mesh.cells[around]][:, :, axis]
                    further = (sign * ends).max() * sign
                    if sign * (further - at) < 1e-3:
                        break
                    at = further
                distances[node, column] = abs(at - point[axis])
    return distances


@pytest.fixture
def follow_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice_lines, "MAX_ENTRIES", 0)
    monkeypatch.setattr(lattice_rays, "MAX_BOXES", 0)


@pytest.mark.parametrize("seed", range(6))
def test_octrees_equal_naive_loop(seed):
    mesh = octree_mesh(seed, size=4, keep=(0.5, 0.9)[seed % 2])
    np.testing.assert_allclose(axis_distances(*mesh, threads=2), naive_axis_distances(mesh), atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("follow_each_line")
def test_lines_followed_one_by_one_equal_naive_loop(seed):
    mesh = octree_mesh(seed, size=4, keep=(0.5, 0.9)[seed % 2])
    np.testing.assert_allclose(axis_distances(*mesh, threads=2), naive_axis_distances(mesh), atol=1e-5)


def test_real_mesh_equals_naive_loop(step2):
    (case,) = NetfabbSource(step2).cases()
    step = case.final_step()
    mesh = Mesh(step.points, step.cells)
    np.testing.assert_allclose(axis_distances(*mesh), naive_axis_distances(mesh), atol=1e-5)


def test_box_has_the_closed_form():
    mesh = box_mesh(4, 3, 5, (0.5, 0.25, 1.0))
    expected = np.concatenate([mesh.points, mesh.points.max(axis=0) - mesh.points], axis=1)
    np.testing.assert_array_equal(axis_distances(*mesh), expected)


@pytest.mark.parametrize("seed", range(4))
def test_turned_box_has_the_closed_form(seed):
    mesh = rotated(box_mesh(4, 4, 4), seed)
    faces = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    faces *= np.sign(np.linalg.det(faces))
    local = mesh.points @ faces
    for axis in range(3):
        for column, sign in ((axis, -1), (axis + 3, 1)):
            direction = sign * faces[axis]
            room = np.where(direction > 0, 4 - local, local)
            exits = (np.where(room < 1e-5, 0, room) / np.abs(direction)).min(axis=1)
            np.testing.assert_allclose(axis_distances(*mesh)[:, column], exits, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_turned_octrees_equal_naive_loop(seed):
    """The twin turns the rays into the frame of the cells, where these are boxes along the axes."""
    mesh = octree_mesh(seed, size=4)
    points = mesh.points.astype(np.float64)
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    frame *= np.sign(np.linalg.det(frame))
    distances = axis_distances(points @ frame.T, mesh.cells)
    low, high = points[mesh.cells].min(axis=1), points[mesh.cells].max(axis=1)
    for node in range(0, len(points), 5):
        for column in range(6):
            ray = frame[column % 3] * (1 if column > 2 else -1)
            ends = np.sort(np.stack([low - points[node], high - points[node]]) / ray, axis=0)
            enter, leave = ends[0].max(axis=1), ends[1].min(axis=1)
            reach = 0.0
            while (further := leave[(enter <= reach + 1e-6)].max()) > reach + 1e-6:
                reach = further
            assert distances[node, column] == pytest.approx(reach, abs=1e-5)


@pytest.mark.parametrize("angle", [np.pi / 4, 0.3, 1e-3])
@pytest.mark.parametrize("axis", range(3))
def test_octrees_turned_about_an_axis_equal_lines_followed_one_by_one(axis, angle, monkeypatch):
    """All rays run in faces or along edges."""
    turn = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    mesh = octree_mesh(axis, size=4, keep=0.7)
    points = mesh.points @ turn.T
    distances = axis_distances(points, mesh.cells)
    monkeypatch.setattr(lattice_lines, "MAX_ENTRIES", 0)
    monkeypatch.setattr(lattice_rays, "MAX_BOXES", 0)
    np.testing.assert_allclose(distances, axis_distances(points, mesh.cells), atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_turned_octrees_in_single_precision_equal_lines_followed_one_by_one(seed, monkeypatch):
    mesh = rotated(octree_mesh(seed, keep=0.7), seed)
    far = Mesh(mesh.points + np.float32([40, 30, 20]), mesh.cells)
    distances = axis_distances(*far, threads=2)
    monkeypatch.setattr(lattice_lines, "MAX_ENTRIES", 0)
    monkeypatch.setattr(lattice_rays, "MAX_BOXES", 0)
    np.testing.assert_allclose(distances, axis_distances(*far), atol=1e-5)


def test_tapered_cells_have_the_closed_form():
    """Frusta one upon the other, narrowing to the top, are boxes on no lattice."""
    block = box_mesh(2, 2, 3)
    points = block.points.astype(np.float64)
    taper = 1 - points[:, 2] / 6
    points[:, :2] = (points[:, :2] - 1) * taper[:, None]
    distances = axis_distances(points, block.cells)
    for axis in range(2):
        np.testing.assert_allclose(distances[:, axis + 3], taper - points[:, axis], atol=1e-9)
        np.testing.assert_allclose(distances[:, axis], taper + points[:, axis], atol=1e-9)
    height = 6 * (1 - np.abs(points[:, :2]).max(axis=1))
    np.testing.assert_allclose(distances[:, 5], np.minimum(3, height) - points[:, 2], atol=1e-6)


@pytest.mark.parametrize("tilt", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
def test_meshes_askew_by_little_have_no_gaps(tilt):
    mesh = octree_mesh(0, size=4, keep=0.95)
    skew = np.array([[0, -1, 0.3], [1, 0, -0.7], [-0.3, 0.7, 0]]) * tilt
    askew = Mesh((mesh.points @ (np.eye(3) + skew)).astype(np.float32), mesh.cells)
    inscribed, _ = node_distance(askew.points, boundary(*askew))
    assert (axis_distances(*askew).min(axis=1) + inscribed).min() >= -1e-5


def test_quarter_turn_permutes_the_axes():
    mesh = octree_mesh(1, size=4)
    turned = Mesh(mesh.points[:, [1, 2, 0]], mesh.cells)
    np.testing.assert_array_equal(axis_distances(*turned), axis_distances(*mesh)[:, [1, 2, 0, 4, 5, 3]])


def test_ray_in_a_face_ends_where_the_face_does():
    # An L of three cells: its inner corner is at (1, 1).
    mesh = box_mesh(2, 2, 1)
    corner = Mesh(mesh.points, mesh.cells[[0, 1, 2]])
    inner = int(np.flatnonzero((mesh.points == [1, 1, 0]).all(axis=1))[0])
    np.testing.assert_array_equal(axis_distances(*corner)[inner], [1, 1, 0, 1, 1, 1])


def test_nodes_of_no_cell_have_no_distance():
    mesh = box_mesh(1, 1, 1)
    points = np.concatenate([mesh.points, [[np.nan, 0, 0]]])
    np.testing.assert_array_equal(axis_distances(points, mesh.cells)[8], np.zeros(6))


def test_inverted_cell_is_refused():
    mesh = box_mesh(1, 1, 1)
    with pytest.raises(ValueError, match="cell 0 is inverted"):
        axis_distances(mesh.points, mesh.cells[:, [4, 5, 6, 7, 0, 1, 2, 3]])
