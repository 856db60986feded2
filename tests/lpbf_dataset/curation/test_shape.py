from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from lpbf_dataset.curation.leakage import DEFAULT_THRESHOLD
from lpbf_dataset.curation.shape import DESCRIPTOR_SIZE, QUANTILES, shape_descriptor
from lpbf_dataset.simulation.octree import build_mesh
from lpbf_dataset.simulation.voxels import drop_islands, voxelise
from lpbf_dataset.sources.part_files import place_on_plate

NUMBERING = 0.002
"""Distance that another numbering of cells at the same distance to the centroid makes at most."""

PARTS = [
    "35419_aa5ab53d__1588b8de",
    "55199_4d57661f__7c1b3b22",
    "24735_384e3c90__ed646bf6",
    "24735_384e3c90__ed6778ca",
    "100155_57ec5fc6_0",
    "119129_8f04623b_0",
    "131068_085c0ed9__bbe89f86",
    "72966_11b78e5e__1358ae9c",
]
"""The most alike of different designs, the most alike siblings, and a symmetric part, a ring."""


class Mesh(NamedTuple):
    points: np.ndarray
    cells: np.ndarray


def mesh_of(surface: trimesh.Trimesh, cell_height: float) -> Mesh:
    """Mesh a part standing on the plate as the solver does, without the plate."""
    grid, _ = drop_islands(voxelise(surface.triangles, cell_height=cell_height, group_cells=4))
    octree = build_mesh(grid, group_cells=4, plate_depth=25.0)
    used, cells = np.unique(octree.cells[octree.group > 0], return_inverse=True)
    return Mesh(octree.points[used].astype(np.float32), cells.reshape(-1, 8).astype(np.int32))


def bracket() -> trimesh.Trimesh:
    """Return an L of two plates with a hole, like no mirror image of itself."""
    boxes = [((40, 20, 4), (20, 10, 2)), ((4, 20, 30), (2, 10, 15)), ((10, 4, 12), (9, 2, 10))]
    solids = [trimesh.creation.box(size).apply_translation(centre) for size, centre in boxes]
    union = trimesh.boolean.union(solids)
    hole = trimesh.creation.cylinder(4, 20).apply_translation((28, 12, 2))
    return place_on_plate(trimesh.boolean.difference([union, hole]), 60.0)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return mesh_of(bracket(), 1.0)


def test_turning_and_moving_the_mesh_changes_nothing(mesh):
    moved = mesh.points.astype(float) @ Rotation.random(random_state=4).as_matrix().T + [7, -30, 200]
    assert distance(shape_descriptor(moved, mesh.cells), shape_descriptor(*mesh)) < NUMBERING
    turned = np.stack([-mesh.points[:, 1], mesh.points[:, 0], mesh.points[:, 2]], axis=1)
    assert distance(shape_descriptor(turned, mesh.cells), shape_descriptor(*mesh)) < NUMBERING


def test_a_mirror_image_is_the_same(mesh):
    mirrored = mesh.points * np.float32([-1, 1, 1])
    cells = mesh.cells[:, [1, 0, 3, 2, 5, 4, 7, 6]]
    assert distance(shape_descriptor(mirrored, cells), shape_descriptor(*mesh)) < NUMBERING


def test_numbers_of_nodes_and_cells_do_not_matter(mesh):
    random = np.random.default_rng(0)
    order = random.permutation(len(mesh.points))
    renumbered = np.argsort(order)[mesh.cells]
    np.testing.assert_array_equal(shape_descriptor(mesh.points[order], renumbered), shape_descriptor(*mesh))
    shuffled = random.permutation(mesh.cells)
    assert distance(shape_descriptor(mesh.points, shuffled), shape_descriptor(*mesh)) < NUMBERING


def test_a_part_meshed_anew_is_a_near_duplicate(mesh):
    part, descriptor = bracket(), shape_descriptor(*mesh)
    for cell_height in (0.7, 1.4):
        assert distance(shape_descriptor(*mesh_of(part, cell_height)), descriptor) < DEFAULT_THRESHOLD / 2
    askew = mesh_of(place_on_plate(part, None, (30.0, 50.0, 20.0)), 1.0)
    assert distance(shape_descriptor(*askew), descriptor) < DEFAULT_THRESHOLD / 2


def test_a_scaled_copy_differs_in_size_alone(mesh):
    scaled, descriptor = shape_descriptor(1.5 * mesh.points, mesh.cells), shape_descriptor(*mesh)
    np.testing.assert_allclose(scaled[1:], descriptor[1:], rtol=1e-4)
    assert distance(scaled, descriptor) > DEFAULT_THRESHOLD


def test_it_is_what_a_closed_form_says_of_a_rod(synthetic_case):
    rod = synthetic_case(400, 1, 1)
    descriptor = shape_descriptor(rod.points, rod.cells)
    assert descriptor.shape == (DESCRIPTOR_SIZE,)
    size, radii, between, to_centroid = np.split(descriptor, [1, 4, 4 + QUANTILES])
    # Two points of a line of length l: mean square distance l^2 / 6, P(distance < s l) = 2 s - s^2.
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    assert np.exp(2 * size[0]) == pytest.approx(400 / np.sqrt(6), rel=1e-4)
    assert radii[0] == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert radii[2] == pytest.approx(np.sqrt(0.5) / 400, rel=2e-2)
    expected = np.sqrt(6 / QUANTILES)
    np.testing.assert_allclose(between, expected * (1 - np.sqrt(1 - levels)), atol=4e-3)
    np.testing.assert_allclose(to_centroid, expected * levels / 2, atol=2e-3)


def test_it_is_what_many_random_points_say(mesh):
    random = np.random.default_rng(0)
    lower, upper = mesh.points[mesh.cells[:, 0]], mesh.points[mesh.cells[:, 6]]
    volumes = np.prod(upper - lower, axis=1, dtype=float)
    chosen = random.choice(len(volumes), size=(2, 200_000), p=volumes / volumes.sum())
    first, second = lower[chosen] + random.random((*chosen.shape, 3)) * (upper - lower)[chosen]
    size = np.sqrt(((first - second) ** 2).sum(axis=1).mean())
    between = np.quantile(
        np.linalg.norm(first - second, axis=1), (np.arange(QUANTILES) + 0.5) / QUANTILES
    ) / (size * np.sqrt(QUANTILES))
    radii = np.sqrt(np.linalg.eigvalsh(np.cov(first.T))[::-1]) / size
    descriptor = shape_descriptor(*mesh)
    assert descriptor[0] == pytest.approx(0.5 * np.log(size), abs=0.003)
    np.testing.assert_allclose(descriptor[1:4], radii, atol=0.003)
    np.testing.assert_allclose(descriptor[4 : 4 + QUANTILES], between, atol=0.002)


def test_real_parts_are_told_apart_and_their_copies_are_not(shared_data):
    descriptors, copies = {}, {}
    for name in PARTS:
        surface = trimesh.load_mesh(shared_data / "geometry" / "fusion360" / f"{name}.stl")
        part = place_on_plate(surface, 60.0)
        descriptors[name] = shape_descriptor(*mesh_of(part, 0.7))
        copies[name] = [
            shape_descriptor(*mesh_of(place_on_plate(part, None, orient), cell_height))
            for orient, cell_height in (("x", 0.7), ("as-is", 0.6), ((25.0, 40.0, 10.0), 0.6))
        ]
    for name, descriptor in descriptors.items():
        assert all(distance(copy, descriptor) < DEFAULT_THRESHOLD for copy in copies[name])
        others = [distance(descriptors[other], descriptor) for other in PARTS if other != name]
        assert min(others) > 1.4 * DEFAULT_THRESHOLD


def test_meshes_without_volume_are_refused(mesh):
    with pytest.raises(ValueError, match="without cells"):
        shape_descriptor(mesh.points, mesh.cells[:0])
    with pytest.raises(ValueError, match="cell 0 is inverted"):
        shape_descriptor(mesh.points * np.float32([-1, 1, 1]), mesh.cells)
