"""Set Transformer: nodes attend to a few induced points, which have attended to the nodes.

Shape suffixes: B cases, N nodes, M induced points, Q queries, C channels, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from baselines.blocks import CrossAttention
from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SetTransformerConfig:
    """Size of a Set Transformer; the defaults are those of the published point-cloud network.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of the blocks.
    num_blocks : int
        Induced set attention blocks.
    num_heads : int
        Attention heads; divides `channels`.
    num_inducing : int
        Inducing points of each block.

    Raises
    ------
    ValueError
        If one is not a positive integer, or the heads do not share the channels equally.
    """

    in_channels: int
    out_channels: int
    channels: int = 256
    num_blocks: int = 2
    num_heads: int = 4
    num_inducing: int = 16

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads")
        check_sizes(self, "num_inducing")
        check_heads(self.channels, self.num_heads)


class AttentionBlock(nn.Module):
    """Multihead attention block, "MAB": ``h = norm(q + attention(q, x))``, then ``norm(h + relu(h W))``."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.attention = CrossAttention(channels, num_heads)
        self.norm1 = nn.LayerNorm(channels)
        self.row_wise = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, query_BQC: Tensor, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Let queries, (B, Q, C), gather from x, (B, N, C); `mask_BN` is True on its real rows."""
        h_BQC = self.norm1(query_BQC + self.attention(query_BQC, x_BNC, mask_BN))
        y_BQC: Tensor = self.norm2(h_BQC + torch.relu(self.row_wise(h_BQC)))
        return y_BQC


class InducedBlock(nn.Module):
    """Induced set attention block, "ISAB": learned points gather the nodes, then nodes gather from them."""

    def __init__(self, config: SetTransformerConfig) -> None:
        super().__init__()
        points_MC = torch.empty(config.num_inducing, config.channels)
        self.inducing_points = nn.Parameter(nn.init.xavier_uniform_(points_MC))
        self.gather = AttentionBlock(config.channels, config.num_heads)
        self.scatter = AttentionBlock(config.channels, config.num_heads)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        induced_BMC = self.gather(self.inducing_points.expand(len(x_BNC), -1, -1), x_BNC, mask_BN)
        y_BNC: Tensor = self.scatter(x_BNC, induced_BMC)
        return y_BNC


class SetTransformer(nn.Module):
    """The encoder of a Set Transformer between two linear layers.

    Follows `baselines.convention.FieldModel`.  The pooling of the paper's decoder is left out, since the
    output is one per node.  Scores are divided by the root of the width of a head, where the published
    code takes the width of all; the query projection can learn either.

    Parameters
    ----------
    config : SetTransformerConfig
        Size of the model.

    References
    ----------
    Lee et al., "Set Transformer: A Framework for Attention-based Permutation-Invariant Neural
    Networks", ICML 2019, arXiv 1810.00825, section 3.1.
    """

    def __init__(self, config: SetTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.in_proj = nn.Linear(config.in_channels, config.channels)
        self.blocks = nn.ModuleList([InducedBlock(config) for _ in range(config.num_blocks)])
        self.out_proj = nn.Linear(config.channels, config.out_channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN))
        for block in self.blocks:
            h_BNC = block(h_BNC, mask_BN)
        return zero_padding(self.out_proj(h_BNC), mask_BN)


ENTRY = ModelEntry(
    name="set_transformer",
    config_type=SetTransformerConfig,
    build=SetTransformer,
    published_parameters=None,
    citation=(
        "Lee, Lee, Kim, Kosiorek, Choi, Teh: Set Transformer: A Framework for Attention-based "
        "Permutation-Invariant Neural Networks. ICML 2019. arXiv 1810.00825"
    ),
    licence="MIT, github.com/juho-lee/set_transformer",
)
