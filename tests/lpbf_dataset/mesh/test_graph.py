from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh.graph import directed_graph, directed_graphs


def obvious_graph(points, edges):
    """Build both arrays edge by edge."""
    pairs = [*edges.tolist(), *edges[:, ::-1].tolist()]
    offsets = [points[receiver] - points[sender] for sender, receiver in pairs]
    attributes = [[*offset, np.linalg.norm(offset)] for offset in offsets]
    return np.array(pairs).reshape(-1, 2).T, np.array(attributes).reshape(-1, 4)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_agrees_with_the_obvious_way(count):
    random = np.random.default_rng(count)
    points = random.normal(size=(100, 3)).astype(np.float32)
    edges = random.integers(100, size=(count, 2)).astype(np.int32)
    edge_index, edge_attr = directed_graph(points, edges)
    expected_index, expected_attr = obvious_graph(points, edges)
    np.testing.assert_array_equal(edge_index, expected_index)
    np.testing.assert_allclose(edge_attr, expected_attr, rtol=1e-6)
    assert (edge_index.dtype, edge_attr.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("edge", [(0, 3), (-1, 2), (3, 1)])
def test_an_edge_that_leads_nowhere(edge):
    points = np.zeros((3, 3), dtype=np.float32)
    edges = np.array([(0, 1), edge], dtype=np.int32)
    with pytest.raises(ValueError, match=r"edge 1 joins nodes .* has nodes 0 to 2"):
        directed_graph(points, edges)


def test_joined_meshes_have_their_nodes_numbered_through():
    random = np.random.default_rng(0)
    meshes = [
        (random.normal(size=(n, 3)).astype(np.float32), random.integers(n, size=(e, 2)).astype(np.int32))
        for n, e in ((5, 7), (1, 0), (9, 20))
    ]
    edge_index, edge_attr = directed_graphs(meshes)
    alone = [directed_graph(*mesh) for mesh in meshes]
    first_nodes = [0, 5, 6]
    np.testing.assert_array_equal(
        edge_index, np.hstack([index + first for (index, _), first in zip(alone, first_nodes, strict=True)])
    )
    np.testing.assert_array_equal(edge_attr, np.vstack([attr for _, attr in alone]))
    assert directed_graphs([])[0].shape == (2, 0)
