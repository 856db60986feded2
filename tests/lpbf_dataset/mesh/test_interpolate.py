from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root
from scipy.spatial.transform import Rotation

from lpbf_dataset.mesh import CellLocator, interpolate
from lpbf_dataset.mesh.locate import INSIDE_TOLERANCE
from lpbf_dataset.sources.netfabb import NetfabbSource

from .conftest import Mesh, box_mesh

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])

seeds = st.integers(0, 2**32 - 1)


def octree_mesh(rng: np.random.Generator, depth: int = 3) -> Mesh:
    """Split the cells of a block at random, with any ratio of sizes between neighbours."""
    corner, size = np.argwhere(np.ones((3, 2, 2))) * 8, np.full(12, 8)
    for _ in range(depth):
        split = rng.random(len(size)) < 0.3
        children = (corner[split, None] + CORNERS * (size[split, None, None] // 2)).reshape(-1, 3)
        corner = np.concatenate([corner[~split], children])
        size = np.concatenate([size[~split], np.repeat(size[split] // 2, 8)])
    corners = corner[:, None] + CORNERS * size[:, None, None]
    points, inverse = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return Mesh(points.astype(np.float64), inverse.reshape(-1, 8).astype(np.int32))


def weights_of(local: np.ndarray) -> np.ndarray:
    return np.where(CORNERS == 1, local[..., None, :], 1 - local[..., None, :]).prod(axis=-1)


def naive_interpolate(mesh: Mesh, values: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Try the cells one after another, the smallest first, with a general root finder."""
    corners = mesh.points[mesh.cells].astype(np.float64)
    least_excess, value = INSIDE_TOLERANCE, None
    for cell in np.argsort(np.ptp(corners, axis=1).sum(axis=1), kind="stable"):
        solution = root(lambda local, c=cell: weights_of(local) @ corners[c] - target, [0.5] * 3, tol=1e-12)
        excess = max(abs(solution.x - 0.5).max() - 0.5 - 1e-9, 0)
        if solution.success and excess < least_excess:
            least_excess, value = excess, weights_of(solution.x) @ values[mesh.cells[cell]]
    return value


def rotated(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    turn = Rotation.random(random_state=int(rng.integers(2**31)))
    return Mesh(turn.apply(mesh.points) + rng.normal(size=3), mesh.cells)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_linear_fields_are_exact_on_rotated_octrees(seed):
    rng = np.random.default_rng(seed)
    mesh = octree_mesh(rng)
    inside = rng.uniform(0, 1, (200, 3)) * mesh.points.max(axis=0)
    turned = rotated(Mesh(np.concatenate([mesh.points, inside]), mesh.cells), rng)
    points, targets = np.split(turned.points, [len(mesh.points)])
    gradient, offset = rng.normal(size=(3, 4)), rng.normal(size=4)
    result = interpolate(points, mesh.cells, points @ gradient + offset, targets)
    assert result.inside.all()
    np.testing.assert_allclose(result.values, targets @ gradient + offset, rtol=0, atol=1e-11)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_nodes_of_the_mesh_keep_their_values_exactly(seed):
    rng = np.random.default_rng(seed)
    mesh = rotated(octree_mesh(rng), rng)
    values = rng.normal(size=(len(mesh.points), 2)).astype(np.float32)
    result = interpolate(mesh.points.astype(np.float32), mesh.cells, values, mesh.points.astype(np.float32))
    assert result.inside.all()
    np.testing.assert_array_equal(result.values, values)
    assert result.values.dtype == np.float32


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_warped_cells_equal_naive_loop(seed):
    rng = np.random.default_rng(seed)
    block = box_mesh(2, 2, 2)
    mesh = Mesh(block.points + rng.uniform(-0.2, 0.2, block.points.shape), block.cells)
    values = rng.normal(size=len(mesh.points))
    targets = rng.uniform(-0.2, 2.2, (20, 3))
    result = interpolate(*mesh, values, targets)
    for target, value, inside in zip(targets, *result, strict=True):
        expected = naive_interpolate(mesh, values, target)
        assert inside == (expected is not None)
        if expected is None:
            expected = values[np.linalg.norm(mesh.points - target, axis=1).argmin()]
        np.testing.assert_allclose(value, expected, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_local_coordinates_of_warped_cells_lead_back_to_the_target(seed):
    rng = np.random.default_rng(seed)
    block = box_mesh(3, 3, 3)
    points = block.points + rng.uniform(-0.2, 0.2, block.points.shape)
    cell, local = rng.integers(27, size=100), rng.uniform(0, 1, (100, 3))
    targets = np.einsum("kc,kcx->kx", weights_of(local), points[block.cells[cell]])
    location = CellLocator(points, block.cells).locate(targets)
    np.testing.assert_array_equal(location.cell, cell)
    np.testing.assert_allclose(location.local, local, atol=1e-9)


def test_hanging_node_is_the_same_from_the_coarse_cell_where_the_field_is_continuous(hanging_node_mesh):
    points, cells = hanging_node_mesh
    coarse = np.argmax(np.ptp(points[cells], axis=1).sum(axis=1))
    on_corners = np.random.default_rng(0).normal(size=8)
    hanging = (points[:, 0] == 2) & (points[:, 1:] == 1).any(axis=1)
    values = np.random.default_rng(1).normal(size=len(points))
    values[cells[coarse]] = on_corners
    values[hanging] = weights_of(points[hanging] / 2.0) @ on_corners
    fine = np.delete(cells, coarse, axis=0)
    face = np.column_stack([np.full(50, 2.0), np.random.default_rng(2).uniform(0, 2, (50, 2))])
    face = np.concatenate([face, points[hanging]])
    from_coarse = interpolate(points, cells[[coarse]], values, face)
    from_fine = interpolate(points, fine, values, face)
    from_both = interpolate(points, cells, values, face)
    assert hanging.sum() == 5
    np.testing.assert_allclose(from_coarse.values, from_fine.values, atol=1e-14)
    np.testing.assert_array_equal(from_both.values, from_fine.values)


def test_faces_edges_and_corners_belong_to_the_smallest_then_the_first_cell(hanging_node_mesh):
    points, cells = hanging_node_mesh
    targets = np.array([(2, 0.5, 0.5), (2.5, 1, 0.5), (2.5, 1, 1), (1, 1, 1), (0, 0, 0)])
    location = CellLocator(points, cells).locate(targets)
    # The coarse cell is number 0, the fine ones follow with z fastest.
    np.testing.assert_array_equal(location.cell, [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(location.local[:3], [(0, 0.5, 0.5), (0.5, 1, 0.5), (0.5, 1, 1)])


def test_outside_takes_the_nearest_node_of_a_cell():
    block = box_mesh(2, 2, 2)
    points = np.concatenate([block.points, [[5.0, 1.0, 1.0]]])
    targets = np.array([(4.0, 1.1, 0.9), (-0.01, 0.9, 2.2), (1.0, 1.0, 1.0)])
    values, inside = interpolate(points, block.cells, points, targets)
    np.testing.assert_array_equal(values, [(2, 1, 1), (0, 1, 2), (1, 1, 1)])
    np.testing.assert_array_equal(inside, [False, False, True])


def test_gaps_of_single_precision_count_as_inside():
    rng = np.random.default_rng(0)
    mesh = octree_mesh(rng)
    turned = rotated(Mesh(mesh.points * 0.05 + 100.0, mesh.cells), rng)
    points = turned.points.astype(np.float32)
    hanging = points.astype(np.float64) + rng.uniform(-1e-5, 1e-5, points.shape)
    interior = ((mesh.points > 0) & (mesh.points < mesh.points.max(axis=0))).all(axis=1)
    assert interpolate(points, mesh.cells, points, hanging[interior]).inside.all()


def test_result_does_not_depend_on_threads():
    rng = np.random.default_rng(0)
    mesh = rotated(octree_mesh(rng), rng)
    targets = rng.uniform(-20, 20, (40_000, 3))
    one = interpolate(*mesh, mesh.points, targets)
    many = interpolate(*mesh, mesh.points, targets, threads=3)
    np.testing.assert_array_equal(one.values, many.values)
    np.testing.assert_array_equal(one.inside, many.inside)
    assert 0 < one.inside.sum() < len(targets)


def test_inverted_and_flat_cells():
    mesh = box_mesh(1, 1, 1)
    inverted = mesh.cells[:, [4, 5, 6, 7, 0, 1, 2, 3]]
    assert interpolate(mesh.points, inverted, mesh.points[:, 2], np.array([[0.3, 0.4, 0.6]])).values == (
        pytest.approx(0.6)
    )
    flat = mesh.points * np.array([1, 1, 0])
    assert not interpolate(flat, mesh.cells, flat, np.array([[0.3, 0.4, 0.0]])).inside.any()


def test_wedge_stored_as_a_hexahedron():
    points = np.array([(0, 0, 0), (2, 0, 0), (1, 2, 0), (0, 0, 2), (2, 0, 2), (1, 2, 2)], dtype=float)
    targets = np.array([(1.0, 1.0, 1.0), (1.0, 1.99, 0.5), (0.0, 0.0, 2.0), (1.0, 2.0, 0.0)])
    values, inside = interpolate(points, np.array([[0, 1, 2, 2, 3, 4, 5, 5]]), points, targets)
    np.testing.assert_allclose(values, targets, atol=1e-12)
    np.testing.assert_array_equal(inside, [True, True, True, False])


def test_only_nodes_with_weight_contribute():
    mesh = box_mesh(2, 1, 1)
    values = np.where(mesh.points[:, 0] == 2, np.nan, 1.0)
    result = interpolate(*mesh, values, np.array([(1.0, 0.5, 0.5), (1.5, 0.5, 0.5)]))
    np.testing.assert_array_equal(result.values, [1.0, np.nan])


def test_integers_and_tensors():
    mesh = box_mesh(2, 1, 1)
    values = np.arange(12 * 6).reshape(12, 3, 2)
    result = interpolate(*mesh, values, np.array([(0.5, 0.5, 0.5)]))
    assert result.values.dtype == np.float64
    np.testing.assert_allclose(result.values, [values[:8].mean(axis=0)])
    assert interpolate(*mesh, values, np.empty((0, 3))).values.shape == (0, 3, 2)


def test_steps_of_a_real_run(step2):
    (case,) = NetfabbSource(step2).cases()
    steps = [step for step in case.steps({"displacement"}) if step.kind in ("deposited", "removed")]
    for before, after in itertools.pairwise(steps):
        old = before.fields["displacement"]
        values, inside = interpolate(before.points, before.cells, old, after.points)
        row = {tuple(point): index for index, point in enumerate(before.points.tolist())}
        rows = np.array([row.get(tuple(point), -1) for point in after.points.tolist()])
        assert (rows >= 0).sum() >= min(len(before.points), len(after.points))
        np.testing.assert_array_equal(values[rows >= 0], old[rows[rows >= 0]])
        assert inside[rows >= 0].all()
        top = before.points[:, 2].max()
        np.testing.assert_array_equal(inside[after.points[:, 2] > top], False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": np.empty((0, 8), dtype=np.int32)}, "no cells"),
        ({"cells": np.full((1, 8), 8)}, "nodes 0 to 7"),
        ({"values": np.zeros(7)}, "7 values for 8 nodes"),
        ({"targets": np.zeros((2, 2))}, r"targets must be a \(k, 3\) array"),
        ({"targets": np.full((1, 3), np.nan)}, "targets must be finite"),
        ({"points": np.full((8, 3), np.inf)}, "points must be finite"),
    ],
)
def test_bad_input_is_refused(change, message):
    mesh = box_mesh(1, 1, 1)
    arguments = {**mesh._asdict(), "values": np.zeros(8), "targets": np.zeros((1, 3))}
    with pytest.raises(ValueError, match=message):
        interpolate(**(arguments | change))
