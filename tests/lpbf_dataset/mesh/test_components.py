from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lpbf_dataset.mesh import face_components, node_components

from .conftest import Mesh, box_mesh


def naive_components(cells: np.ndarray) -> np.ndarray:
    labels = np.arange(len(cells))
    for i in range(len(cells)):
        for j in range(i):
            if set(cells[i]) & set(cells[j]):
                labels[labels == labels[i]] = labels[j]
    names = list(dict.fromkeys(labels.tolist()))
    return np.array([names.index(label) for label in labels.tolist()], dtype=np.int32)


def selection(occupied: np.ndarray) -> Mesh:
    """Return the cells of a block that are occupied."""
    mesh = box_mesh(*occupied.shape)
    return Mesh(mesh.points, mesh.cells[occupied.ravel()])


def flood(occupied: np.ndarray) -> np.ndarray:
    """Return the components by faces of occupied cells, by flooding one after the other."""
    label = np.where(occupied, 0, -1)
    count = 0
    for start in np.argwhere(occupied):
        front = [tuple(start)] if label[tuple(start)] == 0 else []
        count += bool(front)
        while front:
            at = front.pop()
            label[at] = count
            for axis, way in ((axis, way) for axis in range(3) for way in (-1, 1)):
                to = tuple(at[k] + way * (k == axis) for k in range(3))
                if all(0 <= to[k] < occupied.shape[k] for k in range(3)) and label[to] == 0:
                    front.append(to)
    return label[occupied] - 1


@settings(deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(0, 12), st.just(8)), elements=st.integers(0, 80)))
def test_by_nodes_equals_naive_loop_on_any_connectivity(cells):
    np.testing.assert_array_equal(node_components(cells, 81), naive_components(cells))


@settings(deadline=None)
@given(arrays(np.bool_, (4, 3, 3)))
def test_by_faces_equals_flooding(occupied):
    np.testing.assert_array_equal(face_components(*selection(occupied)), flood(occupied))


def test_cells_with_a_common_edge_hang_together_by_nodes_only():
    mesh = selection(np.array([[[True], [False]], [[False], [True]]]))
    np.testing.assert_array_equal(node_components(mesh.cells, len(mesh.points)), [0, 0])
    np.testing.assert_array_equal(face_components(*mesh), [0, 1])


def test_t_junction_joins_fine_and_coarse_cells(hanging_node_mesh):
    points, cells = hanging_node_mesh
    np.testing.assert_array_equal(node_components(cells, len(points)), np.zeros(5))
    for fine in range(1, 5):
        np.testing.assert_array_equal(face_components(points, cells[[fine, 0]]), [0, 0])


def test_cell_in_the_midst_of_a_face_shares_no_node_but_part_of_the_face():
    coarse, fine = box_mesh(1, 1, 1, (3.0, 3.0, 3.0)), box_mesh(1, 1, 1)
    points = np.concatenate([coarse.points, fine.points + np.float32([3, 1, 1])])
    cells = np.concatenate([coarse.cells, fine.cells + 8])
    np.testing.assert_array_equal(node_components(cells, 16), [0, 1])
    np.testing.assert_array_equal(face_components(points, cells), [0, 0])


def test_equal_cells_hang_together():
    mesh = box_mesh(1, 1, 1)
    points, cells = np.concatenate([mesh.points] * 2), np.concatenate([mesh.cells, mesh.cells + 8])
    np.testing.assert_array_equal(face_components(points, cells), [0, 0])


def test_no_cells():
    cells = np.empty((0, 8), dtype=np.int32)
    assert node_components(cells, 0).shape == face_components(np.empty((0, 3)), cells).shape == (0,)


def test_bad_connectivity_is_refused():
    with pytest.raises(ValueError, match="nodes 0 to 6"):
        node_components(np.arange(8)[None], 7)
    with pytest.raises(ValueError, match="nodes 0 to 6"):
        face_components(np.zeros((7, 3)), np.arange(8)[None])
