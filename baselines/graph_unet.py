"""Graph U-Net: graph convolutions on ever fewer nodes of the mesh, and back.

Shape suffixes: B cases, N nodes of the largest case, T nodes of all cases without padding, K nodes
of these that pooling keeps, E directed edges, W channels, and as in `baselines.convention`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import elu

from baselines.checks import check_sizes
from baselines.convention import check_batch, check_edges
from baselines.entry import ModelEntry
from baselines.graph_levels import at_least_float32, top_share, two_hops, with_loops
from baselines.messages import sum_received
from baselines.packing import PackedNodes

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.convention import MeshEdges
    from baselines.graph_levels import WeightedGraph


@dataclass(frozen=True)
class GraphUNetConfig:
    """Size of a Graph U-Net.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of all convolutions.
    pool_ratios : tuple of float
        Share of the nodes that each pooling keeps.

    Raises
    ------
    ValueError
        If a size is not a positive integer, there is no ratio, or one is not above 0 and at most 1.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    pool_ratios: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels")
        ratios = self.pool_ratios
        if not ratios or any(type(ratio) not in (int, float) or not 0 < ratio <= 1 for ratio in ratios):
            raise ValueError(f"pool_ratios must be numbers above 0 and at most 1, not {ratios!r}")


class GraphUNet(nn.Module):
    """Graph U-Net as a regressor that follows `baselines.convention.GraphModel`.

    Each case keeps its own share of nodes.  Features of edges are not looked at, and dropout is left out.
    An accelerator is waited for in each pooling.

    The paper's networks begin and end with a graph convolution.  These blur, and a mesh whose nodes differ by
    position alone is not told apart through them, so MLPs on single nodes are put around, with a skip
    connection between them: as for Graph U-Nets in the AirfRANS benchmark (arXiv 2212.07564).

    Width, depth and ELU are those of the published code for graphs of some hundred nodes, of which that
    keeps 90, 80 and 70 %.  On a mesh of 50 000 this would leave too many two-hop neighbours of two-hop
    neighbours; half is kept here, and a training step needs 4 GB.

    Parameters
    ----------
    config : GraphUNetConfig
        Size of the model.

    References
    ----------
    Gao and Ji, "Graph U-Nets", ICML 2019, arXiv 1905.05178, sections 3.1 to 3.5.
    """

    def __init__(self, config: GraphUNetConfig) -> None:
        super().__init__()
        self.config = config
        width, depth = config.channels, len(config.pool_ratios)
        self.encoder = _mlp(config.in_channels, width, width)
        self.first = GraphConvolution(width)
        self.pools = nn.ModuleList(TopKPooling(width, ratio) for ratio in config.pool_ratios)
        self.down = nn.ModuleList(GraphConvolution(width) for _ in range(depth))
        self.up = nn.ModuleList(GraphConvolution(width) for _ in range(depth))
        self.decoder = _mlp(width, width, config.out_channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.GraphModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        check_edges(edges, x_BNC, mask_BN)
        packed = PackedNodes.of(x_BNC, mask_BN)
        graph = with_loops(packed.renumber(edges.endpoints), packed.cases, at_least_float32(x_BNC.dtype))
        encoded_TW = self.encoder(packed.pack(x_BNC))
        h_TW = elu(self.first(encoded_TW, graph))

        levels = []
        for pool, down in zip(self.pools, self.down, strict=True):
            pooled_KW, kept_K = pool(h_TW, graph.cases)
            levels.append((h_TW, graph, kept_K))
            graph = two_hops(graph, kept_K)
            h_TW = elu(down(pooled_KW, graph))
        for up, (skipped_TW, graph, kept_K) in zip(self.up, reversed(levels), strict=True):
            unpooled_TW = torch.zeros_like(skipped_TW).index_copy(0, kept_K, h_TW)
            h_TW = elu(up(unpooled_TW, graph)) + skipped_TW
        return packed.unpack(self.decoder(h_TW + encoded_TW))


class GraphConvolution(nn.Module):
    """Linear layer, and weighted sum over neighbours (GCN).

    Parameters
    ----------
    channels : int
        Width of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, h_TW: Tensor, graph: WeightedGraph) -> Tensor:
        """Map (T, W) to (T, W)."""
        senders, receivers = graph.endpoints
        u_TW: Tensor = self.linear(h_TW)
        message_EW = u_TW.index_select(0, senders) * graph.weights[:, None]
        return (sum_received(message_EW, receivers, len(h_TW)) + self.bias).to(u_TW.dtype)


class TopKPooling(nn.Module):
    """Keeps the nodes of each case that lie farthest along a learned direction (gPool).

    Parameters
    ----------
    channels : int
        Width of the features.
    ratio : float
        Share of its nodes that a case keeps.
    """

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.direction = nn.Parameter(nn.init.normal_(torch.empty(channels)))

    def forward(self, h_TW: Tensor, cases_T: Tensor) -> tuple[Tensor, Tensor]:
        """Choose nodes and gate their features, so that the direction can be learned.

        Parameters
        ----------
        h_TW : Tensor, (T, W)
            Features.
        cases_T : Tensor, (T,) int64
            As of `top_share`.

        Returns
        -------
        Tensor, (K, W) and Tensor, (K,) int64
            Features of the kept nodes, and their numbers, ascending.
        """
        dtype = at_least_float32(h_TW.dtype)
        direction_W = self.direction.to(dtype)
        # Not a matrix product, which automatic mixed precision would round.
        score_T = (h_TW.to(dtype) * (direction_W / direction_W.norm())).sum(dim=1)
        kept_K = top_share(score_T, cases_T, self.ratio)
        gate_K1 = score_T.index_select(0, kept_K)[:, None].sigmoid()
        return h_TW.index_select(0, kept_K) * gate_K1.to(h_TW.dtype), kept_K


def _mlp(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """MLP with one hidden layer."""
    return nn.Sequential(nn.Linear(in_channels, channels), nn.ELU(), nn.Linear(channels, out_channels))


ENTRY = ModelEntry(
    name="graph_unet",
    config_type=GraphUNetConfig,
    build=GraphUNet,
    published_parameters=None,
    citation="Gao, Ji: Graph U-Nets. ICML 2019. arXiv 1905.05178",
    licence="MIT, github.com/HongyangGao/Graph-U-Nets",
    takes="edges",
)
