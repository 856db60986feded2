import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from baselines.convention import EDGE_FEATURES, MeshEdges
from baselines.meshgraphnet import MeshGraphNet, MeshGraphNetConfig, MessagePassingLayer


def random_batch(nodes: int, edges: int) -> tuple[Tensor, MeshEdges]:
    endpoints = torch.randint(nodes, (2, edges))
    features = torch.randn(edges, EDGE_FEATURES, dtype=torch.float64)
    return torch.randn(1, nodes, 3, dtype=torch.float64), MeshEdges(endpoints, features)


def small_model(**options: bool) -> MeshGraphNet:
    torch.manual_seed(0)
    return MeshGraphNet(MeshGraphNetConfig(3, 2, channels=12, num_layers=2, **options)).double()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"in_channels": 0}, "in_channels must be a positive integer, not 0"),
        ({"channels": 2.0}, "channels must be a positive integer, not 2.0"),
        ({"num_layers": True}, "num_layers must be a positive integer, not True"),
        ({"recompute": 1}, "recompute must be true or false, not 1"),
    ],
)
def test_rejects_options(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeshGraphNetConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def test_default_size_is_that_of_the_paper() -> None:
    """15 layers, 128 channels, two hidden layers in each MLP (appendix A.1)."""
    width = 128

    def mlp(n_in: int, n_out: int, norm: int = 2 * width) -> int:
        return (n_in + 1) * width + (width + 1) * width + (width + 1) * n_out + norm

    parameters = mlp(3, width) + mlp(EDGE_FEATURES, width) + mlp(width, 1, norm=0)
    parameters += 15 * (mlp(3 * width, width) + mlp(2 * width, width))
    model = MeshGraphNet(MeshGraphNetConfig(in_channels=3, out_channels=1))
    assert sum(p.numel() for p in model.parameters()) == parameters == 2_331_905


def test_agrees_with_plain_concatenation() -> None:
    """The network as in the paper: edge by edge, on concatenated features."""
    model = small_model()
    x_1NC, edges = random_batch(9, 30)
    h, e = list(model.node_encoder(x_1NC[0])), list(model.edge_encoder(edges.features))
    ends = edges.endpoints.T.tolist()
    for layer in model.layers:
        assert isinstance(layer, MessagePassingLayer)
        edge_mlp, node_mlp = (
            _joined(layer.edge_input, layer.edge_tail),
            _joined(layer.node_input, layer.node_tail),
        )
        messages = [edge_mlp(torch.cat([e[i], h[s], h[r]])) for i, (s, r) in enumerate(ends)]
        received = [torch.zeros(12, dtype=torch.float64) for _ in h]
        for (_, r), message in zip(ends, messages, strict=True):
            received[r] = received[r] + message
        h = [h_n + node_mlp(torch.cat([h_n, r_n])) for h_n, r_n in zip(h, received, strict=True)]
        e = [e_i + m_i for e_i, m_i in zip(e, messages, strict=True)]
    expected = torch.stack([model.decoder(h_n) for h_n in h])
    assert_close(model(x_1NC, edges=edges)[0], expected)


def _joined(first: nn.Linear, tail: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(first, *tail)


def test_recomputing_changes_nothing() -> None:
    x_1NC, edges = random_batch(9, 30)
    kept, recomputed = small_model(), small_model(recompute=True)
    results = []
    for model in (kept, recomputed):
        y_1NO = model(x_1NC, edges=edges)
        results.append((y_1NO, *torch.autograd.grad(y_1NO.square().sum(), list(model.parameters()))))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_keeps_four_numbers_per_edge_and_channel() -> None:
    """What one layer keeps for its backward pass, besides its input and its weights."""
    nodes, edges, channels = 50, 400, 16
    layer = MessagePassingLayer(channels)
    h_NC, e_EC = torch.randn(nodes, channels), torch.randn(edges, channels)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.shape in ((nodes, channels), (edges, channels)):
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        results = layer(h_NC, e_EC, torch.randint(nodes, (2, edges)))
    assert len(results) == 2
    assert sum(kept.values()) == (4 * edges + 5 * nodes) * channels
