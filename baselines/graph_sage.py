"""GraphSAGE for fields: node features averaged over mesh neighbours, between two MLPs on single nodes.

Shape suffixes: B cases, N nodes of the largest case, R nodes of all cases with their padding, L latent
channels, W channels of convolutions, and as in `baselines.convention`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from baselines.checks import check_sizes
from baselines.convention import check_batch, check_edges, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.convention import MeshEdges


@dataclass(frozen=True)
class GraphSAGEConfig:
    """Size of a GraphSAGE; the defaults are those of the AirfRANS benchmark.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of the convolutions, and of the hidden layers of encoder and decoder.
    latent_channels : int
        Width between encoder and convolutions, and between these and decoder.
    num_layers : int
        Convolutions that are followed by a nonlinearity; there is one more.

    Raises
    ------
    ValueError
        If one is not a positive integer.
    """

    in_channels: int
    out_channels: int
    channels: int = 64
    latent_channels: int = 8
    num_layers: int = 3

    def __post_init__(self) -> None:
        check_sizes(self, *(field.name for field in fields(self)))


class GraphSAGE(nn.Module):
    """GraphSAGE with mean aggregation as a regressor that follows `baselines.convention.GraphModel`.

    Laid out as in the AirfRANS benchmark, with LayerNorm in the place of its batch normalisation, whose
    statistics would mix the cases of a batch.  A node takes the mean over all its neighbours, which in
    a mesh are few, and not over a sample of them.  Features of edges are not looked at.

    Parameters
    ----------
    config : GraphSAGEConfig
        Size of the model.

    References
    ----------
    Hamilton et al., "Inductive Representation Learning on Large Graphs", NeurIPS 2017, arXiv 1706.02216,
    algorithm 1; Bonnet et al., "AirfRANS: High Fidelity Computational Fluid Dynamics Dataset for
    Approximating Reynolds-Averaged Navier-Stokes Solutions", NeurIPS 2022, arXiv 2212.07564, appendix.
    """

    def __init__(self, config: GraphSAGEConfig) -> None:
        # Takes two seconds, for which other models need not wait.
        from torch_geometric.nn import SAGEConv

        super().__init__()
        self.config = config
        latent, hidden = config.latent_channels, [config.channels] * config.num_layers
        self.encoder = _mlp(config.in_channels, config.channels, latent)
        self.convolutions = nn.ModuleList(SAGEConv(*widths) for widths in pairwise([latent, *hidden]))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in hidden)
        self.last_convolution = SAGEConv(config.channels, latent)
        self.decoder = _mlp(latent, config.channels, config.out_channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.GraphModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        check_edges(edges, x_BNC, mask_BN)
        h_RW = self.encoder(zero_padding(x_BNC, mask_BN)).flatten(0, 1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h_RW = norm(convolution(h_RW, edges.endpoints)).relu()
        h_RL = self.last_convolution(h_RW, edges.endpoints)
        return zero_padding(self.decoder(h_RL).unflatten(0, x_BNC.shape[:2]), mask_BN)


def _mlp(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """MLP with two hidden layers."""
    return nn.Sequential(
        nn.Linear(in_channels, channels),
        nn.ReLU(),
        nn.Linear(channels, channels),
        nn.ReLU(),
        nn.Linear(channels, out_channels),
    )


ENTRY = ModelEntry(
    name="graph_sage",
    config_type=GraphSAGEConfig,
    build=GraphSAGE,
    published_parameters=None,
    citation=(
        "Hamilton, Ying, Leskovec: Inductive Representation Learning on Large Graphs. NeurIPS 2017. "
        "arXiv 1706.02216"
    ),
    licence="MIT, github.com/williamleif/GraphSAGE",
    takes="edges",
)
