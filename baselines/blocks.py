"""Parts that several of the attention models share: attention, MLPs, and the pre-norm blocks of both.

Shape suffixes: B cases, N nodes or other keys, M queries, C channels, H heads, D = C / H channels per head.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WEIGHT_STD = 0.02
"""Standard deviation of initial weights (published LPBF experiments, vpuri3/FLARE.py)."""


def linear(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Linear:
    """Linear layer with weights drawn from N(0, 0.02) and zero bias."""
    layer = nn.Linear(in_channels, out_channels, bias=bias)
    nn.init.normal_(layer.weight, std=WEIGHT_STD)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def split_heads(x_BNC: Tensor, num_heads: int) -> Tensor:
    """(B, N, C) to (B, H, N, D)."""
    return x_BNC.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def join_heads(x_BHND: Tensor) -> Tensor:
    """(B, H, N, D) to (B, N, C)."""
    return x_BHND.transpose(1, 2).flatten(2)


def attend(q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Softmax attention, ``softmax(q k^T / sqrt(D)) v``, without an (M, N) matrix in memory.

    Parameters
    ----------
    q_BHMD : Tensor, (B, H, M, D)
        Queries.
    k_BHND, v_BHND : Tensor, (B, H, N, D)
        Keys and values; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real keys, one at least in each case.

    Returns
    -------
    Tensor, (B, H, M, D)
    """
    mask_B11N = None if mask_BN is None else mask_BN[:, None, None, :]
    return scaled_dot_product_attention(q_BHMD, k_BHND, v_BHND, attn_mask=mask_B11N)


class SelfAttention(nn.Module):
    """Multi-head softmax attention of nodes to nodes; queries, keys and values have no bias.

    Parameters
    ----------
    channels : int
        Width of input and output.
    num_heads : int
        Divides `channels`.
    """

    attend: ClassVar[Callable[..., Tensor]] = staticmethod(attend)

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = linear(channels, 3 * channels, bias=False)
        self.out_proj = linear(channels, channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C) to (B, N, C); `mask_BN` as of `attend`."""
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv_proj(x_BNC).chunk(3, dim=-1))
        y_BNC: Tensor = self.out_proj(join_heads(self.attend(q, k, v, mask_BN)))
        return y_BNC


class CrossAttention(nn.Module):
    """Multi-head softmax attention of queries to other tokens.

    Parameters
    ----------
    channels : int
        Width of both inputs and of the output.
    num_heads : int
        Divides `channels`.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = linear(channels, channels)
        self.k_proj = linear(channels, channels)
        self.v_proj = linear(channels, channels)
        self.out_proj = linear(channels, channels)

    def forward(self, query_BMC: Tensor, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Gather from x for each query, (B, M, C); `mask_BN` as of `attend`."""
        q = split_heads(self.q_proj(query_BMC), self.num_heads)
        k = split_heads(self.k_proj(x_BNC), self.num_heads)
        v = split_heads(self.v_proj(x_BNC), self.num_heads)
        y_BMC: Tensor = self.out_proj(join_heads(attend(q, k, v, mask_BN)))
        return y_BMC


class MLP(nn.Module):
    """Two linear layers with a GELU between them, each node by itself."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        self.fc1 = linear(in_channels, hidden_channels)
        self.fc2 = linear(hidden_channels, out_channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels)."""
        y_BNC: Tensor = self.fc2(gelu(self.fc1(x_BNC), approximate="tanh"))
        return y_BNC


class ResidualMLP(nn.Module):
    """Four linear layers with GELUs between them, and a skip around each that keeps the width.

    What the published LPBF experiments (vpuri3/FLARE.py) put before and after the blocks of a model.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = [in_channels, *[hidden_channels] * 3]
        self.hidden = nn.ModuleList([linear(n_in, n_out) for n_in, n_out in pairwise(widths)])
        self.last = linear(hidden_channels, out_channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels)."""
        for layer in self.hidden:
            h_BNC = gelu(layer(x_BNC), approximate="tanh")
            x_BNC = x_BNC + h_BNC if layer.in_features == layer.out_features else h_BNC
        y_BNC: Tensor = self.last(x_BNC)
        return x_BNC + y_BNC if self.last.in_features == self.last.out_features else y_BNC


class Block(nn.Module):
    """Pre-norm transformer block: ``x + mixer(norm(x))``, then ``x + mlp(norm(x))``.

    Parameters
    ----------
    channels : int
        Width of input and output.
    mixer : Module
        Mixes the nodes of a case; takes their features and what the block is given besides.
    mlp_ratio : int
        Hidden width of the MLP over `channels`.
    """

    def __init__(self, channels: int, mixer: nn.Module, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, mlp_ratio * channels, channels)

    def forward(self, x_BNC: Tensor, *context: Any) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        x_BNC = x_BNC + self.mixer(self.norm1(x_BNC), *context)
        y_BNC: Tensor = x_BNC + self.mlp(self.norm2(x_BNC))
        return y_BNC


def make_latents(num_latents: int, channels: int, std: float) -> nn.Parameter:
    """Learned tokens, (num_latents, channels), drawn from N(0, std)."""
    return nn.Parameter(nn.init.normal_(torch.empty(num_latents, channels), std=std))
