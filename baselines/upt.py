"""Universal Physics Transformer (UPT): nodes are pooled into supernodes, these into latent tokens.

Encoder: messages of the nodes around each supernode, transformer blocks on the supernodes, a perceiver
that pools them into latent tokens.  Approximator: transformer blocks on the latent tokens.  Decoder: more
of them, and a perceiver that is queried at the positions of the nodes.

Shape suffixes: B cases, N nodes, S supernodes, K neighbours, M latent tokens, C channels, A axes of
space, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import gelu, pad

from baselines.blocks import MLP, WEIGHT_STD, Block, CrossAttention, SelfAttention, linear, make_latents
from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry
from baselines.ordering import AXES, take_nodes
from baselines.supernodes import Supernodes, find_supernodes

if TYPE_CHECKING:
    from torch import Tensor

POSITION_SCALE = 100.0
"""Brings positions between -1 and 1 to a range of 200, that of the paper, before they are embedded."""

LONGEST_WAVELENGTH = 10_000.0
"""Of the sines and cosines that embed a position, over 2 pi (Vaswani et al., arXiv 1706.03762)."""


@dataclass(frozen=True)
class UPTConfig:
    """Size of a UPT; the defaults follow the smallest model of the paper's transient flows.

    Parameters
    ----------
    in_channels : int
        Input features per node, the position first.
    out_channels : int
        Output features per node.
    channels : int
        Width of nodes, supernodes and latent tokens; 2 per axis of space at least.
    num_blocks : int
        Transformer blocks of the encoder, as many of the approximator, and of the decoder.
    num_heads : int
        Attention heads; divides `channels`.
    num_supernodes : int
        Supernodes of a case; a case with fewer nodes has as many as nodes.
    num_latents : int
        Latent tokens.
    radius : float
        Nodes within this distance of a supernode, in the unit of the input positions, send it messages.
    max_neighbors : int
        The nearest so many of them do.
    mlp_ratio : int
        Hidden width of the MLP of a block over `channels`.

    Raises
    ------
    ValueError
        If one is not positive, all but the radius not integers, the heads do not share the channels
        equally, or the channels are too few to embed a position.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_blocks: int = 4
    num_heads: int = 4
    num_supernodes: int = 2048
    num_latents: int = 512
    radius: float = 0.05
    max_neighbors: int = 32
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads")
        check_sizes(self, "num_supernodes", "num_latents", "max_neighbors", "mlp_ratio")
        check_heads(self.channels, self.num_heads)
        if self.channels < 2 * AXES:
            raise ValueError(f"channels must be {2 * AXES} at least, not {self.channels}")
        if not self.radius > 0:
            raise ValueError(f"radius must be positive, not {self.radius!r}")


def embed_position(position_BNA: Tensor, channels: int) -> Tensor:
    """Sines and cosines of each coordinate at wavelengths from 2 pi up, (B, N, C), zero in what is left over.

    Parameters
    ----------
    position_BNA : Tensor, (B, N, A)
        Positions.
    channels : int
        C; each axis gets an A-th of it.
    """
    frequencies = channels // (2 * position_BNA.shape[-1])
    power_F = torch.arange(frequencies, device=position_BNA.device, dtype=position_BNA.dtype) / frequencies
    angle_BNAF = POSITION_SCALE * position_BNA[..., None] * LONGEST_WAVELENGTH**-power_F
    waves_BNC = torch.cat([angle_BNAF.sin(), angle_BNAF.cos()], dim=-1).flatten(2)
    return pad(waves_BNC, (0, channels - waves_BNC.shape[-1]))


class SupernodePooling(nn.Module):
    """Mean over the neighbours of a supernode of ``mlp(concatenate(neighbour, supernode))``."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.embedding = linear(in_channels, channels)
        self.sender = linear(channels, channels, bias=False)
        self.receiver = linear(channels, channels)
        self.message = linear(channels, channels)

    def forward(self, x_BNC: Tensor, supernodes: Supernodes) -> Tensor:
        """Pool node features, (B, N, in_channels), into supernodes, (B, S, C).

        The first layer of the MLP acts on neighbour and supernode before they are paired, and the
        last one, being linear, on the mean.
        """
        h_BNC = self.embedding(x_BNC) + embed_position(x_BNC[..., :AXES], self.channels)
        sent_BSKC = take_nodes(self.sender(h_BNC), supernodes.neighbors.flatten(1)).unflatten(
            1, supernodes.neighbors.shape[1:]
        )
        received_BSC = self.receiver(take_nodes(h_BNC, supernodes.nodes))
        hidden_BSKC = gelu(sent_BSKC + received_BSC[:, :, None, :])
        weight_BSK = supernodes.is_neighbor / supernodes.is_neighbor.sum(dim=2, keepdim=True).clamp_min(1)
        mean_BSC = (weight_BSK[..., None, :].to(hidden_BSKC.dtype) @ hidden_BSKC).squeeze(2)
        y_BSC: Tensor = self.message(mean_BSC)
        return y_BSC


class PerceiverBlock(nn.Module):
    """Pre-norm block: ``q + attention(norm(q), norm(x))``, then ``q + mlp(norm(q))``."""

    def __init__(self, config: UPTConfig) -> None:
        super().__init__()
        channels = config.channels
        self.query_norm = nn.LayerNorm(channels)
        self.norm = nn.LayerNorm(channels)
        self.attention = CrossAttention(channels, config.num_heads)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = MLP(channels, config.mlp_ratio * channels, channels)

    def forward(self, query_BMC: Tensor, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Let queries gather from x, (B, M, C); `mask_BN` is True on its real rows."""
        query_BMC = query_BMC + self.attention(self.query_norm(query_BMC), self.norm(x_BNC), mask_BN)
        y_BMC: Tensor = query_BMC + self.mlp(self.mlp_norm(query_BMC))
        return y_BMC


def _make_blocks(config: UPTConfig) -> nn.ModuleList:
    def make_block() -> Block:
        return Block(config.channels, SelfAttention(config.channels, config.num_heads), config.mlp_ratio)

    return nn.ModuleList([make_block() for _ in range(config.num_blocks)])


class UPT(nn.Module):
    """UPT for one step, from the nodes of a case to the field on them.

    Follows `baselines.convention.FieldModel`.  Supernodes are spread evenly along a space-filling curve
    in the place of the paper's random choice, so that a case always gets the same; the nearest nodes
    within the radius send messages, where the published code takes any.  Left out is what unrolls a
    simulation in time: conditioning on the time step, and the losses that invert encoder and decoder.

    Parameters
    ----------
    config : UPTConfig
        Size of the model.

    References
    ----------
    Alkin et al., "Universal Physics Transformers: A Framework For Efficiently Scaling Neural
    Operators", NeurIPS 2024, arXiv 2402.12365.
    """

    def __init__(self, config: UPTConfig) -> None:
        super().__init__()
        self.config = config
        channels, hidden = config.channels, config.mlp_ratio * config.channels
        self.pooling = SupernodePooling(config.in_channels, channels)
        self.encoder = _make_blocks(config)
        self.latents = make_latents(config.num_latents, channels, WEIGHT_STD)
        self.to_latents = PerceiverBlock(config)
        self.approximator = _make_blocks(config)
        self.decoder = _make_blocks(config)
        self.query = nn.Sequential(linear(channels, hidden), nn.GELU(), MLP(hidden, hidden, channels))
        self.from_latents = PerceiverBlock(config)
        self.out_proj = nn.Sequential(nn.LayerNorm(channels), linear(channels, config.out_channels))

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        config = self.config
        check_batch(x_BNC, mask_BN, config.in_channels)
        x_BNC = zero_padding(x_BNC, mask_BN)
        supernodes = find_supernodes(
            x_BNC, mask_BN, config.num_supernodes, config.radius, config.max_neighbors
        )
        h_BSC = self.pooling(x_BNC, supernodes)
        for block in self.encoder:
            h_BSC = block(h_BSC, supernodes.mask)
        z_BMC = self.to_latents(self.latents.expand(len(x_BNC), -1, -1), h_BSC, supernodes.mask)
        for block in [*self.approximator, *self.decoder]:
            z_BMC = block(z_BMC)
        query_BNC = self.query(embed_position(x_BNC[..., :AXES], config.channels))
        return zero_padding(self.out_proj(self.from_latents(query_BNC, z_BMC)), mask_BN)


ENTRY = ModelEntry(
    name="upt",
    config_type=UPTConfig,
    build=UPT,
    published_parameters=None,
    citation=(
        "Alkin, Fuerst, Schmid, Gruber, Holzleitner, Brandstetter: Universal Physics Transformers: A "
        "Framework For Efficiently Scaling Neural Operators. NeurIPS 2024. arXiv 2402.12365"
    ),
    licence="MIT, github.com/ml-jku/UPT",
)
