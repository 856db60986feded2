import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import elu, leaky_relu
from torch.testing import assert_close

from baselines.convention import EDGE_FEATURES, MeshEdges
from baselines.gat import GAT, GATConfig


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"in_channels": 0}, "in_channels must be a positive integer, not 0"),
        ({"num_layers": 1.5}, "num_layers must be a positive integer, not 1.5"),
        ({"channels": 10}, "num_heads=4 must divide channels=10"),
    ],
)
def test_rejects_sizes(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GATConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def attend(layer: nn.Module, h: Tensor, ends: list[list[int]], features: Tensor) -> Tensor:
    """Equation 7 of arXiv 2105.14491 node by node; of heads by channels each, (nodes, heads, D)."""
    heads, width = layer.att.shape[1:]
    source, target = layer.lin_l(h).view(-1, heads, width), layer.lin_r(h).view(-1, heads, width)
    edge = layer.lin_edge(features).view(-1, heads, width)
    rows = []
    for node in range(len(h)):
        incoming = [(i, s) for i, (s, r) in enumerate(ends) if r == node]
        values = torch.stack([source[s] for _, s in incoming] + [source[node]])
        keys = torch.stack([source[s] + edge[i] for i, s in incoming] + [source[node]])
        scores = (leaky_relu(keys + target[node], 0.2) * layer.att).sum(dim=-1)
        rows.append((scores.softmax(dim=0)[..., None] * values).sum(dim=0))
    return torch.stack(rows)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_agrees_with_softmax_node_by_node(num_layers: int) -> None:
    torch.manual_seed(0)
    model = GAT(GATConfig(3, 2, channels=8, num_heads=2, num_layers=num_layers)).double()
    endpoints = torch.randint(9, (2, 25))
    edges = MeshEdges(endpoints, torch.randn(25, EDGE_FEATURES, dtype=torch.float64))
    x_1NC = torch.randn(1, 9, 3, dtype=torch.float64)
    h, ends = x_1NC[0], endpoints.T.tolist()
    for layer in model.layers:
        h = elu(attend(layer, h, ends, edges.features).flatten(1) + layer.res(h) + layer.bias)
    last = model.last_layer
    expected = attend(last, h, ends, edges.features).mean(dim=1) + last.res(h) + last.bias
    assert_close(model(x_1NC, edges=edges)[0], expected)
