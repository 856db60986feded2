"""GNOT: linear attention normalised per query, and MLPs gated by where a node is.

Shape suffixes: B cases, N nodes, C channels, H heads, D = C / H channels per head, K experts, F hidden
channels of an expert, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import gelu

from baselines.blocks import MLP, join_heads, linear, split_heads
from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GNOTConfig:
    """Size of a GNOT; the defaults are the published LPBF setting.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width between blocks; a multiple of `num_heads`.
    num_blocks : int
        Blocks of cross-attention, self-attention and an MLP after each.
    num_heads : int
        Attention heads.
    num_experts : int
        MLPs among which the gate blends.
    mlp_ratio : int
        Hidden width of an expert and of the gate over `channels`.

    Raises
    ------
    ValueError
        If a size is not a positive integer, or the heads do not divide the channels.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_blocks: int = 8
    num_heads: int = 8
    num_experts: int = 3
    mlp_ratio: int = 2

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads")
        check_sizes(self, "num_experts", "mlp_ratio")
        check_heads(self.channels, self.num_heads)


class NormalisedAttention(nn.Module):
    """Normalised linear attention of each node to the input function on all nodes.

    With q and k after a softmax over their D channels, a node gets ``q + sum_i (q k_i) v_i / sum_i q k_i``.

    Parameters
    ----------
    config : GNOTConfig
        Channels and heads.
    """

    def __init__(self, config: GNOTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            linear(config.channels, config.channels) for _ in range(4)
        )

    def forward(self, x_BNC: Tensor, function_BNC: Tensor, mask_BN: Tensor | None) -> Tensor:
        """Map (B, N, C) twice, finite on padding as well, to (B, N, C), meaningless on padding."""
        q_BHND = split_heads(self.q_proj(x_BNC), self.num_heads).softmax(dim=-1)
        k_BHND = split_heads(self.k_proj(function_BNC), self.num_heads).softmax(dim=-1)
        v_BHND = split_heads(self.v_proj(function_BNC), self.num_heads)
        if mask_BN is not None:
            k_BHND = k_BHND.masked_fill(~mask_BN[:, None, :, None], 0.0)
        norm_BHN1 = q_BHND @ k_BHND.sum(dim=2)[..., None]
        y_BHND = q_BHND + q_BHND @ (k_BHND.mT @ v_BHND) / norm_BHN1
        y_BNC: Tensor = self.out_proj(join_heads(y_BHND))
        return y_BNC


class GatedExperts(nn.Module):
    """Blend of MLPs, each of two layers with a GELU between them: geometric gating.

    As the second layers are linear, the gate scales their inputs, and all experts are one product.

    Parameters
    ----------
    config : GNOTConfig
        Experts, their channels and hidden channels.
    """

    def __init__(self, config: GNOTConfig) -> None:
        super().__init__()
        hidden = config.num_experts * config.mlp_ratio * config.channels
        self.in_layer = linear(config.channels, hidden)
        self.out_layer = linear(hidden, config.channels, bias=False)
        self.out_bias = nn.Parameter(torch.zeros(config.num_experts, config.channels))

    def forward(self, x_BNC: Tensor, gate_BNK: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C) by the experts' shares, (B, N, K)."""
        h_BNKF = gelu(self.in_layer(x_BNC)).unflatten(-1, (gate_BNK.shape[-1], -1))
        y_BNC: Tensor = self.out_layer((h_BNKF * gate_BNK[..., None]).flatten(2))
        return y_BNC + gate_BNK @ self.out_bias


class GNOTBlock(nn.Module):
    """Cross-attention to the input function, self-attention, and gated experts after each (figure 2).

    Parameters
    ----------
    config : GNOTConfig
        Sizes.
    """

    def __init__(self, config: GNOTConfig) -> None:
        super().__init__()
        hidden = config.mlp_ratio * config.channels
        self.gate = nn.Sequential(
            linear(config.in_channels, hidden),
            nn.GELU(),
            linear(hidden, hidden),
            nn.GELU(),
            linear(hidden, config.num_experts),
            nn.Softmax(dim=-1),
        )
        self.cross_norm, self.function_norm, self.cross_experts_norm = _norms(config, 3)
        self.self_norm, self.self_experts_norm = _norms(config, 2)
        self.cross_attention, self.self_attention = (NormalisedAttention(config) for _ in range(2))
        self.cross_experts, self.self_experts = (GatedExperts(config) for _ in range(2))

    def forward(
        self, h_BNC: Tensor, function_BNC: Tensor, x_BNC: Tensor, mask_BN: Tensor | None = None
    ) -> Tensor:
        """Update node features, given the input function and the node features that the model got.

        Parameters
        ----------
        h_BNC, function_BNC : Tensor, (B, N, C)
            Finite on padding as well.
        x_BNC : Tensor, (B, N, in_channels)
            What the gate sees.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes.

        Returns
        -------
        Tensor, (B, N, C)
            Meaningless on padding.
        """
        gate_BNK = self.gate(x_BNC)
        h_BNC = h_BNC + self.cross_attention(
            self.cross_norm(h_BNC), self.function_norm(function_BNC), mask_BN
        )
        h_BNC = h_BNC + self.cross_experts_norm(self.cross_experts(h_BNC, gate_BNK))
        normed_BNC = self.self_norm(h_BNC)
        h_BNC = h_BNC + self.self_attention(normed_BNC, normed_BNC, mask_BN)
        return h_BNC + self.self_experts_norm(self.self_experts(h_BNC, gate_BNK))


class GNOT(nn.Module):
    """GNOT with one input function, which follows `baselines.convention.FieldModel`.

    The node features are the query points, the input function on them, and what the gates see.

    Norms are where the published parameter count and Neural-Solver-Library have them; the paper does
    not say.  As in the paper, a block passes the features of the query points on to the next, and the
    input function stays; Neural-Solver-Library, whose GNOT the published LPBF experiment trained, does
    it the other way round.

    Parameters
    ----------
    config : GNOTConfig
        Size of the model.

    References
    ----------
    Hao et al., "GNOT: A General Neural Operator Transformer for Operator Learning", ICML 2023, arXiv
    2302.14376.
    """

    def __init__(self, config: GNOTConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.query_proj = MLP(config.in_channels, 2 * channels, channels)
        self.function_proj = MLP(config.in_channels, 2 * channels, channels)
        self.blocks = nn.ModuleList([GNOTBlock(config) for _ in range(config.num_blocks)])
        self.head = MLP(channels, 2 * channels, config.out_channels)
        # Stands for the values of the input function, of which only the geometry is known.
        self.placeholder = nn.Parameter(torch.rand(channels) / channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        x_BNC = zero_padding(x_BNC, mask_BN)
        function_BNC = self.function_proj(x_BNC) + self.placeholder
        h_BNC = self.query_proj(x_BNC)
        for block in self.blocks:
            h_BNC = block(h_BNC, function_BNC, x_BNC, mask_BN)
        return zero_padding(self.head(h_BNC), mask_BN)


def _norms(config: GNOTConfig, count: int) -> list[nn.LayerNorm]:
    return [nn.LayerNorm(config.channels) for _ in range(count)]


ENTRY = ModelEntry(
    name="gnot",
    config_type=GNOTConfig,
    build=GNOT,
    published_parameters=4_873_113,
    citation=(
        "Hao, Wang, Su, Ying, Dong, Liu, Cheng, Song, Zhu: GNOT: A General Neural Operator Transformer for "
        "Operator Learning. ICML 2023. arXiv 2302.14376"
    ),
    licence="NONE, github.com/thu-ml/GNOT",
)
