"""The mixing layers that `flare_scaling` compares, each (B, N, C) to (B, N, C).

Shape suffixes: B cases, N nodes, M latent tokens, C channels.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from baselines.blocks import CrossAttention, SelfAttention, make_latents
from baselines.linear_attention import LinearAttention
from baselines.transolver import PhysicsAttention, TransolverConfig
from flare import MIXERS, FLAREConfig

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS, HEADS = 128, 8
"""Setting of the published scaling figure (arXiv 2508.12594)."""


class PerceiverAttention(nn.Module):
    """Cross-attention to latent tokens, attention among these, and back (Perceiver IO, arXiv 2107.14795)."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.latents = make_latents(latents, CHANNELS, std=0.02)
        self.encode, self.decode = CrossAttention(CHANNELS, HEADS), CrossAttention(CHANNELS, HEADS)
        self.process = SelfAttention(CHANNELS, HEADS)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        z_BMC = self.encode(self.latents.expand(len(x_BNC), -1, -1), x_BNC)
        return self.decode(x_BNC, self.process(z_BMC))


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


def physics_attention(slices: int) -> nn.Module:
    """Attention among slices that nodes belong to softly (Transolver)."""
    return PhysicsAttention(TransolverConfig(3, 1, channels=CHANNELS, num_heads=HEADS, num_slices=slices))


LAYERS: dict[str, Entry] = {
    "FLARE": Entry(partial(member_of_flare, "flare"), has_latents=True),
    "FLARE++": Entry(partial(member_of_flare, "flare++"), has_latents=True),
    "physics": Entry(physics_attention, has_latents=True),
    "Perceiver": Entry(PerceiverAttention, has_latents=True),
    "linear": Entry(lambda _: LinearAttention(CHANNELS, HEADS), has_latents=False),
    "softmax": Entry(lambda _: SelfAttention(CHANNELS, HEADS), has_latents=False),
}
