import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from baselines.graph_levels import top_share, two_hops, with_loops


@given(
    scores=st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=9), min_size=1, max_size=4),
    ratio=st.sampled_from([0.1, 0.5, 0.7, 1.0]),
)
def test_each_case_keeps_its_best_nodes(scores: list[list[int]], ratio: float) -> None:
    expected, first = [], 0
    for case in scores:
        quota = -int(-len(case) * ratio // 1)
        best = sorted(range(len(case)), key=lambda node: (-case[node], node))[:quota]
        expected += [first + node for node in sorted(best)]
        first += len(case)
    cases_T = torch.repeat_interleave(torch.tensor([len(case) for case in scores]))
    score_T = torch.tensor([float(score) for case in scores for score in case])
    assert top_share(score_T, cases_T, ratio).tolist() == expected


@given(nodes=st.integers(1, 8), edges=st.integers(0, 20), seed=st.integers(0, 99))
def test_two_hops_as_a_dense_power(nodes: int, edges: int, seed: int) -> None:
    """Directions kept, which a mesh does not need."""
    torch.manual_seed(seed)
    endpoints = torch.randint(nodes, (2, edges))
    endpoints = endpoints[:, endpoints[0] != endpoints[1]].unique(dim=1)
    kept_K = torch.rand(nodes).argsort()[: nodes // 2 + 1].sort().values
    graph = two_hops(with_loops(endpoints, torch.zeros(nodes, dtype=torch.int64), torch.float64), kept_K)

    adjacency = torch.eye(nodes)
    adjacency[endpoints[1], endpoints[0]] = 1
    reached = (adjacency @ adjacency > 0).double()[kept_K][:, kept_K].fill_diagonal_(2)
    scale = torch.diag(reached.sum(dim=1).rsqrt())
    weights = torch.zeros_like(reached)
    weights[graph.endpoints[1], graph.endpoints[0]] = graph.weights
    assert_close(weights, scale @ reached @ scale)
    assert len(graph.weights) == reached.count_nonzero()


def test_no_edges_leave_nodes_alone() -> None:
    cases = torch.tensor([0, 0, 1])
    graph = with_loops(torch.empty(2, 0, dtype=torch.int64), cases, torch.float32)
    assert graph.endpoints.tolist() == [[0, 1, 2]] * 2
    assert graph.weights.tolist() == [1, 1, 1]
    smaller = two_hops(graph, torch.tensor([1, 2]))
    assert smaller.endpoints.tolist() == [[0, 1]] * 2
    assert smaller.cases.tolist() == [0, 1]
