from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lpbf_dataset.mesh import aspect_ratios, cell_volumes

from .conftest import box_mesh

PAIRS = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])

coordinates = st.floats(-100, 100, width=32)


def naive_aspect_ratio(corners: np.ndarray) -> float:
    lengths = [float(np.linalg.norm(corners[b] - corners[a])) for a, b in PAIRS]
    return max(lengths) / min(lengths) if min(lengths) > 0 else float("inf")


def quadrature_volume(corners: np.ndarray) -> float:
    """Integrate the Jacobian determinant of the trilinear map; two Gauss points per axis are exact."""
    volume = 0.0
    for xi in np.stack(np.meshgrid(*[[0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5]] * 3), -1).reshape(-1, 3):
        factors = np.where(CORNERS == 1, xi, 1 - xi)
        signs = np.where(CORNERS == 1, 1.0, -1.0)
        gradient = np.stack(
            [signs[:, a] * factors[:, (a + 1) % 3] * factors[:, (a + 2) % 3] for a in range(3)], axis=1
        )
        volume += np.linalg.det(corners.T @ gradient) / 8
    return volume


# The first example may compile the kernel.
@settings(deadline=None)
@given(arrays(np.float32, (8, 3), elements=coordinates))
def test_aspect_ratio_equals_naive_loop(corners):
    cells = np.arange(8, dtype=np.int32)[None]
    expected = naive_aspect_ratio(corners.astype(np.float64))
    np.testing.assert_allclose(aspect_ratios(corners, cells), [expected], rtol=1e-12)


# The first example may compile the kernel.
@settings(deadline=None)
@given(arrays(np.float32, (8, 3), elements=coordinates))
def test_volume_of_a_warped_cell_equals_quadrature(corners):
    cells = np.arange(8, dtype=np.int32)[None]
    expected = quadrature_volume(corners.astype(np.float64))
    np.testing.assert_allclose(cell_volumes(corners, cells), [expected], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("function", [aspect_ratios, cell_volumes])
def test_threads_change_nothing(function):
    points = np.random.default_rng(0).normal(size=(1000, 3))
    cells = np.random.default_rng(1).integers(0, 1000, (70_000, 8), np.int32)
    np.testing.assert_array_equal(function(points, cells, threads=3), function(points, cells))


def test_boxes_have_the_closed_form():
    mesh = box_mesh(3, 2, 4, (0.5, 1.0, 2.0))
    np.testing.assert_array_equal(aspect_ratios(*mesh), np.full(24, 4.0))
    np.testing.assert_allclose(cell_volumes(*mesh), np.full(24, 1.0))


def test_cells_of_a_t_junction_fill_the_box(hanging_node_mesh):
    assert cell_volumes(*hanging_node_mesh).sum() == pytest.approx(2 * 2 * 3)


def test_inverted_cell_has_negative_volume():
    mesh = box_mesh(1, 1, 1)
    upside_down = mesh.cells[:, [4, 5, 6, 7, 0, 1, 2, 3]]
    np.testing.assert_allclose(cell_volumes(mesh.points, upside_down), [-1.0])


def test_collapsed_cell_is_infinitely_thin():
    points = np.zeros((8, 3), dtype=np.float32)
    cells = np.arange(8, dtype=np.int32)[None]
    assert aspect_ratios(points, cells) == [np.inf]
    assert cell_volumes(points, cells) == [0.0]


@pytest.mark.parametrize("function", [aspect_ratios, cell_volumes])
def test_bad_connectivity_is_refused(function):
    with pytest.raises(ValueError, match="nodes 0 to 6"):
        function(np.zeros((7, 3)), np.arange(8)[None])
