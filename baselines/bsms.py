"""BSMS-GNN: message passing on a mesh and on coarser and coarser graphs of it, as a U-net.

Shape suffixes: B cases, N nodes of the largest case, A nodes of all cases on some level, K those on
the next coarser one, L links between the two, E directed edges on one level, F features of an edge,
C channels, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from baselines.checks import check_sizes
from baselines.convention import EDGE_FEATURES, check_batch, check_edges, check_levels, zero_padding
from baselines.entry import ModelEntry
from baselines.messages import sum_received

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.convention import MeshEdges, MeshLevel, MeshLevels


@dataclass(frozen=True)
class BSMSConfig:
    """Size of a BSMS-GNN; the defaults are the published ones, for three-dimensional meshes.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of node features and messages.
    num_levels : int
        Coarser graphs below the mesh.  On hexahedral meshes of parts each has half the nodes of the
        one above but, down to the fourth, more edges: there up to eight times those of the mesh.
    hidden_layers : int
        Hidden layers of every MLP.
    recompute : bool
        Compute every step of message passing once more in the backward pass instead of keeping what is
        inside: a third more time, a fraction of the memory.

    Raises
    ------
    ValueError
        If a size is not a positive integer.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_levels: int = 6
    hidden_layers: int = 3
    recompute: bool = False

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_levels", "hidden_layers")


class BSMS(nn.Module):
    """Multiscale mesh network that follows `baselines.convention.MultiscaleModel`.

    One step of message passing a level on the way down, one on the coarsest, and one a level on the
    way up, after which what the level had on the way down is added.  Between levels features move
    without parameters, see `pool` and `unpool`.  The layout is that of the published code, but for its
    normalisation by running statistics of the training set, which the pipeline does.

    Parameters
    ----------
    config : BSMSConfig
        Size of the model.

    References
    ----------
    Cao et al., "Efficient Learning of Mesh-Based Physical Simulation with Bi-Stride Multi-Scale Graph
    Neural Network", ICML 2023, arXiv 2210.02573.
    """

    def __init__(self, config: BSMSConfig) -> None:
        super().__init__()
        self.config = config
        channels, hidden = config.channels, config.hidden_layers
        self.encoder = nn.Sequential(nn.Linear(config.in_channels, channels), _after_first(channels, hidden))
        self.down = nn.ModuleList([MessagePassing(channels, hidden) for _ in range(config.num_levels)])
        self.bottom = MessagePassing(channels, hidden)
        self.up = nn.ModuleList([MessagePassing(channels, hidden) for _ in range(config.num_levels)])
        self.decoder = nn.Sequential(
            nn.Linear(channels, channels),
            *_hidden(channels, hidden),
            nn.Linear(channels, config.out_channels),
        )

    def forward(
        self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges, levels: MeshLevels
    ) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.MultiscaleModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        check_edges(edges, x_BNC, mask_BN)
        check_levels(levels, x_BNC)
        if len(levels) != self.config.num_levels:
            raise ValueError(f"the batch has {len(levels)} levels; the model takes {self.config.num_levels}")
        h_BNC = self.encoder(zero_padding(x_BNC, mask_BN))
        h_AC = self._process(h_BNC.flatten(0, 1), edges, levels)
        return zero_padding(self.decoder(h_AC.view_as(h_BNC)), mask_BN)

    def _process(self, h_AC: Tensor, edges: MeshEdges, levels: MeshLevels) -> Tensor:
        graphs = [edges, *(level.edges for level in levels)]
        went_down = []
        for pass_messages, graph, level in zip(self.down, graphs[:-1], levels, strict=True):
            h_AC = self._step(pass_messages, h_AC, graph)
            went_down.append(h_AC)
            h_AC = pool(h_AC, level)
        h_AC = self._step(self.bottom, h_AC, graphs[-1])
        for pass_messages, graph, level, before_AC in zip(
            self.up, graphs[-2::-1], levels[::-1], went_down[::-1], strict=True
        ):
            h_AC = self._step(pass_messages, unpool(h_AC, level, len(before_AC)), graph) + before_AC
        return h_AC

    def _step(self, pass_messages: nn.Module, h_AC: Tensor, edges: MeshEdges) -> Tensor:
        if self.config.recompute and torch.is_grad_enabled():
            y_AC: Tensor = checkpoint(
                pass_messages, h_AC, edges, use_reentrant=False, preserve_rng_state=False
            )
            return y_AC
        return pass_messages(h_AC, edges)


class MessagePassing(nn.Module):
    """One step: every edge makes a message of its two nodes, every node adds up what it receives.

    Parameters
    ----------
    channels : int
        Width of node features and messages.
    hidden_layers : int
        Hidden layers of the MLP of edges and of that of nodes.
    """

    def __init__(self, channels: int, hidden_layers: int) -> None:
        super().__init__()
        self.edge_input = nn.Linear(EDGE_FEATURES + 2 * channels, channels)
        self.edge_mlp = _after_first(channels, hidden_layers)
        self.node_mlp = nn.Sequential(
            nn.Linear(2 * channels, channels), _after_first(channels, hidden_layers)
        )

    def forward(self, h_AC: Tensor, edges: MeshEdges) -> Tensor:
        """Map node features (A, C) to (A, C)."""
        message_EC = self.edge_mlp(self._edge_input(h_AC, edges))
        received_AC = sum_received(message_EC, edges.endpoints[1], len(h_AC))
        y_AC: Tensor = h_AC + self.node_mlp(torch.cat([h_AC, received_AC], dim=-1))
        return y_AC

    def _edge_input(self, h_AC: Tensor, edges: MeshEdges) -> Tensor:
        """Linear layer on the features of each edge, of its sender and of its receiver, concatenated.

        The parts on nodes are computed once a node instead of once an edge, and nothing as wide as
        the concatenation is held for every edge.
        """
        senders, receivers = edges.endpoints
        channels = h_AC.shape[-1]
        weight_CF, sender_CC, receiver_CC = self.edge_input.weight.split(
            [EDGE_FEATURES, channels, channels], dim=1
        )
        of_edge_EC = linear(edges.features, weight_CF, self.edge_input.bias)
        of_sender_AC, of_receiver_AC = linear(h_AC, sender_CC), linear(h_AC, receiver_CC)
        return of_edge_EC + of_sender_AC.index_select(0, senders) + of_receiver_AC.index_select(0, receivers)


def pool(h_AC: Tensor, level: MeshLevel) -> Tensor:
    """Take features to a coarser level: each of its nodes gets the weighted mean over its links.

    Parameters
    ----------
    h_AC : Tensor, (A, C)
        Features on the finer level.
    level : MeshLevel
        The coarser level, of K nodes.

    Returns
    -------
    Tensor, (K, C)
        Zero where a node has no links.
    """
    fine, coarse = level.links
    return sum_received(h_AC.index_select(0, fine) * level.weights[:, None], coarse, level.node_count)


def unpool(h_KC: Tensor, level: MeshLevel, fine_count: int) -> Tensor:
    """Take features to the next finer level: the transpose of `pool`.

    Parameters
    ----------
    h_KC : Tensor, (K, C)
        Features on the coarser level.
    level : MeshLevel
        The coarser level.
    fine_count : int
        A, nodes of the finer level.

    Returns
    -------
    Tensor, (A, C)
        Zero where a node has no links.
    """
    fine, coarse = level.links
    return sum_received(h_KC.index_select(0, coarse) * level.weights[:, None], fine, fine_count)


def _hidden(channels: int, hidden_layers: int) -> list[nn.Module]:
    """Return what stands between the first and the last linear layer of an MLP with so many hidden layers."""
    between = [[nn.ReLU(), nn.Linear(channels, channels)] for _ in range(hidden_layers - 1)]
    return [*(module for pair in between for module in pair), nn.ReLU()]


def _after_first(channels: int, hidden_layers: int) -> nn.Sequential:
    """Return what follows the first linear layer of an MLP whose output is normalised."""
    return nn.Sequential(
        *_hidden(channels, hidden_layers),
        nn.Linear(channels, channels),
        nn.LayerNorm(channels, elementwise_affine=False),
    )


ENTRY = ModelEntry(
    name="bsms",
    config_type=BSMSConfig,
    build=BSMS,
    published_parameters=None,
    citation=(
        "Cao, Chai, Li, Jiang: Efficient Learning of Mesh-Based Physical Simulation with Bi-Stride "
        "Multi-Scale Graph Neural Network. ICML 2023. arXiv 2210.02573"
    ),
    licence="Apache-2.0 as NVIDIA PhysicsNeMo passes it on, github.com/Eydcao/BSMS-GNN",
    takes="levels",
)
