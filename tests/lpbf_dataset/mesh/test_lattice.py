from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh.lattice import Lattice, find_lattice

from .conftest import Mesh, box_mesh, octree_mesh, rotated

SHORTEST_EDGE = 0.25
ROUNDING = 2e-6


def lattice_of(mesh: Mesh) -> Lattice | None:
    return find_lattice(mesh.points.astype(np.float64), mesh.cells, SHORTEST_EDGE, ROUNDING)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_nodes_lie_in_their_planes_and_cells_between_theirs(seed, turn):
    mesh = octree_mesh(seed, size=4)
    mesh = rotated(mesh, seed) if turn else mesh
    lattice = lattice_of(mesh)
    np.testing.assert_allclose(lattice.normals @ lattice.normals.T, np.eye(3), atol=1e-6)
    for family in range(3):
        planes, normal, ranks = lattice.planes[family], lattice.normals[family], lattice.ranks[:, family]
        assert (np.diff(planes) > 0.9 * SHORTEST_EDGE).all()
        np.testing.assert_allclose(mesh.points @ normal, planes[ranks], atol=4 * ROUNDING)
        np.testing.assert_array_equal(lattice.boxes[:, 0, family], ranks[mesh.cells].min(axis=1))
        np.testing.assert_array_equal(lattice.boxes[:, 1, family], ranks[mesh.cells].max(axis=1))


def test_lattice_along_the_axes_is_exact():
    lattice = lattice_of(box_mesh(2, 3, 4, (0.5, 0.25, 1.0)))
    np.testing.assert_array_equal(lattice.normals, np.eye(3))
    np.testing.assert_array_equal(lattice.planes[1], [0, 0.25, 0.5, 0.75])


def test_corners_of_a_cell_may_come_in_any_turn():
    mesh = rotated(octree_mesh(0, size=4))
    turned = mesh.cells.copy()
    turned[::2] = turned[::2][:, [1, 2, 3, 0, 5, 6, 7, 4]]
    turned[::3] = turned[::3][:, [0, 4, 5, 1, 3, 7, 6, 2]]
    lattice, expected = lattice_of(Mesh(mesh.points, turned)), lattice_of(mesh)
    np.testing.assert_array_equal(
        np.sort(np.ptp(lattice.ranks, axis=0)), np.sort(np.ptp(expected.ranks, axis=0))
    )


@pytest.mark.parametrize("moved", [1e-4, 0.05])
def test_mesh_with_a_moved_node_has_no_lattice(moved):
    mesh = box_mesh(2, 2, 2)
    mesh.points[13] += moved
    assert lattice_of(mesh) is None
    assert lattice_of(rotated(mesh)) is None
