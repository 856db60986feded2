"""The linear transformer: a kernel in the place of softmax makes attention linear in the nodes.

Shape suffixes: B cases, N nodes, C channels, H heads, D and E = C / H channels per head, O output channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import elu

from baselines.blocks import Block, ResidualMLP, join_heads, linear, split_heads
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry
from baselines.transformer import TransformerConfig

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6
"""Added to the denominator, which underflows for very negative queries (idiap/fast-transformers)."""


def linear_attention(q_BHND: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Attention with scores ``f(q) . f(k)``, where ``f(x) = elu(x) + 1``.

    Parameters
    ----------
    q_BHND, k_BHND, v_BHND : Tensor, (B, H, N, D)
        Queries, keys and values; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes, one at least in each case.

    Returns
    -------
    Tensor, (B, H, N, D)
        Values averaged by their scores; meaningless on padding.

    References
    ----------
    Section 3.2 of arXiv 2006.16236.
    """
    q_BHND, k_BHND = elu(q_BHND) + 1, elu(k_BHND) + 1
    # Means over the nodes in the place of the paper's sums, which overflow float16; the ratio is the same.
    if mask_BN is None:
        k_BHND = k_BHND / k_BHND.shape[2]
    else:
        k_BHND = (k_BHND / mask_BN.sum(dim=1)[:, None, None, None]).masked_fill(
            ~mask_BN[:, None, :, None], 0.0
        )
    context_BHDE = k_BHND.transpose(-1, -2) @ v_BHND
    total_BHN1 = q_BHND @ k_BHND.sum(dim=2)[..., None]
    return q_BHND @ context_BHDE / (total_BHN1 + EPSILON)


class LinearAttention(nn.Module):
    """Multi-head `linear_attention` of nodes to nodes.

    Parameters
    ----------
    channels : int
        Width of input and output.
    num_heads : int
        Divides `channels`.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = linear(channels, 3 * channels, bias=False)
        self.out_proj = linear(channels, channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C) to (B, N, C); `mask_BN` as of `linear_attention`."""
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv_proj(x_BNC).chunk(3, dim=-1))
        y_BNC: Tensor = self.out_proj(join_heads(linear_attention(q, k, v, mask_BN)))
        return y_BNC


class LinearTransformer(nn.Module):
    """`baselines.transformer.Transformer` with linear in the place of softmax attention.

    Follows `baselines.convention.FieldModel`.

    Parameters
    ----------
    config : TransformerConfig
        Size of the model.

    References
    ----------
    Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
    Attention", ICML 2020, arXiv 2006.16236.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.in_proj = ResidualMLP(config.in_channels, channels, channels)
        self.blocks = nn.ModuleList(
            [
                Block(channels, LinearAttention(channels, config.num_heads), config.mlp_ratio)
                for _ in range(config.num_blocks)
            ]
        )
        self.out_proj = nn.Sequential(
            nn.LayerNorm(channels), ResidualMLP(channels, channels, config.out_channels)
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN))
        for block in self.blocks:
            h_BNC = block(h_BNC, mask_BN)
        return zero_padding(self.out_proj(h_BNC), mask_BN)


ENTRY = ModelEntry(
    name="linear_attention",
    config_type=TransformerConfig,
    build=LinearTransformer,
    published_parameters=None,
    citation=(
        "Katharopoulos, Vyas, Pappas, Fleuret: Transformers are RNNs: Fast Autoregressive Transformers "
        "with Linear Attention. ICML 2020. arXiv 2006.16236"
    ),
    licence="MIT, github.com/idiap/fast-transformers",
)
