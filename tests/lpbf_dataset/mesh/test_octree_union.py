"""The union of octree meshes against a look at every fine cell of space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset.mesh import cell_volumes
from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS
from lpbf_dataset.mesh.octree_union import OctreeUnion

CORNERS = HEXAHEDRON_CORNERS.astype(int)
EXTENT = 8
UNIT = np.array([0.6245, 0.6246, 0.8])
ORIGIN = np.array([-9.97, 100.3, 0.0])


def random_octree(random, *, keep):
    """Boxes (corner, size) of some cells of a cube of 8 fine cells, none of which overlap."""
    waiting, boxes = [((0, 0, 0), EXTENT)], []
    while waiting:
        corner, size = waiting.pop()
        if size == EXTENT or (size > 1 and random.random() < 0.5):
            waiting += [(tuple(np.add(corner, size // 2 * offset)), size // 2) for offset in CORNERS]
        elif random.random() < keep:
            boxes.append((corner, size))
    return boxes or [((0, 0, 0), EXTENT)]


def mesh_of(boxes):
    corners = np.concatenate([np.add(corner, size * CORNERS) for corner, size in boxes])
    lattice, cells = np.unique(corners, axis=0, return_inverse=True)
    return (ORIGIN + lattice * UNIT).astype(np.float32), cells.reshape(-1, 8).astype(np.int32)


def fine_cells(boxes):
    """Size of the box over each fine cell of space; 0 where there is none."""
    sizes = np.zeros((EXTENT,) * 3, dtype=int)
    for corner, size in boxes:
        sizes[tuple(slice(c, c + size) for c in corner)] = size
    return sizes


def boxes_of(points, cells):
    lattice = np.round((points - ORIGIN) / UNIT).astype(int)
    return [(tuple(lattice[cell[0]]), int(lattice[cell[6], 0] - lattice[cell[0], 0])) for cell in cells]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.4, 1.0]), st.integers(1, 3))
def test_it_is_what_every_fine_cell_of_space_says(seed, keep, count):
    random = np.random.default_rng(seed)
    parts = [random_octree(random, keep=keep) for _ in range(count)]
    # One fine cell fixes the unit and the alignment of the lattice, whatever was drawn.
    parts.append([((0, 0, 0), EXTENT)])
    parts.append([((EXTENT - 1,) * 3, 1)])
    meshes = [mesh_of(boxes) for boxes in parts]
    union = OctreeUnion(meshes)

    sizes = np.stack([fine_cells(boxes) for boxes in parts])
    found = boxes_of(union.points, union.cells)
    union_sizes = fine_cells(found)
    assert sum(size**3 for _, size in found) == np.count_nonzero(union_sizes)
    np.testing.assert_array_equal(union_sizes > 0, (sizes > 0).any(axis=0))
    for corner, size in found:
        inside = sizes[(slice(None), *(slice(c, c + size) for c in corner))]
        # Never coarser than any mesh, and halved only where some mesh asks for it.
        assert (inside[inside > 0] >= size).all()
        parent = tuple(c // (2 * size) * 2 * size for c in corner)
        around = sizes[(slice(None), *(slice(c, c + 2 * size) for c in parent))]
        assert size == EXTENT or (around[around > 0] <= size).any()
    for mesh, (boxes, (points, _)) in enumerate(zip(parts, meshes, strict=True)):
        covered = [bool(fine_cells(boxes)[corner]) for corner, _ in found]
        np.testing.assert_array_equal(union.covered_by(mesh), covered)
        np.testing.assert_allclose(union.points[union.node_of[mesh]], points, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(union.points[union.node_of[0]], meshes[0][0])
    assert (cell_volumes(union.points, union.cells) > 0).all()


def test_one_mesh_is_its_own_union():
    points, cells = mesh_of(random_octree(np.random.default_rng(1), keep=0.7))
    union = OctreeUnion([(points, cells)])
    assert sorted(boxes_of(union.points, union.cells)) == sorted(boxes_of(points, cells))
    np.testing.assert_array_equal(union.points[union.node_of[0]], points)
    assert union.covered_by(0).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda points: points + np.float32([0.3, 0, 0]) * (points[:, :1] > -9.5),
        lambda points: points * np.float32([1, 1, 0]),
        lambda points: points[:, [1, 0, 2]] + points[:, [0, 1, 2]],
    ],
)
def test_cells_of_no_octree_are_refused(spoil):
    points, cells = mesh_of([((0, 0, 0), 2), ((2, 0, 0), 1), ((4, 0, 0), 4)])
    with pytest.raises(ValueError, match="octree"):
        OctreeUnion([(spoil(points), cells)])


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="must have cells"):
        OctreeUnion([])
