"""The numbers that define a FLARE model."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class FLAREConfig:
    """Size of a FLARE model; the defaults are those published for LPBF (arXiv 2508.12594).

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of every hidden layer, C.
    num_blocks : int
        Blocks one after another.
    num_heads : int
        Heads, each with its own latent queries; divides `channels`.
    num_latents : int
        Latent tokens per head, M: the largest rank of the mixing matrix of a head.

    Raises
    ------
    ValueError
        If a number is not a positive integer, or `num_heads` does not divide `channels`.
    """

    in_channels: int
    out_channels: int
    channels: int = 64
    num_blocks: int = 8
    num_heads: int = 8
    num_latents: int = 128

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{field.name} must be a positive integer, not {value!r}")
        if self.channels % self.num_heads:
            raise ValueError(f"num_heads={self.num_heads} must divide channels={self.channels}")
