"""Graph attention network: each node attends to its mesh neighbours and to itself.

Shape suffixes: B cases, N nodes of the largest case, R nodes of all cases with their padding, W channels, and
as in `baselines.convention`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import elu

from baselines.checks import check_sizes
from baselines.convention import EDGE_FEATURES, MeshEdges, check_batch, check_edges, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GATConfig:
    """Size of a graph attention network.

    The defaults are those of the paper's inductive task but for the width, which there is 1024: on a mesh
    of 50 000 nodes and 250 000 directed edges, training would keep 4 GB a layer.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of all heads together.
    num_heads : int
        Attention heads per layer.
    num_layers : int
        Attention layers, the last of which averages its heads.

    Raises
    ------
    ValueError
        If one is not a positive integer, or `num_heads` does not divide `channels`.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_heads: int = 4
    num_layers: int = 3

    def __post_init__(self) -> None:
        check_sizes(self, *(field.name for field in fields(self)))
        if self.channels % self.num_heads:
            raise ValueError(f"num_heads={self.num_heads} must divide channels={self.channels}")


class GAT(nn.Module):
    """Graph attention network as a regressor that follows `baselines.convention.GraphModel`.

    With the attention of GATv2, whose scores see the features of the edge as well, and a learned skip
    connection around every layer.  The paper's dropout is left out.

    Parameters
    ----------
    config : GATConfig
        Size of the model.

    References
    ----------
    Velickovic et al., "Graph Attention Networks", ICLR 2018, arXiv 1710.10903; Brody et al., "How Attentive
    are Graph Attention Networks?", ICLR 2022, arXiv 2105.14491, equation 7.
    """

    def __init__(self, config: GATConfig) -> None:
        # Takes two seconds, for which other models need not wait.
        from torch_geometric.nn import GATv2Conv

        super().__init__()
        self.config = config
        hidden = [config.channels] * (config.num_layers - 1)
        # Loops are added here once for all layers, and without waiting for an accelerator.
        common = {
            "heads": config.num_heads,
            "edge_dim": EDGE_FEATURES,
            "residual": True,
            "add_self_loops": False,
        }
        self.layers = nn.ModuleList(
            GATv2Conv(n_in, n_out // config.num_heads, **common)
            for n_in, n_out in pairwise([config.in_channels, *hidden])
        )
        last_in = [config.in_channels, *hidden][-1]
        self.last_layer = GATv2Conv(last_in, config.out_channels, concat=False, **common)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.GraphModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        check_edges(edges, x_BNC, mask_BN)
        h_RW = zero_padding(x_BNC, mask_BN).flatten(0, 1)
        endpoints, features = _with_loops(edges, len(h_RW))
        for layer in self.layers:
            h_RW = elu(layer(h_RW, endpoints, features))
        y_RO = self.last_layer(h_RW, endpoints, features)
        return zero_padding(y_RO.unflatten(0, x_BNC.shape[:2]), mask_BN)


def _with_loops(edges: MeshEdges, nodes: int) -> MeshEdges:
    """Add an edge from each node to itself, whose relative position and length are zero."""
    loops = torch.arange(nodes, device=edges.endpoints.device).expand(2, -1)
    return MeshEdges(
        torch.cat([edges.endpoints, loops], dim=1),
        torch.cat([edges.features, edges.features.new_zeros(nodes, EDGE_FEATURES)]),
    )


ENTRY = ModelEntry(
    name="gat",
    config_type=GATConfig,
    build=GAT,
    published_parameters=None,
    citation=(
        "Brody, Alon, Yahav: How Attentive are Graph Attention Networks? ICLR 2022. arXiv 2105.14491; after "
        "Velickovic et al.: Graph Attention Networks. ICLR 2018. arXiv 1710.10903"
    ),
    licence="MIT, github.com/pyg-team/pytorch_geometric, whose layer by these authors is used",
    takes="edges",
)
