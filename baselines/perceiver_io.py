"""Perceiver IO: nodes are gathered into latent tokens, these attend to each other, nodes read from them.

Shape suffixes: B cases, N nodes, M latent tokens, C channels, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from baselines.blocks import (
    Block,
    CrossAttention,
    ResidualMLP,
    SelfAttention,
    attend,
    join_heads,
    linear,
    make_latents,
    split_heads,
)
from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor

LATENT_STD = 1.0
"""Standard deviation of initial latent queries (vpuri3/FLARE.py)."""


@dataclass(frozen=True)
class PerceiverIOConfig:
    """Size of a Perceiver IO; the defaults are those of the published LPBF experiment.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of nodes and latent tokens.
    num_blocks : int
        Blocks of self-attention on the latent tokens.
    num_heads : int
        Attention heads; divides `channels`.
    num_latents : int
        Latent tokens.
    mlp_ratio : int
        Hidden width of the MLP of a block over `channels`.

    Raises
    ------
    ValueError
        If one is not a positive integer, or the heads do not share the channels equally.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_blocks: int = 8
    num_heads: int = 8
    num_latents: int = 512
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads")
        check_sizes(self, "num_latents", "mlp_ratio")
        check_heads(self.channels, self.num_heads)


class LatentEncoder(nn.Module):
    """Cross-attention of learned latent queries to the nodes."""

    def __init__(self, config: PerceiverIOConfig) -> None:
        super().__init__()
        channels = config.channels
        self.num_heads = config.num_heads
        self.latents = make_latents(config.num_latents, channels, LATENT_STD)
        self.norm = nn.LayerNorm(channels)
        self.k_proj = linear(channels, channels)
        self.v_proj = linear(channels, channels)
        self.out_proj = linear(channels, channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None) -> Tensor:
        """Gather the nodes, (B, N, C), into latent tokens, (B, M, C)."""
        x_BNC = self.norm(x_BNC)
        k = split_heads(self.k_proj(x_BNC), self.num_heads)
        v = split_heads(self.v_proj(x_BNC), self.num_heads)
        # The latents are drawn as queries: a projection of them would add nothing.
        latents_BMC = self.latents.to(k.dtype).expand(len(x_BNC), -1, -1)
        z_BMC: Tensor = self.out_proj(
            join_heads(attend(split_heads(latents_BMC, self.num_heads), k, v, mask_BN))
        )
        return z_BMC


class PerceiverIO(nn.Module):
    """Perceiver IO in the layout of the published LPBF experiment.

    Follows `baselines.convention.FieldModel`.  Encoder and decoder are one cross-attention each,
    without the MLP and skip connections that the paper has there, as in vpuri3/FLARE.py, whose
    parameter count it has; the queries of the decoder are the features of the nodes.

    Parameters
    ----------
    config : PerceiverIOConfig
        Size of the model.

    References
    ----------
    Jaegle et al., "Perceiver IO: A General Architecture for Structured Inputs & Outputs", ICLR 2022,
    arXiv 2107.14795.
    """

    def __init__(self, config: PerceiverIOConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.in_proj = ResidualMLP(config.in_channels, channels, channels)
        self.encoder = LatentEncoder(config)
        self.blocks = nn.Sequential(
            *[
                Block(channels, SelfAttention(channels, config.num_heads), config.mlp_ratio)
                for _ in range(config.num_blocks)
            ]
        )
        self.latent_norm = nn.LayerNorm(channels)
        self.node_norm = nn.LayerNorm(channels)
        self.decoder = CrossAttention(channels, config.num_heads)
        self.out_proj = nn.Sequential(
            nn.LayerNorm(channels), ResidualMLP(channels, channels, config.out_channels)
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN))
        z_BMC = self.blocks(self.encoder(h_BNC, mask_BN))
        y_BNC = self.decoder(self.node_norm(h_BNC), self.latent_norm(z_BMC))
        return zero_padding(self.out_proj(y_BNC), mask_BN)


ENTRY = ModelEntry(
    name="perceiver_io",
    config_type=PerceiverIOConfig,
    build=PerceiverIO,
    published_parameters=1_864_961,
    citation=(
        "Jaegle, Borgeaud, Alayrac, Doersch, Ionescu, Ding, Koppula, Zoran, Brock, Shelhamer, Henaff, "
        "Botvinick, Zisserman, Vinyals, Carreira: Perceiver IO: A General Architecture for Structured "
        "Inputs & Outputs. ICLR 2022. arXiv 2107.14795"
    ),
    licence="Apache-2.0, github.com/google-deepmind/deepmind-research",
)
