"""The inherent strain law on shapes where it can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpbf_dataset.simulation.inherent_strain import EdgeRelaxation, cell_strain, slice_surface, voxel_strain
from lpbf_dataset.simulation.octree import build_mesh
from lpbf_dataset.simulation.process import set_down
from lpbf_dataset.simulation.voxels import voxelise

LAW = EdgeRelaxation(strength=0.7, along=0.6, reach=2.0, run=4.0)


def test_slice_of_a_sphere_is_a_closed_circle() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=5.0)
    segments = slice_surface(np.asarray(ball.triangles), 3.0)
    lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    assert lengths.sum() == pytest.approx(2.0 * np.pi * 4.0, rel=5e-3)
    ends, uses = np.unique(segments.reshape(-1, 2).round(9), axis=0, return_counts=True)
    assert (uses == 2).all()
    np.testing.assert_allclose(np.linalg.norm(ends, axis=1), 4.0, rtol=5e-3)


def test_slice_through_vertices_is_closed() -> None:
    box = trimesh.creation.box((4.0, 4.0, 4.0)).subdivide()
    for height in (0.0, -2.0, 1.0):
        segments = slice_surface(np.asarray(box.triangles), height)
        lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
        assert lengths.sum() == pytest.approx(0.0 if height == -2.0 else 16.0)


def strain_of_plate(angle: float = 0.0) -> tuple:
    """Return the strain of a 24 x 3 mm wall turned about z, by voxel, with the voxel centres along it."""
    wall = trimesh.creation.box((24.0, 3.0, 2.0))
    wall.apply_transform(trimesh.transformations.rotation_matrix(angle, (0, 0, 1)))
    triangles = set_down(wall.triangles)
    grid = voxelise(triangles, cell_height=0.5, group_cells=4)
    voxel, strain = voxel_strain(grid, triangles, -0.01, LAW)
    x, y = grid.centres(0)[voxel[:, 0]], grid.centres(1)[voxel[:, 1]]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle), strain


def test_law_on_a_wall() -> None:
    along, across, strain = strain_of_plate()
    # Near a long edge, an end nearer than the run: the shorter run to an end relaxes the strain.
    run = 12.0 - np.abs(along)
    near_long = (1.5 - np.abs(across) < run) & (run < 4.0)
    share = 0.7 * (1.0 - run[near_long] / 4.0)
    np.testing.assert_allclose(strain[near_long, 1], -0.01 * (1.0 - share), rtol=1e-9)
    np.testing.assert_allclose(strain[near_long, 0], -0.01 * (1.0 - 0.6 * share), rtol=1e-9)
    middle = np.abs(along) < 7.5
    np.testing.assert_allclose(strain[middle], [[-0.01, -0.01, 0.0]] * middle.sum(), rtol=1e-12)
    np.testing.assert_allclose(strain[:, 2], 0.0, atol=1e-12)


def test_law_turns_with_the_part() -> None:
    angle = 0.5
    along, across, strain = strain_of_plate(angle)
    run = 12.0 - np.abs(along)
    near_long = (1.5 - np.abs(across) < run) & (run < 4.0)
    c, s = np.cos(angle), np.sin(angle)
    xx, yy, xy = strain[near_long].T
    share = 0.7 * (1.0 - run[near_long] / 4.0)
    np.testing.assert_allclose(
        c * c * xx + 2 * c * s * xy + s * s * yy, -0.01 * (1.0 - 0.6 * share), rtol=1e-5
    )
    np.testing.assert_allclose(s * s * xx - 2 * c * s * xy + c * c * yy, -0.01 * (1.0 - share), rtol=1e-5)


def test_cells_take_the_mean_of_their_voxels() -> None:
    box = trimesh.creation.box((16.0, 14.0, 3.0))
    triangles = set_down(box.triangles)
    grid = voxelise(triangles, cell_height=0.5, group_cells=4)
    mesh = build_mesh(grid, group_cells=4, plate_depth=25.0)
    voxel, strain = voxel_strain(grid, triangles, -0.01, LAW)
    cells = cell_strain(mesh, grid, voxel, strain)
    by_voxel = np.zeros((*grid.solid.shape, 3))
    by_voxel[tuple(voxel.T)] = strain
    for cell in range(mesh.cell_range(1).start, len(mesh.size)):
        i, j, k = mesh.corner[cell]
        s = mesh.size[cell]
        expected = by_voxel[i : i + s, j : j + s, k : k + s].mean(axis=(0, 1, 2))
        np.testing.assert_allclose(cells[cell, [0, 1, 3]], expected, atol=1e-15)
    assert not cells[mesh.group == 0].any()
    assert not cells[:, [2, 4, 5]].any()
