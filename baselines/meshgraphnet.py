"""MeshGraphNet: messages along mesh edges, from latent features of nodes and of edges.

Shape suffixes: B cases, N nodes of the largest case, R nodes of all cases with their padding, E directed
edges of all cases, C channels, and as in `baselines.convention`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from baselines.checks import check_sizes
from baselines.convention import EDGE_FEATURES, check_batch, check_edges, zero_padding
from baselines.entry import ModelEntry
from baselines.messages import sum_received

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.convention import MeshEdges


@dataclass(frozen=True)
class MeshGraphNetConfig:
    """Size of a MeshGraphNet; the defaults are those of the paper.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of all latent features and hidden layers.
    num_layers : int
        Message-passing layers.
    recompute : bool
        Whether training keeps only the input of each message-passing layer, a quarter of the memory, and
        computes the layer again in the backward pass.

    Raises
    ------
    ValueError
        If a size is not a positive integer, or `recompute` is not a bool.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_layers: int = 15
    recompute: bool = False

    def __post_init__(self) -> None:
        if type(self.recompute) is not bool:
            raise ValueError(f"recompute must be true or false, not {self.recompute!r}")
        check_sizes(self, *(field.name for field in fields(self) if field.name != "recompute"))


class MeshGraphNet(nn.Module):
    """MeshGraphNet as a regressor that follows `baselines.convention.GraphModel`.

    Every MLP has two hidden layers and ends in a LayerNorm, except for the decoder's.  As in the published
    code, nodes sum what the edge MLP returns, to which the edge's latent feature is added afterwards.

    The paper standardises node and edge features over the training set; here that is left to whoever
    makes them.

    A training step on 50 000 nodes and 250 000 directed edges in float32 needs 0.63 GB per layer, 10 GB with
    all; with `recompute`, 0.15 GB per layer and 4 GB with all (from runs of 1 and 3 layers on a CPU).

    Parameters
    ----------
    config : MeshGraphNetConfig
        Size of the model.

    References
    ----------
    Pfaff et al., "Learning Mesh-Based Simulation with Graph Networks", ICLR 2021, arXiv 2010.03409, section
    3.2 and appendix A.1.
    """

    def __init__(self, config: MeshGraphNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.node_encoder = _mlp(config.in_channels, channels)
        self.edge_encoder = _mlp(EDGE_FEATURES, channels)
        self.layers = nn.ModuleList([MessagePassingLayer(channels) for _ in range(config.num_layers)])
        self.decoder = nn.Sequential(nn.Linear(channels, channels), *_tail(channels, config.out_channels))

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.GraphModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        check_edges(edges, x_BNC, mask_BN)
        h_RC = self.node_encoder(zero_padding(x_BNC, mask_BN)).flatten(0, 1)
        e_EC = self.edge_encoder(edges.features)
        for layer in self.layers:
            if self.config.recompute and torch.is_grad_enabled():
                h_RC, e_EC = checkpoint(
                    layer, h_RC, e_EC, edges.endpoints, use_reentrant=False, preserve_rng_state=False
                )
            else:
                h_RC, e_EC = layer(h_RC, e_EC, edges.endpoints)
        return zero_padding(self.decoder(h_RC).unflatten(0, x_BNC.shape[:2]), mask_BN)


class MessagePassingLayer(nn.Module):
    """One step of message passing: edges see both ends, nodes see the sum over the edges they receive.

    The first layer of each MLP has one matrix for its concatenated inputs.  It is applied in parts, each to
    one of these, and the sender's and the receiver's part to nodes instead of edges, of which there
    are five times as many: no (E, 3 C) tensor is ever formed, and training keeps 4 E C + 5 R C numbers of a
    layer.

    Parameters
    ----------
    channels : int
        Width of latent features and hidden layers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edge_input = nn.Linear(3 * channels, channels)
        self.edge_tail = nn.Sequential(*_tail(channels, channels), nn.LayerNorm(channels))
        self.node_input = nn.Linear(2 * channels, channels)
        self.node_tail = nn.Sequential(*_tail(channels, channels), nn.LayerNorm(channels))

    def forward(self, h_RC: Tensor, e_EC: Tensor, endpoints: Tensor) -> tuple[Tensor, Tensor]:
        """Update latent features.

        Parameters
        ----------
        h_RC : Tensor, (R, C)
            Of nodes.
        e_EC : Tensor, (E, C)
            Of edges.
        endpoints : Tensor, (2, E) int64
            Senders and receivers.

        Returns
        -------
        Tensor, (R, C) and Tensor, (E, C)
            The same after this step.
        """
        senders, receivers = endpoints
        edge_CC, sender_CC, receiver_CC = self.edge_input.weight.chunk(3, dim=1)
        u_EC = linear(e_EC, edge_CC, self.edge_input.bias)
        u_EC += linear(h_RC, sender_CC).index_select(0, senders)
        u_EC += linear(h_RC, receiver_CC).index_select(0, receivers)
        message_EC = self.edge_tail(u_EC)

        received_RC = sum_received(message_EC, receivers, len(h_RC))
        node_CC, received_CC = self.node_input.weight.chunk(2, dim=1)
        u_RC = linear(h_RC, node_CC, self.node_input.bias) + linear(received_RC, received_CC)
        return h_RC + self.node_tail(u_RC), e_EC + message_EC


def _mlp(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_channels, channels), *_tail(channels, channels), nn.LayerNorm(channels))


def _tail(channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    """Everything of an MLP with two hidden layers after its first linear layer."""
    # In place, because nothing else needs what enters a ReLU.
    return (
        nn.ReLU(inplace=True),
        nn.Linear(channels, channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, out_channels),
    )


ENTRY = ModelEntry(
    name="meshgraphnet",
    config_type=MeshGraphNetConfig,
    build=MeshGraphNet,
    published_parameters=None,
    citation=(
        "Pfaff, Fortunato, Sanchez-Gonzalez, Battaglia: Learning Mesh-Based Simulation with Graph Networks. "
        "ICLR 2021. arXiv 2010.03409"
    ),
    licence="Apache-2.0, github.com/google-deepmind/deepmind-research, folder meshgraphnets",
    takes="edges",
)
