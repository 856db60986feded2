"""The numbers and choices that define a model of the FLARE family."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from flare.routing import AUTO, check_route_name

MixerName = Literal["flare", "flare++", "flare++gated"]
ScaleName = Literal["auto", "one", "inverse_sqrt"]
FeedForwardName = Literal["residual", "geglu", "swiglu"]
ActivationName = Literal["gelu", "silu"]
NormName = Literal["layer", "rms"]

SINGLE_LINEAR = -1
"""Number of hidden layers that stands for one linear layer in place of an MLP."""

_CHOICES = {
    "mixer": get_args(MixerName),
    "attention_scale": get_args(ScaleName),
    "feed_forward": get_args(FeedForwardName),
    "activation": get_args(ActivationName),
    "norm": get_args(NormName),
}
_LEAST = {
    "projection_layers": SINGLE_LINEAR,
    "feed_forward_layers": SINGLE_LINEAR,
    "in_out_layers": 0,
    "latent_blocks": 0,
    "condition_channels": 0,
}


@dataclass(frozen=True)
class FLAREConfig:
    """A model of the FLARE family; the defaults are FLARE as published for LPBF (arXiv 2508.12594).

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of the model, C.
    num_blocks : int
        Blocks one after another.
    num_heads : int
        Heads, each with its own latent queries; divides `channels`.
    num_latents : int
        Latent tokens per head, M: the largest rank of the mixing matrix of a head.
    mixer : {"flare", "flare++", "flare++gated"}
        How the routing queries come about: learned; computed from the input (arXiv 2608.11519, version
        1); or learned and corrected by what is computed from the input (its later version).
    projection_layers : int
        Hidden layers of each MLP that makes keys or values; -1 for one linear layer with a skip.
    projection_ratio : float
        Hidden width of these MLPs over `channels`.
    shared_latents : bool
        Whether all heads have the same latent queries.
    latent_blocks : int
        Transformer blocks among the latent tokens, between encode and decode.
    qk_norm : bool
        Whether queries and keys of each head are normalised; "flare++gated" does so by itself.
    attention_scale : {"auto", "one", "inverse_sqrt"}
        What scores are multiplied by: 1, or 1 / sqrt(D).  "auto" takes 1 for FLARE and 1 / sqrt(D) for
        both of FLARE++, as published.
    feed_forward : {"residual", "geglu", "swiglu"}
        MLP of a block: the residual MLP, or one hidden layer gated by another (arXiv 2002.05202).
    feed_forward_layers : int
        Hidden layers of the residual MLP of a block; -1 for one linear layer with a skip.
    feed_forward_ratio : float
        Hidden width of the MLP of a block over `channels`.
    in_out_layers : int
        Hidden layers of the input and output projections.
    activation : {"gelu", "silu"}
        Nonlinearity of residual MLPs; GELU in its tanh form.
    norm : {"layer", "rms"}
        Normalisation, with learned scale: LayerNorm or RMSNorm.
    condition_channels : int
        Scalars that describe a whole case, such as its material or scale; none by default.
    route : str
        How attention is computed, without effect on what: a name in `flare.routing.ROUTES`, or "auto".

    Raises
    ------
    ValueError
        If a value is not of these, `num_heads` does not divide `channels`, or `qk_norm` is asked of
        "flare++gated".
    """

    in_channels: int
    out_channels: int
    channels: int = 64
    num_blocks: int = 8
    num_heads: int = 8
    num_latents: int = 128
    mixer: MixerName = "flare"
    projection_layers: int = 3
    projection_ratio: float = 1.0
    shared_latents: bool = False
    latent_blocks: int = 0
    qk_norm: bool = False
    attention_scale: ScaleName = "auto"
    feed_forward: FeedForwardName = "residual"
    feed_forward_layers: int = 3
    feed_forward_ratio: float = 1.0
    in_out_layers: int = 2
    activation: ActivationName = "gelu"
    norm: NormName = "layer"
    condition_channels: int = 0
    route: str = AUTO

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, field.type, getattr(self, field.name))
        if self.channels % self.num_heads:
            raise ValueError(f"num_heads={self.num_heads} must divide channels={self.channels}")
        if self.qk_norm and self.mixer == "flare++gated":
            raise ValueError("qk_norm is for other mixers: flare++gated has norms of its own; leave it out")
        check_route_name(self.route)

    @property
    def head_channels(self) -> int:
        """Channels per head, D."""
        return self.channels // self.num_heads

    @property
    def score_scale(self) -> float:
        """What attention scores are multiplied by."""
        published = "one" if self.mixer == "flare" else "inverse_sqrt"
        name = published if self.attention_scale == "auto" else self.attention_scale
        return 1.0 if name == "one" else 1 / math.sqrt(self.head_channels)

    def hidden_channels(self, ratio: float) -> int:
        """Hidden width at a ratio to `channels`, one at least."""
        return max(1, round(self.channels * ratio))


@dataclass(frozen=True)
class FLAREPlusPlusConfig(FLAREConfig):
    """As `FLAREConfig`, with the mixer of FLARE++ unless told otherwise."""

    mixer: MixerName = "flare++"


def _check(name: str, annotation: object, value: object) -> None:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(_CHOICES[name])}, not {value!r}")
    elif annotation == "int":
        least = _LEAST.get(name, 1)
        if type(value) is not int or value < least:
            kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
            raise ValueError(f"{name} must be {kind}, not {value!r}")
    elif annotation == "float":
        if type(value) not in (int, float) or not 0 < value < math.inf:  # type: ignore[operator]
            raise ValueError(f"{name} must be a positive number, not {value!r}")
    elif annotation == "bool":
        if type(value) is not bool:
            raise ValueError(f"{name} must be true or false, not {value!r}")
    elif not isinstance(value, str):
        raise ValueError(f"{name} must be a name, not {value!r}")
