"""The mixing layers that `flare_scaling` compares, each (B, N, C) to (B, N, C).

Shape suffixes: B cases, N nodes, C channels, H heads, D = C / H, M latent tokens or slices.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, scaled_dot_product_attention

from flare import MIXERS, FLAREConfig

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS, HEADS = 128, 8
"""Setting of the published scaling figure (arXiv 2508.12594)."""


def split_heads(x_BNC: Tensor) -> Tensor:
    """(B, N, C) to (B, H, N, D)."""
    return x_BNC.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def merge_heads(x_BHND: Tensor) -> Tensor:
    """(B, H, N, D) to (B, N, C)."""
    return x_BHND.transpose(1, 2).flatten(2)


class SoftmaxAttention(nn.Module):
    """Multi-head attention of every node to every other (Vaswani et al., arXiv 1706.03762)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv_proj = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.out_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        q, k, v = (split_heads(part) for part in self.qkv_proj(x_BNC).chunk(3, dim=-1))
        return self.out_proj(merge_heads(scaled_dot_product_attention(q, k, v)))


class LinearAttention(nn.Module):
    """Attention by the feature map elu(x) + 1 (Katharopoulos et al., arXiv 2006.16236)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv_proj = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.out_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        q, k, v = (split_heads(part) for part in self.qkv_proj(x_BNC).chunk(3, dim=-1))
        q, k = elu(q) + 1, elu(k) + 1
        # A mean instead of the sum: the factor cancels, and half precision does not overflow.
        state_BHDD = k.mT @ (v / x_BNC.shape[1])
        normalizer_BHN1 = q @ k.mean(dim=-2, keepdim=True).mT
        return self.out_proj(merge_heads(q @ state_BHDD / normalizer_BHN1))


class PhysicsAttention(nn.Module):
    """Attention among slices that nodes belong to softly (Transolver, arXiv 2402.02366; irregular meshes)."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        head_dim = CHANNELS // HEADS
        self.temperature = nn.Parameter(torch.full((HEADS, 1, 1), 0.5))
        self.in_proj_x = nn.Linear(CHANNELS, CHANNELS)
        self.in_proj_fx = nn.Linear(CHANNELS, CHANNELS)
        self.slice_proj = nn.Linear(head_dim, slices)
        self.qkv_proj = nn.Linear(head_dim, 3 * head_dim, bias=False)
        self.out_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        logits_BHNM = self.slice_proj(split_heads(self.in_proj_x(x_BNC))) / self.temperature
        weights_BHNM = logits_BHNM.softmax(dim=-1)
        norm_BHM1 = weights_BHNM.sum(dim=2)[..., None]
        token_BHMD = weights_BHNM.mT @ split_heads(self.in_proj_fx(x_BNC)) / (norm_BHM1 + 1e-5)
        token_BHMD = scaled_dot_product_attention(*self.qkv_proj(token_BHMD).chunk(3, dim=-1))
        return self.out_proj(merge_heads(weights_BHNM @ token_BHMD))


class PerceiverAttention(nn.Module):
    """Cross-attention to latent tokens, among these, and back (Perceiver IO, arXiv 2107.14795)."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(0.02 * torch.randn(1, latents, CHANNELS))
        self.encode, self.process, self.decode = (CrossAttention() for _ in range(3))

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        z_BMC = self.encode(self.latents.expand(len(x_BNC), -1, -1), x_BNC)
        return self.decode(x_BNC, self.process(z_BMC, z_BMC))


class CrossAttention(nn.Module):
    """Multi-head attention of one set of tokens to another."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, CHANNELS)
        self.kv_proj = nn.Linear(CHANNELS, 2 * CHANNELS)
        self.out_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x_BMC: Tensor, context_BNC: Tensor) -> Tensor:
        """Map (B, M, C) and (B, N, C) to (B, M, C)."""
        k, v = (split_heads(part) for part in self.kv_proj(context_BNC).chunk(2, dim=-1))
        attended = scaled_dot_product_attention(split_heads(self.q_proj(x_BMC)), k, v)
        return self.out_proj(merge_heads(attended))


class Entry(NamedTuple):
    """How a layer is made; `build` takes the number of latent tokens, which may mean nothing to it."""

    build: Callable[[int], nn.Module]
    has_latents: bool


def member_of_flare(mixer: str, latents: int) -> nn.Module:
    """Mixer of the FLARE family by its name in `flare.MIXERS`."""
    config = FLAREConfig(
        in_channels=3, out_channels=1, channels=CHANNELS, num_heads=HEADS, num_latents=latents, mixer=mixer
    )
    return MIXERS[mixer](config)


LAYERS: dict[str, Entry] = {
    "FLARE": Entry(partial(member_of_flare, "flare"), has_latents=True),
    "FLARE++": Entry(partial(member_of_flare, "flare++"), has_latents=True),
    "physics": Entry(PhysicsAttention, has_latents=True),
    "Perceiver": Entry(PerceiverAttention, has_latents=True),
    "linear": Entry(lambda _: LinearAttention(), has_latents=False),
    "softmax": Entry(lambda _: SoftmaxAttention(), has_latents=False),
}
