"""The octree against slow obvious twins, and against Netfabb's mesh."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import trimesh

from lpbf_dataset.simulation.octree import _EDGES, _FACES, build_mesh, interpolation, values_at_height
from lpbf_dataset.simulation.process import set_down
from lpbf_dataset.simulation.voxels import voxelise


def merge_one_by_one(solid: np.ndarray, group_cells: int) -> dict[tuple[int, int, int], int]:
    """Merge blocks one by one, then split until neighbours over faces and edges are balanced."""
    leaves = {tuple(int(i) for i in voxel): 1 for voxel in np.argwhere(solid)}
    for size in (2, 4):
        if group_cells % size:
            break
        for corner in product(*(range(0, n, size) for n in solid.shape)):
            half = children(corner, size)
            if all(leaves.get(child) == size // 2 for child in half):
                for child in half:
                    del leaves[child]
                leaves[corner] = size
    while violators := [a for a in leaves if any(too_fine(a, leaves[a], b, leaves[b]) for b in leaves)]:
        for corner in violators:
            size = leaves.pop(corner)
            leaves |= dict.fromkeys(children(corner, size), size // 2)
    return leaves


def children(corner: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    offsets = product((0, size // 2), repeat=3)
    return [tuple(c + o for c, o in zip(corner, offset, strict=True)) for offset in offsets]


def too_fine(a, size_a, b, size_b) -> bool:
    if size_a <= 2 * size_b:
        return False
    gaps = [max(p - (q + size_b), q - (p + size_a)) for p, q in zip(a, b, strict=True)]
    # Touching boxes have no gap; a shared corner alone is contact in all three axes.
    return max(gaps) == 0 and sum(gap == 0 for gap in gaps) <= 2


def test_part_agrees_with_merging_one_by_one(mesh_of) -> None:
    rng = np.random.default_rng(1)
    solid = rng.random((16, 16, 8)) > 0.003
    solid[:, :, 0] = True
    mesh = mesh_of(solid)
    part = mesh.group > 0
    found = dict(zip(map(tuple, mesh.corner[part].tolist()), mesh.size[part].tolist(), strict=True))
    assert found == merge_one_by_one(solid, 4)
    assert set(found.values()) == {1, 2, 4}


def test_whole_mesh_is_balanced_and_fills_the_space(mesh_of, random_solid) -> None:
    mesh = mesh_of(random_solid)
    low, high = mesh.corner, mesh.corner + mesh.size[:, None]
    for cell in range(len(mesh.size)):
        gap = np.maximum(low[cell] - high, low - high[cell])
        touch = (gap.max(axis=1) == 0) & ((gap == 0).sum(axis=1) <= 2)
        ratio = mesh.size[touch] / mesh.size[cell]
        # The lower half of the plate is left coarse.
        assert ((ratio >= 0.5) & (ratio <= 2.0)).all()
        assert not ((gap < 0).all(axis=1).sum() > 1)
    volume = 32 * 32 * 0.25 * 25.0 + random_solid.sum() * 0.125
    assert mesh.volume.sum() == pytest.approx(volume, rel=1e-12)


def test_hanging_nodes_agree_with_a_search(mesh_of, random_solid) -> None:
    mesh = mesh_of(random_solid)
    known = {tuple(p): n for n, p in enumerate(mesh.lattice.tolist())}
    expected = set()
    for cell in np.flatnonzero(mesh.size > 1):
        for corners in (*_EDGES, *_FACES):
            masters = mesh.cells[cell][list(corners)]
            middle = tuple(mesh.lattice[masters].mean(axis=0).astype(int).tolist())
            if middle in known:
                expected.add((known[middle], frozenset(masters.tolist())))
    pairs = zip(mesh.hanging.slave.tolist(), mesh.hanging.master.tolist(), strict=True)
    found = {(slave, frozenset(masters)) for slave, masters in pairs}
    assert found == expected


def test_interpolation_reproduces_trilinear_fields(mesh_of, random_solid) -> None:
    mesh = mesh_of(random_solid)
    for group in (1, 3):
        weights = interpolation(mesh, mesh.active_cells(group))
        count = mesh.active_nodes(group).stop
        x, y, z = mesh.points[:count].T
        field = 1.0 + x - 2.0 * y + 3.0 * z
        np.testing.assert_allclose(weights[:count, :count] @ field, field, rtol=1e-13)
        free = np.unique(weights.indices)
        np.testing.assert_allclose(weights[free][:, free].diagonal(), 1.0)


def test_values_at_height_come_from_the_nearest_node(mesh_of, random_solid) -> None:
    mesh = mesh_of(random_solid)
    count = mesh.active_nodes(1).stop
    values = np.random.default_rng(0).random(count)
    found = values_at_height(mesh, 4, values)
    surface = np.flatnonzero(mesh.lattice[:count, 2] == 4)
    for i, j in np.ndindex(found.shape):
        away = np.hypot(mesh.lattice[surface, 0] - i, mesh.lattice[surface, 1] - j)
        assert found[i, j] in values[surface[away <= away.min() + 1e-9]]


def test_step2_is_netfabbs_mesh(step2) -> None:
    surface = trimesh.load(step2 / "20163_3742f394_3_tivus.stl")
    grid = voxelise(set_down(surface.triangles), cell_height=0.8, group_cells=4)
    mesh = build_mesh(grid, group_cells=4, plate_depth=25.0)
    # "Number of refined elements" and "nodes" of the solver's log, group by group.
    counts = [(mesh.active_cells(g).stop, mesh.active_nodes(g).stop) for g in (1, 2, 3)]
    assert counts == [(865, 1836), (1517, 3261), (1753, 3769)]
    # "Number of equations" of its thermal log: the nodes that do not hang.
    free = [len(np.unique(interpolation(mesh, mesh.active_cells(g)).indices)) for g in (1, 2, 3)]
    assert free == [949, 1714, 2030]
    part = mesh.cells[mesh.cell_range(1).start :]
    assert (len(part), len(np.unique(part))) == (1408, 3227)
