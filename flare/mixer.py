"""The FLARE token mixer: nodes to latent tokens and back, in two attention calls.

Shape suffixes: B cases, N nodes, C channels, H heads, M latent tokens, D = C / H channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import pad, scaled_dot_product_attention

from flare.mlp import ResidualMLP, linear

if TYPE_CHECKING:
    from torch import Tensor

KEY_VALUE_LAYERS = 3
"""Hidden layers of the key and value MLPs (arXiv 2508.12594)."""

LATENT_STD = 0.1
"""Standard deviation of initial latent queries (reference implementation, vpuri3/FLARE.py)."""


def route(q_HMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Gather the nodes into latent tokens and scatter these back.

    Per head ``y = softmax(k q^T) softmax(q k^T) v``: attention whose N x N matrix has rank M or
    less and is never formed.  The scores are not divided by sqrt(D).

    Parameters
    ----------
    q_HMD : Tensor, (H, M, D)
        Latent queries.
    k_BHND, v_BHND : Tensor, (B, H, N, D)
        Keys and values of the nodes; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes; the others give nothing to the latent tokens.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.
    """
    # Fused kernels want equal batch sizes, and expand copies nothing.
    q_BHMD = q_HMD.expand(k_BHND.shape[0], -1, -1, -1)
    key_mask_B11N = None if mask_BN is None else mask_BN[:, None, None, :]
    z_BHMD = scaled_dot_product_attention(q_BHMD, k_BHND, v_BHND, attn_mask=key_mask_B11N, scale=1.0)
    return scaled_dot_product_attention(k_BHND, q_BHMD, z_BHMD, scale=1.0)


def route_widened(q_HMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Equal `route` up to rounding, with the head dimension zero-padded to twice its size.

    Zeros add nothing to the scores, and the outputs that belong to them are dropped.
    """
    head_dim = q_HMD.shape[-1]
    q, k, v = (pad(t, (0, head_dim)) for t in (q_HMD, k_BHND, v_BHND))
    return route(q, k, v, mask_BN)[..., :head_dim]


def widening_pays(k_BHND: Tensor) -> bool:
    """Tell whether `route_widened` is faster than `route`.

    Measured with PyTorch 2.13 on two x86 cores (``benchmarks/flare_mixer.py``), forward and backward,
    float32: D = 8 takes 30 % less time as 16; D = 4, 12 and 24, float64 and bfloat16 take more.
    """
    return k_BHND.device.type == "cpu" and k_BHND.dtype == torch.float32 and k_BHND.shape[-1] == 8


class FLAREMixer(nn.Module):
    """Mixing of nodes through latent tokens, with learned queries for each head.

    Parameters
    ----------
    channels : int
        Features per node, C; a multiple of `num_heads`.
    num_heads : int
        Heads, H.
    num_latents : int
        Latent tokens per head, M.
    """

    def __init__(self, channels: int, num_heads: int, num_latents: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        # (C, M) in memory order of (H, M, D): the layout of published checkpoints.
        self.latent_q = nn.Parameter(torch.empty(channels, num_latents))
        nn.init.normal_(self.latent_q, std=LATENT_STD)
        self.k_proj = ResidualMLP(channels, channels, channels, KEY_VALUE_LAYERS)
        self.v_proj = ResidualMLP(channels, channels, channels, KEY_VALUE_LAYERS)
        self.out_proj = linear(channels, channels)

    def latent_queries(self) -> Tensor:
        """Latent queries of each head, (H, M, D)."""
        channels, num_latents = self.latent_q.shape
        return self.latent_q.view(self.num_heads, num_latents, channels // self.num_heads)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Mix the nodes of each case.

        Parameters
        ----------
        x_BNC : Tensor, (B, N, C)
            Node features; finite on padding as well.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes, of which each case has one at least.

        Returns
        -------
        Tensor, (B, N, C)
            Mixed features; meaningless on padding.
        """
        k_BHND = self._split_heads(self.k_proj(x_BNC))
        v_BHND = self._split_heads(self.v_proj(x_BNC))
        mix = route_widened if widening_pays(k_BHND) else route
        y_BHND = mix(self.latent_queries(), k_BHND, v_BHND, mask_BN)
        y_BNC: Tensor = self.out_proj(y_BHND.transpose(1, 2).flatten(2))
        return y_BNC

    def _split_heads(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
