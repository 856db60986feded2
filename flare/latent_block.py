"""A transformer block among the latent tokens, an ablation of FLARE (arXiv 2508.12594).

Shape suffixes: B cases, M latent tokens, C channels, H heads, D = C / H channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from flare.mlp import ACTIVATIONS, linear, make_norm

if TYPE_CHECKING:
    from torch import Tensor

    from flare.config import FLAREConfig

HIDDEN_RATIO = 4
"""Hidden over outer width of the MLP (reference implementation, vpuri3/FLARE.py)."""


class LatentBlock(nn.Module):
    """Pre-norm self-attention and MLP over the latent tokens of all heads, joined to C channels.

    Parameters
    ----------
    config : FLAREConfig
        Width, heads, normalisation and nonlinearity.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__()
        channels = config.channels
        self.num_heads = config.num_heads
        self.activation = config.activation
        self.norm1 = make_norm(config.norm, channels)
        self.qkv_proj = linear(channels, 3 * channels)
        self.out_proj = linear(channels, channels)
        self.norm2 = make_norm(config.norm, channels)
        self.fc1 = linear(channels, HIDDEN_RATIO * channels)
        self.fc2 = linear(HIDDEN_RATIO * channels, channels)

    def forward(self, z_BMC: Tensor) -> Tensor:
        """Map (B, M, C) to (B, M, C)."""
        qkv = self.qkv_proj(self.norm1(z_BMC)).unflatten(-1, (3, self.num_heads, -1))
        q_BHMD, k_BHMD, v_BHMD = qkv.permute(2, 0, 3, 1, 4)
        attended_BHMD = scaled_dot_product_attention(q_BHMD, k_BHMD, v_BHMD)
        z_BMC = z_BMC + self.out_proj(attended_BHMD.transpose(1, 2).flatten(2))
        hidden = ACTIVATIONS[self.activation](self.fc1(self.norm2(z_BMC)))
        y_BMC: Tensor = z_BMC + self.fc2(hidden)
        return y_BMC
