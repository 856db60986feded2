from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lpbf_dataset.mesh import unique_edges

from .conftest import box_mesh

PAIRS = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]


def naive_edges(cells: np.ndarray) -> np.ndarray:
    edges = {tuple(sorted((int(cell[a]), int(cell[b])))) for cell in cells for a, b in PAIRS}
    return np.array(sorted(edge for edge in edges if edge[0] != edge[1]), dtype=np.int32).reshape(-1, 2)


# The first example may compile the kernel.
@settings(deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(0, 12), st.just(8)), elements=st.integers(0, 14)))
def test_equals_naive_loop_on_any_connectivity(cells):
    np.testing.assert_array_equal(unique_edges(cells, 15), naive_edges(cells))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (4, 3, 2)])
def test_structured_block_has_the_closed_form_count(shape):
    mesh = box_mesh(*shape)
    nx, ny, nz = shape
    expected = nx * (ny + 1) * (nz + 1) + (nx + 1) * ny * (nz + 1) + (nx + 1) * (ny + 1) * nz
    assert len(unique_edges(mesh.cells, len(mesh.points))) == expected


def test_hanging_nodes_keep_long_and_short_edges(hanging_node_mesh):
    edges = unique_edges(hanging_node_mesh.cells, len(hanging_node_mesh.points))
    lengths = np.linalg.norm(np.diff(hanging_node_mesh.points[edges], axis=1)[:, 0], axis=1)
    assert set(lengths) == {1.0, 2.0}
    # The coarse cell alone has 12 edges of length 2; those of its +x face are also there in halves.
    assert np.count_nonzero(lengths == 2.0) == 12


def test_accepts_any_integer_dtype_and_memory_order():
    cells = box_mesh(2, 2, 2).cells
    expected = unique_edges(cells, 27)
    for variant in (cells.astype(np.int64), np.asfortranarray(cells), cells.astype(np.uint16)):
        edges = unique_edges(variant, 27)
        np.testing.assert_array_equal(edges, expected)
        assert edges.dtype == np.int32


def test_threads_change_nothing():
    cells = box_mesh(60, 30, 30).cells
    # Cells whose nodes are all over belong to several threads.
    cells = np.concatenate([cells, np.random.default_rng(0).integers(0, cells.max(), (1000, 8), np.int32)])
    node_count = int(cells.max()) + 1
    one = unique_edges(cells, node_count)
    for threads in (0, 2, 3):
        np.testing.assert_array_equal(unique_edges(cells, node_count, threads), one)


def test_a_node_of_very_many_cells():
    cells = np.random.default_rng(0).integers(1, 300, size=(100, 8)).astype(np.int32)
    cells[:, 0] = 0
    np.testing.assert_array_equal(unique_edges(cells, 300), naive_edges(cells))


def test_no_cells_have_no_edges():
    assert unique_edges(np.empty((0, 8), dtype=np.int32), 0).shape == (0, 2)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.zeros((2, 4), dtype=np.int32), r"\(m, 8\) integer"),
        (np.zeros((2, 8)), r"\(m, 8\) integer"),
        (np.full((1, 8), 8, dtype=np.int32), "cell 0 names node 8, but the mesh has nodes 0 to 7"),
        (np.full((1, 8), -1, dtype=np.int32), "cell 0 names node -1"),
    ],
)
def test_bad_connectivity_is_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        unique_edges(cells, 8)
