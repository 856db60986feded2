from __future__ import annotations

from collections import deque
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.bistride import CoarseGraph, coarsen
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.sources.netfabb import NetfabbSource

from .meshes import block

if TYPE_CHECKING:
    from pathlib import Path


def neighbours_of(edges: np.ndarray, node_count: int) -> list[set[int]]:
    neighbours: list[set[int]] = [set() for _ in range(node_count)]
    for a, b in edges.tolist():
        neighbours[a].add(b)
        neighbours[b].add(a)
    return neighbours


def distances_from(seed: int, neighbours: list[set[int]]) -> dict[int, int]:
    distances, queue = {seed: 0}, deque([seed])
    while queue:
        node = queue.popleft()
        for other in neighbours[node] - distances.keys():
            distances[other] = distances[node] + 1
            queue.append(other)
    return distances


def components_of(neighbours: list[set[int]]) -> list[list[int]]:
    components: list[list[int]] = []
    for node in range(len(neighbours)):
        if not any(node in component for component in components):
            components.append(sorted(distances_from(node, neighbours)))
    return components


def naive_pool(points: np.ndarray, edges: np.ndarray) -> tuple[list[int], list[tuple[int, int]]]:
    """One level as the paper says it, node by node."""
    neighbours, kept = neighbours_of(edges, len(points)), []
    for component in components_of(neighbours):
        centre = points[component].astype(float).mean(axis=0)
        seed = min(component, key=lambda node: ((points[node] - centre) ** 2).sum())
        distances = distances_from(seed, neighbours)
        even, odd = ([n for n in component if distances[n] % 2 == parity] for parity in (0, 1))
        kept += even if len(even) <= len(odd) or not odd else odd
    kept.sort()
    joined = []
    for (i, a), (j, b) in combinations(enumerate(kept), 2):
        if b in neighbours[a] or neighbours[a] & neighbours[b]:
            joined.append((i, j))
    return kept, joined


@st.composite
def meshes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Graphs of up to 30 nodes, connected or not, with nodes that have no edge."""
    node_count = draw(st.integers(1, 30))
    nodes = st.integers(0, node_count - 1)
    pairs = draw(st.sets(st.tuples(nodes, nodes).filter(lambda pair: pair[0] < pair[1]), max_size=60))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    return random.normal(size=(node_count, 3)), np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2)


# The first example may compile the kernels.
@settings(deadline=None)
@given(meshes(), st.integers(1, 4))
def test_equals_the_naive_way(mesh: tuple[np.ndarray, np.ndarray], num_levels: int) -> None:
    points, edges = mesh
    graphs = coarsen(points, edges, num_levels)
    assert len(graphs) == num_levels
    for graph in graphs:
        kept, joined = naive_pool(points, edges)
        assert graph.kept.tolist() == kept
        assert list(map(tuple, graph.edges.tolist())) == joined
        assert graph.kept.dtype == graph.edges.dtype == np.int32
        points, edges = points[graph.kept], graph.edges


def test_equals_the_naive_way_on_a_real_mesh(step2: Path) -> None:
    (case,) = NetfabbSource(step2).cases()
    step = case.final_step()
    points, edges = step.points, unique_edges(step.cells, len(step.points))
    for graph in coarsen(points, edges, 3):
        kept, joined = naive_pool(points, edges)
        assert graph.kept.tolist() == kept
        assert list(map(tuple, graph.edges.tolist())) == joined
        points, edges = points[graph.kept], graph.edges


@settings(deadline=None)
@given(meshes())
def test_promises_of_pooling(mesh: tuple[np.ndarray, np.ndarray]) -> None:
    points, edges = mesh
    (graph,) = coarsen(points, edges, 1)
    neighbours = neighbours_of(edges, len(points))
    kept = set(graph.kept.tolist())
    assert all(neighbours[node] & kept for node in set(range(len(points))) - kept)

    # Components stay whole, and stay apart.
    coarse = components_of(neighbours_of(graph.edges, len(graph.kept)))
    fine = components_of(neighbours)
    assert sorted(graph.kept[component].tolist() for component in coarse) == sorted(
        [node for node in component if node in kept] for component in fine
    )
    for component in fine:
        assert len(kept & set(component)) <= max(1, len(component) // 2)


def test_neighbours_of_a_bipartite_mesh_are_never_both_kept() -> None:
    points, edges = block(5, 4, 6)
    (graph,) = coarsen(points, edges, 1)
    assert not np.isin(edges, graph.kept).all(axis=1).any()
    # A checkerboard: all that remain have the same colour.
    assert len(set((points[graph.kept].sum(axis=1) % 2).tolist())) == 1


def test_ends_with_one_node_a_component() -> None:
    points, edges = block(3, 3, 3)
    two_points = np.concatenate([points, points + 100, [[7.0, 7, 7]]])
    two_edges = np.concatenate([edges, edges + len(points)])
    last = coarsen(two_points, two_edges, 8)[-1]
    assert len(last.kept) == 3
    assert len(last.edges) == 0


def test_gives_the_same_for_any_integers_and_any_order_of_edges() -> None:
    points, edges = block(4, 5, 6)
    shuffled = np.random.default_rng(0).permutation(edges)[:, ::-1].astype(np.int64)
    for graph, again in zip(coarsen(points, edges, 3), coarsen(points, shuffled, 3), strict=True):
        assert_equal(graph, again)


def assert_equal(one: CoarseGraph, other: CoarseGraph) -> None:
    np.testing.assert_array_equal(one.kept, other.kept)
    np.testing.assert_array_equal(one.edges, other.edges)


@pytest.mark.parametrize(
    ("points", "edges", "message"),
    [
        (np.zeros((4, 2)), np.zeros((1, 2), dtype=int), r"points must be finite and \(n, 3\), not \(4, 2\)"),
        (np.full((4, 3), np.nan), np.zeros((1, 2), dtype=int), "points must be finite"),
        (np.zeros((4, 3)), np.zeros((1, 2)), "edges must be integers"),
        (np.zeros((4, 3)), np.zeros((2, 1), dtype=int), r"edges must be integers and \(m, 2\), not \(2, 1\)"),
        (np.zeros((4, 3)), np.array([[0, 4]]), "edges name nodes 0 to 4; there are 4"),
        (np.zeros((4, 3)), np.array([[-1, 2]]), "edges name nodes -1 to 2"),
    ],
)
def test_rejects(points: np.ndarray, edges: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coarsen(points, edges, 1)
