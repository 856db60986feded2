from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from baselines.bistride import coarsen
from baselines.mesh_levels import batch_levels, mesh_levels

from .meshes import block

if TYPE_CHECKING:
    from baselines.convention import MeshLevels


def naive_levels(points: np.ndarray, edges: np.ndarray, kept_nodes: list[list[int]], pairs: list) -> list:
    """Weights, positions and edge features as the published code says them, node by node."""
    weights = dict.fromkeys(range(len(points)), 1.0)
    positions = dict(enumerate(points.astype(float)))
    levels = []
    for kept, coarse_edges in zip(kept_nodes, pairs, strict=True):
        neighbours = {node: [] for node in positions}
        for a, b in edges.tolist():
            neighbours[a].append(b)
            neighbours[b].append(a)
        links, new_weights, new_positions = {}, {}, {}
        for i, node in enumerate(kept):
            sent = {other: weights[other] / len(neighbours[other]) for other in neighbours[node]}
            new_weights[i] = sum(sent.values())
            new_positions[i] = np.zeros(3)
            for other, share in sent.items():
                links[other, i] = share / new_weights[i]
                new_positions[i] = new_positions[i] + links[other, i] * positions[other]
        features = {}
        for a, b in coarse_edges.tolist():
            for sender, receiver in ((a, b), (b, a)):
                relative = new_positions[receiver] - new_positions[sender]
                features[sender, receiver] = [*relative, np.linalg.norm(relative)]
        levels.append((links, features))
        weights, positions, edges = new_weights, new_positions, coarse_edges
    return levels


def as_dict(pairs: torch.Tensor, values: torch.Tensor) -> dict:
    keys = list(map(tuple, pairs.T.tolist()))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, values.tolist(), strict=True))


def uneven_mesh(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A distorted block, a pair and a single node, apart from each other."""
    points, edges = block(4, 5, 3)
    random = np.random.default_rng(seed)
    points = np.concatenate([points, [[9, 9, 9], [9, 9, 8], [20, 0, 0]]])
    points = points + random.normal(scale=0.2, size=points.shape)
    return points, np.concatenate([edges, [[60, 61]]])


def test_equals_the_naive_way() -> None:
    points, edges = uneven_mesh()
    graphs = coarsen(points, edges, 3)
    expected = naive_levels(points, edges, [g.kept.tolist() for g in graphs], [g.edges for g in graphs])
    levels = mesh_levels(points, edges, graphs)
    for level, graph, (links, features) in zip(levels, graphs, expected, strict=True):
        assert level.node_count == len(graph.kept)
        got = as_dict(level.links, level.weights)
        assert got.keys() == links.keys()
        assert got == pytest.approx(links)
        got = as_dict(level.edges.endpoints, level.edges.features)
        assert got.keys() == features.keys()
        for key, value in features.items():
            assert got[key] == pytest.approx(value)


def test_weights_of_a_node_sum_to_one_and_inner_nodes_stay_in_place() -> None:
    points, edges = block(7, 7, 7)
    graphs = coarsen(points, edges, 3)
    level = mesh_levels(points, edges, graphs)[0]
    sums = torch.zeros(level.node_count).index_add(0, level.links[1], level.weights)
    assert_close(sums, torch.ones(level.node_count))
    positions = torch.zeros(level.node_count, 3).index_add(
        0, level.links[1], torch.from_numpy(points)[level.links[0]] * level.weights[:, None]
    )
    kept = points[graphs[0].kept]
    # Two nodes from the boundary, so that neighbours have all the six neighbours they can.
    inner = ((kept > 1) & (kept < 5)).all(axis=1)
    assert inner.any()
    assert_close(positions[inner], torch.from_numpy(kept[inner]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes(dtype: type) -> None:
    points, edges = block(3, 3, 3)
    for level in mesh_levels(points.astype(dtype), edges, coarsen(points, edges, 2)):
        assert level.links.dtype == level.edges.endpoints.dtype == torch.int64
        assert level.weights.numpy().dtype == level.edges.features.numpy().dtype == dtype


def make(points: np.ndarray, edges: np.ndarray) -> MeshLevels:
    return mesh_levels(points, edges, coarsen(points, edges, 2))


def test_a_batch_is_its_cases_side_by_side() -> None:
    meshes = [block(3, 4, 3), uneven_mesh(), block(2, 2, 2)]
    counts = [len(points) for points, _ in meshes]
    nodes = 70
    cases = [make(points.astype(np.float32), edges) for points, edges in meshes]
    batch = batch_levels(cases, counts, nodes)
    finer_starts = [0, nodes, 2 * nodes]
    for depth, level in enumerate(batch):
        links, edges, start, starts = {}, {}, 0, []
        for case, finer_start in zip(cases, finer_starts, strict=True):
            for (fine, coarse), weight in as_dict(case[depth].links, case[depth].weights).items():
                links[fine + finer_start, coarse + start] = weight
            for (a, b), features in as_dict(*case[depth].edges).items():
                edges[a + start, b + start] = features
            starts.append(start)
            start += case[depth].node_count
        assert level.node_count == start
        assert as_dict(level.links, level.weights) == links
        assert as_dict(*level.edges) == edges
        finer_starts = starts


def test_rejects_cases_that_do_not_fit() -> None:
    points, edges = block(3, 3, 3)
    case = make(points, edges)
    with pytest.raises(ValueError, match="a case of 27 nodes does not fit in 26 rows"):
        batch_levels([case], [27], 26)
    with pytest.raises(ValueError, match="the cases have 2, 1 levels, not equally many"):
        batch_levels([case, case[:1]], [27, 27], 30)
