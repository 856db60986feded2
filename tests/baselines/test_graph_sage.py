import pytest
import torch
from torch.testing import assert_close

from baselines.convention import EDGE_FEATURES, MeshEdges
from baselines.graph_sage import GraphSAGE, GraphSAGEConfig


@pytest.mark.parametrize("wrong", [{"out_channels": 0}, {"channels": "8"}, {"latent_channels": -1}])
def test_rejects_sizes(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be a positive integer, not {wrong[name]!r}"):
        GraphSAGEConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def test_default_widths_are_those_of_the_benchmark() -> None:
    model = GraphSAGE(GraphSAGEConfig(in_channels=7, out_channels=4))
    encoder, decoder = ([layer.out_features for layer in mlp[::2]] for mlp in (model.encoder, model.decoder))
    convolutions = [*model.convolutions, model.last_convolution]
    assert encoder == [64, 64, 8]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(8, 64), (64, 64), (64, 64), (64, 8)]
    assert decoder == [64, 64, 4]


def test_agrees_with_means_node_by_node() -> None:
    torch.manual_seed(0)
    model = GraphSAGE(GraphSAGEConfig(3, 2, channels=12, latent_channels=5, num_layers=2)).double()
    endpoints = torch.randint(9, (2, 25))
    endpoints = endpoints[:, endpoints[1] != 4]
    x_1NC = torch.randn(1, 9, 3, dtype=torch.float64)
    ends = endpoints.T.tolist()

    def convolve(convolution: torch.nn.Module, h: list[torch.Tensor]) -> list[torch.Tensor]:
        rows = []
        for node in range(9):
            senders = [h[s] for s, r in ends if r == node]
            mean = torch.stack(senders).mean(dim=0) if senders else torch.zeros_like(h[0])
            rows.append(
                convolution.lin_l.weight @ mean + convolution.lin_l.bias + convolution.lin_r.weight @ h[node]
            )
        return rows

    h = list(model.encoder(x_1NC[0]))
    for convolution, norm in zip(model.convolutions, model.norms, strict=True):
        h = [norm(row).relu() for row in convolve(convolution, h)]
    expected = model.decoder(torch.stack(convolve(model.last_convolution, h)))
    features = torch.randn(endpoints.shape[1], EDGE_FEATURES, dtype=torch.float64)
    assert_close(model(x_1NC, edges=MeshEdges(endpoints, features))[0], expected)
