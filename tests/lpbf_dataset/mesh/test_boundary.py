from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lpbf_dataset.mesh import cell_volumes
from lpbf_dataset.mesh.boundary import Boundary, boundary
from lpbf_dataset.sources.netfabb import NetfabbSource

from .conftest import Mesh, box_mesh, octree_mesh, rotated


def edge_turns(surface: Boundary) -> tuple[Counter, Counter]:
    """Return how often each undirected edge occurs, and how often more in one direction."""
    count: Counter = Counter()
    excess: Counter = Counter()
    for triangle in surface.triangles.tolist():
        for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True):
            count[frozenset((a, b))] += 1
            excess[frozenset((a, b))] += 1 if a < b else -1
    return count, excess


def enclosed_volume(surface: Boundary) -> float:
    a, b, c = np.moveaxis(surface.vertices[surface.triangles], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def assert_watertight(mesh: Mesh, surface: Boundary) -> None:
    count, excess = edge_turns(surface)
    assert not any(excess.values())
    assert all(number % 2 == 0 for number in count.values())
    assert enclosed_volume(surface) == pytest.approx(cell_volumes(*mesh).sum(), rel=1e-6)
    a, b, c = np.moveaxis(surface.vertices[surface.triangles], 1, 0)
    doubled_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    assert doubled_area.min() > 1e-3 * np.median(doubled_area) / 16**2
    centres = mesh.points[mesh.cells].mean(axis=1)
    outwards = (np.cross(b - a, c - a) * (a - centres[surface.triangle_cell])).sum(axis=1)
    assert outwards.min() > 0
    quads = surface.vertices[surface.quads]
    quad_area = np.linalg.norm(np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]), axis=1)
    assert quad_area.sum() == pytest.approx(doubled_area.sum(), rel=1e-6)


def lattice_surface(mesh: Mesh, spacing: tuple[float, float, float]) -> tuple[np.ndarray, float]:
    """Mark surface nodes and sum the area by filling a grid of the finest cells."""
    lattice = np.rint(mesh.points / np.array(spacing)).astype(int)
    shape = lattice.max(axis=0) + 1
    solid = np.zeros(shape + 1, dtype=bool)
    for cell in mesh.cells:
        low, high = lattice[cell[0]] + 1, lattice[cell[6]] + 1
        solid[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    around = np.zeros(shape, dtype=int)
    for corner in np.ndindex(2, 2, 2):
        around += solid[tuple(slice(k, k + n) for k, n in zip(corner, shape, strict=True))]
    face = [spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]]
    area = sum(np.diff(np.pad(solid, 1), axis=k).sum() * face[k] for k in range(3))
    return around[tuple(lattice.T)] < 8, float(area)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("turn", [False, True])
def test_random_octrees_are_watertight(seed, turn):
    mesh = octree_mesh(seed, keep=(0.3, 0.8, 0.95, 1.0)[seed % 4])
    surface = boundary(*(rotated(mesh, seed) if turn else mesh))
    assert_watertight(rotated(mesh, seed) if turn else mesh, surface)
    on_surface, area = lattice_surface(mesh, (0.5, 0.25, 0.4))
    np.testing.assert_array_equal(surface.is_surface_node, on_surface)
    corners = surface.vertices[surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(area, rel=1e-5)


def test_result_does_not_depend_on_the_order_of_nodes_and_cells():
    mesh = octree_mesh(3)
    random = np.random.default_rng(0)
    new = random.permutation(len(mesh.points))
    points = np.empty_like(mesh.points)
    points[new] = mesh.points
    shuffled = Mesh(points, new[random.permutation(mesh.cells)].astype(np.int32))
    surface, other = boundary(*mesh), boundary(*shuffled)
    assert_watertight(shuffled, other)
    assert len(surface.triangles) == len(other.triangles)
    np.testing.assert_array_equal(surface.is_surface_node, other.is_surface_node[new])


def test_real_mesh_is_a_closed_manifold(step2):
    (case,) = NetfabbSource(step2).cases()
    step = case.final_step()
    surface = boundary(step.points, step.cells)
    assert_watertight(Mesh(step.points, step.cells), surface)
    assert set(edge_turns(surface)[0].values()) == {2}
    assert enclosed_volume(surface) == pytest.approx(1608.95, abs=0.01)


def test_hanging_nodes_are_corners_of_triangles(hanging_node_mesh):
    surface = boundary(*hanging_node_mesh)
    assert_watertight(hanging_node_mesh, surface)
    assert set(edge_turns(surface)[0].values()) == {2}
    assert len(surface.quads) == 5 + 12
    # The middle of the coarse face is the one node inside.
    assert surface.is_surface_node.sum() == len(hanging_node_mesh.points) - 1


def test_face_that_is_covered_in_part_leaves_its_other_quarters(hanging_node_mesh):
    mesh = Mesh(hanging_node_mesh.points, hanging_node_mesh.cells[:2])
    surface = boundary(*mesh)
    assert_watertight(mesh, surface)
    assert len(surface.quads) == 5 + 3 + 5
    # The middles of the two edges that no fine cell is at.
    assert len(surface.vertices) == len(mesh.points) + 2


def test_one_cell():
    mesh = box_mesh(1, 1, 1)
    surface = boundary(*mesh)
    assert_watertight(mesh, surface)
    assert len(surface.quads) == 6
    assert len(surface.triangles) == 12
    assert surface.is_surface_node.all()


def test_cells_that_share_an_edge_alone_are_closed_each():
    mesh = box_mesh(2, 2, 1)
    diagonal = Mesh(mesh.points, mesh.cells[[0, 3]])
    surface = boundary(*diagonal)
    assert_watertight(diagonal, surface)
    assert sorted(set(edge_turns(surface)[0].values())) == [2, 4]


def test_nodes_of_no_cell_are_not_on_the_surface():
    mesh = box_mesh(1, 1, 1)
    points = np.concatenate([mesh.points, [[0.5, 0, 0], [np.nan, 0, 0]]]).astype(np.float32)
    surface = boundary(points, mesh.cells)
    np.testing.assert_array_equal(surface.is_surface_node, [True] * 8 + [False] * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, c: (p, np.concatenate([c, c[:1]])), "overlap"),
        (lambda p, c: (p, c[:, [4, 5, 6, 7, 0, 1, 2, 3]]), "cell 0 is inverted"),
        (lambda p, c: (np.where(np.arange(len(p))[:, None] == 0, np.nan, p), c), "cell 0 .* finite"),
        (lambda p, c: (p, c[:0]), "without cells"),
        (lambda p, c: (np.concatenate([p, p]), np.concatenate([c, c + len(p)])), "coincide"),
        (lambda p, c: (p[:5], c), "mesh has nodes 0 to 4"),
    ],
)
def test_bad_meshes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        boundary(*change(*box_mesh(2, 1, 1)))
