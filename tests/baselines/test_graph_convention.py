"""What `baselines.convention.GraphModel` promises, held to by every baseline that takes mesh edges."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from baselines.convention import EDGE_FEATURES, MeshEdges, check_edges
from baselines.gat import GATConfig
from baselines.graph_sage import GraphSAGEConfig
from baselines.graph_unet import GraphUNetConfig
from baselines.meshgraphnet import MeshGraphNetConfig
from baselines.registry import BASELINES

IN_CHANNELS, OUT_CHANNELS = 3, 2
SMALL_CONFIGS = {
    "gat": GATConfig(IN_CHANNELS, OUT_CHANNELS, channels=16, num_heads=2, num_layers=3),
    "graph_unet": GraphUNetConfig(IN_CHANNELS, OUT_CHANNELS, channels=32, pool_ratios=(0.6, 0.5)),
    "graph_sage": GraphSAGEConfig(IN_CHANNELS, OUT_CHANNELS, channels=32),
    "meshgraphnet": MeshGraphNetConfig(IN_CHANNELS, OUT_CHANNELS, channels=16, num_layers=3),
}
GRAPH_MODELS = [name for name, entry in BASELINES.items() if entry.takes == "edges"]


@pytest.fixture(params=GRAPH_MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return make_model(request.param)


def make_model(name: str) -> nn.Module:
    """Build a model in float64 whose weights are large enough for every part to matter."""
    torch.manual_seed(0)
    model = BASELINES[name].build(SMALL_CONFIGS[name]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


class Graph(NamedTuple):
    """One case: nodes (n, C), and edges that number these from 0."""

    x: Tensor
    edges: MeshEdges


def random_graph(nodes: int) -> Graph:
    """Nodes in a row, each joined to the next and about as many more at random, both ways."""
    there = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    more = torch.randint(nodes, (2, nodes))
    there = torch.cat([there, more[:, more[0] < more[1]]], dim=1).unique(dim=1)
    endpoints = torch.cat([there, there.flip(0)], dim=1)
    x = torch.randn(nodes, IN_CHANNELS, dtype=torch.float64)
    return Graph(x, MeshEdges(endpoints, torch.randn(endpoints.shape[1], EDGE_FEATURES, dtype=torch.float64)))


def pad(
    graphs: list[Graph], places: list[Tensor], nodes: int, filling: float
) -> tuple[Tensor, Tensor, MeshEdges]:
    """Put each case on its places of a (B, nodes, C) batch; what remains holds `filling`."""
    x_BNC = torch.full((len(graphs), nodes, IN_CHANNELS), filling, dtype=torch.float64)
    mask_BN = torch.zeros(len(graphs), nodes, dtype=torch.bool)
    endpoints = []
    for b, (graph, place) in enumerate(zip(graphs, places, strict=True)):
        x_BNC[b, place] = graph.x
        mask_BN[b, place] = True
        endpoints.append(b * nodes + place[graph.edges.endpoints])
    features = torch.cat([graph.edges.features for graph in graphs])
    return x_BNC, mask_BN, MeshEdges(torch.cat(endpoints, dim=1), features)


def batch(*node_counts: int) -> tuple[Tensor, Tensor, MeshEdges]:
    graphs = [random_graph(n) for n in node_counts]
    return pad(graphs, [torch.arange(n) for n in node_counts], max(node_counts), filling=0.0)


def convert(edges: MeshEdges, to: torch.dtype | str) -> MeshEdges:
    return MeshEdges(
        edges.endpoints if isinstance(to, torch.dtype) else edges.endpoints.to(to), edges.features.to(to)
    )


def no_edges(dtype: torch.dtype = torch.float64) -> MeshEdges:
    return MeshEdges(torch.empty(2, 0, dtype=torch.int64), torch.empty(0, EDGE_FEATURES, dtype=dtype))


def parameter_gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True))


@pytest.mark.parametrize("name", GRAPH_MODELS)
@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=4), extra=st.integers(0, 5))
def test_padded_case_gets_what_it_gets_alone(name: str, counts: list[int], extra: int) -> None:
    model = make_model(name)
    nodes = max(counts) + extra
    graphs, places = [random_graph(n) for n in counts], [torch.randperm(nodes)[:n] for n in counts]
    x_BNC, mask_BN, edges = pad(graphs, places, nodes, filling=float("nan"))
    y_BNO = model(x_BNC, mask_BN, edges=edges)
    alone = [model(graph.x[None], edges=graph.edges)[0] for graph in graphs]

    for padded, place, expected in zip(y_BNO, places, alone, strict=True):
        assert_close(padded[place], expected, rtol=1e-10, atol=1e-10)
    assert y_BNO.abs().sum(dim=-1).count_nonzero() <= sum(counts)
    got = parameter_gradients(model, y_BNO.square().sum())
    expected_gradients = parameter_gradients(model, sum(y.square().sum() for y in alone))  # type: ignore[arg-type]
    for g, e in zip(got, expected_gradients, strict=True):
        assert_close(g, e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("filling", [float("nan"), float("inf"), -1e300, 1.0])
def test_padding_reaches_neither_outputs_nor_gradients(model: nn.Module, filling: float) -> None:
    torch.manual_seed(1)
    graphs, places = [random_graph(7), random_graph(4)], [torch.arange(7), torch.arange(2, 6)]

    def run(value: float) -> tuple[Tensor, Tensor, list[Tensor]]:
        x_BNC, mask_BN, edges = pad(graphs, places, 9, value)
        x_BNC.requires_grad_()
        y_BNO = model(x_BNC, mask_BN, edges=edges)
        assert (y_BNO[~mask_BN] == 0).all()
        # A loss that looks at padded outputs as well.
        gradient_x, *gradients = torch.autograd.grad((y_BNO - 1).square().sum(), [x_BNC, *model.parameters()])
        assert (gradient_x[~mask_BN] == 0).all()
        return y_BNO, gradient_x, gradients

    y, gradient_x, gradients = run(filling)
    clean_y, clean_gradient_x, clean_gradients = run(0.0)
    assert torch.equal(y, clean_y)
    assert torch.equal(gradient_x, clean_gradient_x)
    assert all(torch.equal(g, c) for g, c in zip(gradients, clean_gradients, strict=True))


@pytest.mark.parametrize("counts", [(8, 8, 8), (8, 5, 3)])
def test_batch_mates_are_strangers(model: nn.Module, counts: tuple[int, ...]) -> None:
    x_BNC, mask_BN, edges = batch(*counts)
    x_BNC.requires_grad_()
    y_BNO = model(x_BNC, mask_BN if len(set(counts)) > 1 else None, edges=edges)
    (gradient,) = torch.autograd.grad(y_BNO[1].square().sum(), x_BNC)
    assert (gradient[[0, 2]] == 0).all()
    assert (gradient[1] != 0).any()


def test_equivariant_to_the_order_of_nodes(model: nn.Module) -> None:
    x_BNC, mask_BN, edges = batch(11, 6)
    order = torch.randperm(11)
    place = order.argsort()
    case, node = edges.endpoints // 11, edges.endpoints % 11
    moved = MeshEdges(case * 11 + place[node], edges.features)
    y_BNO = model(x_BNC, mask_BN, edges=edges)
    assert_close(
        model(x_BNC[:, order], mask_BN[:, order], edges=moved), y_BNO[:, order], rtol=1e-10, atol=1e-10
    )


def test_indifferent_to_the_order_of_edges(model: nn.Module) -> None:
    x_BNC, mask_BN, edges = batch(11, 6)
    order = torch.randperm(len(edges.features))
    shuffled = MeshEdges(edges.endpoints[:, order], edges.features[order])
    assert_close(
        model(x_BNC, mask_BN, edges=shuffled), model(x_BNC, mask_BN, edges=edges), rtol=1e-10, atol=1e-10
    )


def test_neighbours_see_each_other(model: nn.Module) -> None:
    x_BNC, _, edges = batch(12)
    x_BNC.requires_grad_()

    def seen_by_first_node(edges: MeshEdges) -> Tensor:
        (gradient,) = torch.autograd.grad(model(x_BNC, edges=edges)[0, 0].square().sum(), x_BNC)
        return (gradient[0] != 0).any(dim=-1)

    assert seen_by_first_node(edges)[:2].all()
    assert seen_by_first_node(no_edges()).nonzero().flatten().tolist() == [0]


def test_every_parameter_learns(model: nn.Module) -> None:
    x_BNC, _, edges = batch(20, 20)
    y_BNO = model(x_BNC, edges=edges)
    for (name, _), gradient in zip(
        model.named_parameters(), parameter_gradients(model, y_BNO.square().sum()), strict=True
    ):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_nodes_without_edges_get_a_field(model: nn.Module) -> None:
    """No edges at all, and a node that has none: as if each were a case of its own."""
    x_BNC = torch.randn(2, 5, IN_CHANNELS, dtype=torch.float64)
    y_BNO = model(x_BNC, edges=no_edges())
    assert y_BNO.isfinite().all()
    assert all(g.isfinite().all() for g in parameter_gradients(model, y_BNO.square().sum()))
    single = model(x_BNC[:1, :1], edges=no_edges())
    assert single.shape == (1, 1, OUT_CHANNELS)


@pytest.mark.parametrize("name", [name for name in GRAPH_MODELS if name != "graph_unet"])
def test_reads_no_value_back(name: str) -> None:
    """Tensors without data pass, so an accelerator is never waited for; pooling has to wait for its sizes."""
    x_BNC, mask_BN, edges = batch(10, 7)
    model = make_model(name).to("meta")
    y_BNO = model(x_BNC.to("meta"), mask_BN.to("meta"), edges=convert(edges, "meta"))
    y_BNO.sum().backward()
    assert y_BNO.shape == (2, 10, OUT_CHANNELS)


def test_keeps_the_dtype(model: nn.Module) -> None:
    x_BNC, mask_BN, edges = batch(9, 4)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        y_BNO = model.to(dtype)(x_BNC.to(dtype), mask_BN, edges=convert(edges, dtype))
        assert y_BNO.dtype == dtype
        assert y_BNO.isfinite().all()


@pytest.mark.parametrize("name", GRAPH_MODELS)
def test_mixed_precision_stays_near(name: str) -> None:
    """In bfloat16, that is to two or three digits; with all nodes kept, as rounding may change which are."""
    torch.manual_seed(0)
    config = SMALL_CONFIGS[name]
    if isinstance(config, GraphUNetConfig):
        config = GraphUNetConfig(IN_CHANNELS, OUT_CHANNELS, channels=32, pool_ratios=(1.0, 1.0))
    model = BASELINES[name].build(config)
    x_BNC, mask_BN, edges = batch(30, 20)
    x_BNC, edges = x_BNC.float(), convert(edges, torch.float32)
    expected = model(x_BNC, mask_BN, edges=edges)
    with torch.autocast("cpu", torch.bfloat16):
        y_BNO = model(x_BNC, mask_BN, edges=edges)
    assert all(g.isfinite().all() for g in parameter_gradients(model, y_BNO.float().square().sum()))
    assert torch.linalg.norm(y_BNO - expected) < 0.03 * torch.linalg.norm(expected)


X = torch.zeros(2, 5, IN_CHANNELS, dtype=torch.float64)
REAL = torch.arange(5) < torch.tensor([[5], [3]])
ENDPOINTS = torch.tensor([[0, 1, 5], [1, 0, 6]])
FEATURES = torch.zeros(3, EDGE_FEATURES, dtype=torch.float64)


def test_accepts_what_fits() -> None:
    check_edges(MeshEdges(ENDPOINTS, FEATURES), X, REAL)
    check_edges(MeshEdges(ENDPOINTS, FEATURES), X, None)
    check_edges(no_edges(), X, REAL)


@pytest.mark.parametrize(
    ("endpoints", "features", "message"),
    [
        (ENDPOINTS.T, FEATURES, r"endpoints are \(3, 2\) torch.int64; expected \(2, edges\)"),
        (ENDPOINTS[0], FEATURES, r"endpoints are \(3,\)"),
        (torch.tensor(0), FEATURES, r"endpoints are \(\)"),
        (ENDPOINTS.int(), FEATURES, r"torch.int32; expected \(2, edges\) torch.int64"),
        (ENDPOINTS, FEATURES[:2], r"features have shape \(2, 4\); expected \(3, 4\)"),
        (ENDPOINTS, FEATURES[:, :3], r"features have shape \(3, 3\); expected \(3, 4\)"),
        (ENDPOINTS, FEATURES.float(), "features are torch.float32, input is torch.float64"),
        (ENDPOINTS.to("meta"), FEATURES, "on meta, cpu and cpu"),
        (ENDPOINTS, FEATURES.to("meta"), "on cpu, meta and cpu"),
        (ENDPOINTS - 1, FEATURES, "name nodes -1 to 5; the batch has 10"),
        (ENDPOINTS + 4, FEATURES, "name nodes 4 to 10; the batch has 10"),
        (ENDPOINTS.flip(0) + 4, FEATURES, "name nodes 4 to 10"),
        (ENDPOINTS - torch.tensor([[0, 0, 5], [0, 0, 0]]), FEATURES, "joins two cases"),
        (ENDPOINTS + torch.tensor([0, 0, 2]), FEATURES, "ends at padding"),
    ],
)
def test_rejects_what_does_not_fit(endpoints: Tensor, features: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_edges(MeshEdges(endpoints, features), X, REAL)


def test_models_check_their_input(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="the batch has 10"):
        model(X, REAL, edges=MeshEdges(ENDPOINTS + 5, FEATURES))
    with pytest.raises(ValueError, match="hides every node"):
        model(X, REAL & False, edges=no_edges())
    with pytest.raises(ValueError, match=r"expected \(cases, nodes, 3\)"):
        model(X[..., :2], edges=no_edges())


LEARNING_CONFIGS = {
    "gat": GATConfig(IN_CHANNELS, OUT_CHANNELS, channels=64),
    "graph_unet": GraphUNetConfig(IN_CHANNELS, OUT_CHANNELS, channels=64),
    "graph_sage": SMALL_CONFIGS["graph_sage"],
    "meshgraphnet": MeshGraphNetConfig(IN_CHANNELS, OUT_CHANNELS, channels=32, num_layers=3),
}


def grid(side: int) -> Graph:
    """Nodes of a cube of (side - 1)^3 hexahedra between 0 and 1, float32."""
    node = torch.arange(side**3).view(side, side, side)
    there = [
        torch.stack([node.narrow(d, 0, side - 1), node.narrow(d, 1, side - 1)]).flatten(1) for d in range(3)
    ]
    endpoints = torch.cat([*there, *(pairs.flip(0) for pairs in there)], dim=1)
    x = torch.cartesian_prod(*[torch.linspace(0, 1, side)] * 3)
    way = x[endpoints[1]] - x[endpoints[0]]
    return Graph(x, MeshEdges(endpoints, torch.cat([way, way.norm(dim=1, keepdim=True)], dim=1)))


@pytest.mark.parametrize("name", GRAPH_MODELS)
@pytest.mark.slow
def test_learns_a_small_case_to_within_one_percent(name: str) -> None:
    """A smooth field on 64 nodes, in float32 and from the model's own initial weights."""
    torch.manual_seed(0)
    model = BASELINES[name].build(LEARNING_CONFIGS[name])
    graph = grid(4)
    x, y, z = graph.x.unbind(dim=-1)
    target_NO = torch.stack([z * (1 - z) + 0.3 * x * y, torch.sin(2 * x) - z], dim=-1)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=600)
    for _ in range(600):
        optimiser.zero_grad()
        y_NO = model(graph.x[None], edges=graph.edges)[0]
        error = torch.linalg.norm(y_NO - target_NO) / torch.linalg.norm(target_NO)
        error.backward()
        optimiser.step()
        schedule.step()
    assert error.item() < 0.01
