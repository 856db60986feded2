from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh import cell_to_node, cell_volumes, node_to_cell

from .conftest import box_mesh


def naive_cell_to_node(values, cells, node_count, weights):
    result = np.full((node_count, *values.shape[1:]), np.nan)
    for node in range(node_count):
        corner_of = (cells == node).sum(axis=1) * weights
        if corner_of.any():
            result[node] = np.average(values, axis=0, weights=corner_of)
    return result


def test_node_to_cell_is_the_mean_of_the_corners(hanging_node_mesh):
    points, cells = hanging_node_mesh
    values = np.random.default_rng(0).normal(size=(len(points), 3, 2))
    np.testing.assert_allclose(node_to_cell(values, cells), values[cells].mean(axis=1), atol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
def test_cell_to_node_equals_naive_loop(hanging_node_mesh, weighted):
    points, cells = hanging_node_mesh
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(cells), 2))
    weights = rng.uniform(1, 2, len(cells)) if weighted else None
    result = cell_to_node(values, cells, len(points) + 1, weights)
    expected = naive_cell_to_node(
        values, cells, len(points) + 1, np.ones(len(cells)) if weights is None else weights
    )
    np.testing.assert_allclose(result, expected)
    assert np.isnan(result[-1]).all()


def test_weighting_by_volume_preserves_the_integral(hanging_node_mesh):
    points, cells = hanging_node_mesh
    volumes = cell_volumes(points, cells)
    values = np.random.default_rng(0).normal(size=len(cells))
    on_nodes = cell_to_node(values, cells, len(points), volumes)
    assert node_to_cell(on_nodes, cells) @ volumes == pytest.approx(values @ volumes)


def test_linear_field_at_inner_nodes_of_a_block():
    points, cells = box_mesh(3, 3, 3, (0.5, 1, 2))
    inner = ((points > 0) & (points < points.max(axis=0))).all(axis=1)
    result = cell_to_node(node_to_cell(points, cells), cells, len(points))
    np.testing.assert_allclose(result[inner], points[inner], rtol=1e-6)
    assert result.dtype == np.float32


def test_integers_and_no_cells():
    cells = np.empty((0, 8), dtype=np.int32)
    assert node_to_cell(np.arange(6).reshape(3, 2), cells).shape == (0, 2)
    assert np.isnan(cell_to_node(np.empty((0, 2), dtype=int), cells, 3)).all()
    assert node_to_cell(np.arange(8), np.arange(8)[None]) == [3.5]


def test_threads_change_nothing():
    random = np.random.default_rng(0)
    cells = random.integers(0, 70_000, (70_000, 8), np.int32)
    values, weights = random.normal(size=(70_000, 2)), random.uniform(1, 2, 70_000)
    np.testing.assert_array_equal(node_to_cell(values, cells, threads=3), node_to_cell(values, cells))
    one = cell_to_node(values, cells, 70_000, weights)
    np.testing.assert_array_equal(cell_to_node(values, cells, 70_000, weights, threads=3), one)


def test_precision_is_single_or_double():
    mesh = box_mesh(1, 1, 1)
    for given, got in (("f4", "f4"), ("f8", "f8"), ("f2", "f8"), (">f4", "f4"), ("i2", "f8"), ("?", "f8")):
        assert node_to_cell(mesh.points.astype(given), mesh.cells).dtype == np.dtype(got)
    with pytest.raises(ValueError, match=r"real numbers, not \(8,\) complex128"):
        node_to_cell(np.zeros(8, dtype=complex), mesh.cells)
    with pytest.raises(ValueError, match="array of real numbers"):
        node_to_cell(np.float64(0), mesh.cells)


def test_wrong_counts_are_refused():
    cells = np.arange(8)[None]
    with pytest.raises(ValueError, match="nodes 0 to 6"):
        node_to_cell(np.zeros(7), cells)
    with pytest.raises(ValueError, match="2 values and weights"):
        cell_to_node(np.zeros(2), cells, 8)
    with pytest.raises(ValueError, match=r"weights \(2,\) for 1 cells"):
        cell_to_node(np.zeros(1), cells, 8, np.ones(2))
