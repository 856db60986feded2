import pytest
import torch
from torch import Tensor
from torch.nn.functional import elu
from torch.testing import assert_close

from baselines.convention import EDGE_FEATURES, MeshEdges
from baselines.graph_unet import GraphUNet, GraphUNetConfig


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 0}, "channels must be a positive integer, not 0"),
        ({"pool_ratios": ()}, r"pool_ratios must be numbers above 0 and at most 1, not \(\)"),
        ({"pool_ratios": (0.5, 0)}, r"pool_ratios must be numbers above 0 and at most 1, not \(0.5, 0\)"),
        ({"pool_ratios": (1.5,)}, "pool_ratios"),
        ({"pool_ratios": (float("nan"),)}, "pool_ratios"),
    ],
)
def test_rejects_options(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraphUNetConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def grid(side: int) -> Tensor:
    """Both directions of the edges of a square grid of nodes."""
    node = torch.arange(side * side).view(side, side)
    across, along = (node[:, :-1], node[:, 1:]), (node[:-1], node[1:])
    there = torch.cat([torch.stack([a.flatten(), b.flatten()]) for a, b in (across, along)], dim=1)
    return torch.cat([there, there.flip(0)], dim=1)


def convolve(layer: torch.nn.Module, h: Tensor, adjacency: Tensor) -> Tensor:
    weighted = adjacency + 2 * torch.eye(len(adjacency), dtype=h.dtype)
    scale = torch.diag(weighted.sum(dim=1).rsqrt())
    return scale @ weighted @ scale @ h @ layer.linear.weight.T + layer.bias


def test_agrees_with_dense_matrices() -> None:
    """The network as in the paper, sections 3.1 to 3.5, on one case."""
    torch.manual_seed(0)
    model = GraphUNet(GraphUNetConfig(3, 2, channels=12, pool_ratios=(0.6, 0.5))).double()
    endpoints = grid(5)
    x_1NC = torch.randn(1, 25, 3, dtype=torch.float64)
    adjacency = torch.zeros(25, 25, dtype=torch.float64)
    adjacency[endpoints[1], endpoints[0]] = 1

    encoded = model.encoder(x_1NC[0])
    h, levels = elu(convolve(model.first, encoded, adjacency)), []
    for pool, down, kept_nodes in zip(model.pools, model.down, (15, 8), strict=True):
        y = h @ pool.direction / pool.direction.norm()
        kept = y.topk(kept_nodes).indices
        levels.append((h, adjacency, kept))
        power = torch.linalg.matrix_power(adjacency + torch.eye(len(h), dtype=h.dtype), 2)
        adjacency = (power > 0).double().fill_diagonal_(0)[kept][:, kept]
        h = elu(convolve(down, h[kept] * y[kept, None].sigmoid(), adjacency))
    for up, (skipped, adjacency, kept) in zip(model.up, reversed(levels), strict=True):
        unpooled = torch.zeros_like(skipped)
        unpooled[kept] = h
        h = elu(convolve(up, unpooled, adjacency)) + skipped
    expected = model.decoder(h + encoded)

    features = torch.zeros(endpoints.shape[1], EDGE_FEATURES, dtype=torch.float64)
    assert_close(model(x_1NC, edges=MeshEdges(endpoints, features))[0], expected)


def test_far_nodes_are_seen_through_pooled_levels() -> None:
    """Three levels of edges in a row of nodes: farther than the seven convolutions reach on the mesh."""
    torch.manual_seed(0)
    nodes = 40
    there = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    endpoints = torch.cat([there, there.flip(0)], dim=1)
    model = GraphUNet(GraphUNetConfig(3, 1, channels=16, pool_ratios=(1.0, 1.0, 1.0))).double()
    x_1NC = torch.randn(1, nodes, 3, dtype=torch.float64, requires_grad=True)
    features = torch.zeros(endpoints.shape[1], EDGE_FEATURES, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(model(x_1NC, edges=MeshEdges(endpoints, features))[0, 0, 0], x_1NC)
    reach = (gradient[0] != 0).any(dim=1).nonzero().max().item()
    # First 1, down 2 + 4 + 8, up 4 + 2 + 1.
    assert reach == 22
