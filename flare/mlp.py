"""What FLARE does to each node by itself: residual and gated MLPs, and normalisation.

Shape suffixes: B cases, N nodes, C channels.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from flare.config import SINGLE_LINEAR
from flare.fused_mlp import fused_residual_mlp, takes_fused

if TYPE_CHECKING:
    from collections.abc import Callable

    from flare.config import ActivationName, FLAREConfig, NormName

WEIGHT_STD = 0.02
"""Standard deviation of initial weights (reference implementation, vpuri3/FLARE.py)."""

RMS_EPSILON = 1e-6
"""Added to the mean square in RMSNorm (reference implementation, vpuri3/FLARE.py)."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": partial(gelu, approximate="tanh"), "silu": silu}
"""Nonlinearities by name."""


def linear(in_channels: int, out_channels: int) -> nn.Linear:
    """Linear layer with weights drawn from N(0, 0.02) and zero bias."""
    layer = nn.Linear(in_channels, out_channels)
    nn.init.normal_(layer.weight, std=WEIGHT_STD)
    nn.init.zeros_(layer.bias)
    return layer


def make_norm(name: NormName, channels: int, *, learned: bool = True) -> nn.Module:
    """Normalisation of this name over the last axis, with learned scale (and shift) or without."""
    if name == "rms":
        return nn.RMSNorm(channels, eps=RMS_EPSILON, elementwise_affine=learned)
    return nn.LayerNorm(channels, elementwise_affine=learned)


class ResidualMLP(nn.Module):
    """Linear layers and nonlinearities, each with a skip connection where the width allows one.

    The layers are ``fc1`` (in to hidden), ``fcs`` (hidden to hidden, always with a skip) and
    ``fc2`` (hidden to out, no activation).  With `num_layers` -1 it is one layer ``fc`` (in to out).

    Parameters
    ----------
    in_channels, hidden_channels, out_channels : int
        Widths.
    num_layers : int
        Number of hidden-to-hidden layers, or -1.
    input_residual : bool
        Skip connection around ``fc1``, if `in_channels` equals `hidden_channels`.
    output_residual : bool
        Skip connection around ``fc2``, if `hidden_channels` equals `out_channels`.
    activation : {"gelu", "silu"}
        Nonlinearity.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        *,
        input_residual: bool = True,
        output_residual: bool = True,
        activation: ActivationName = "gelu",
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.activation = activation
        self.input_residual = input_residual and in_channels == hidden_channels
        self.output_residual = output_residual and hidden_channels == out_channels
        if num_layers == SINGLE_LINEAR:
            self.input_residual = input_residual and output_residual and in_channels == out_channels
            self.fc = linear(in_channels, out_channels)
            return
        self.fc1 = linear(in_channels, hidden_channels)
        self.fcs = nn.ModuleList([linear(hidden_channels, hidden_channels) for _ in range(num_layers)])
        self.fc2 = linear(hidden_channels, out_channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels), each node by itself."""
        if self.num_layers == SINGLE_LINEAR:
            mapped_BNC: Tensor = self.fc(x_BNC)
            return x_BNC + mapped_BNC if self.input_residual else mapped_BNC
        layers = [self.fc1, *self.fcs, self.fc2]
        if self.activation == "gelu" and takes_fused(x_BNC, layers):
            return fused_residual_mlp(x_BNC, layers, self.input_residual, self.output_residual)
        activation = ACTIVATIONS[self.activation]
        h_BNC = activation(self.fc1(x_BNC))
        if self.input_residual:
            h_BNC = x_BNC + h_BNC
        for fc in self.fcs:
            h_BNC = h_BNC + activation(fc(h_BNC))
        y_BNC: Tensor = self.fc2(h_BNC)
        return h_BNC + y_BNC if self.output_residual else y_BNC


class GatedMLP(nn.Module):
    """One hidden layer, multiplied by the nonlinearity of another: ``fc2(act(gate(x)) * fc1(x))``.

    Parameters
    ----------
    channels, hidden_channels : int
        Widths.
    activation : {"gelu", "silu"}
        Nonlinearity of the gate: GELU makes GEGLU, SiLU makes SwiGLU (Shazeer, arXiv 2002.05202).
    """

    def __init__(self, channels: int, hidden_channels: int, activation: ActivationName) -> None:
        super().__init__()
        self.activation = activation
        self.gate = linear(channels, hidden_channels)
        self.fc1 = linear(channels, hidden_channels)
        self.fc2 = linear(hidden_channels, channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (..., channels) to (..., channels), each node by itself."""
        y_BNC: Tensor = self.fc2(ACTIVATIONS[self.activation](self.gate(x_BNC)) * self.fc1(x_BNC))
        return y_BNC


def make_feed_forward(config: FLAREConfig) -> nn.Module:
    """MLP of a block, (..., C) to (..., C)."""
    channels, hidden = config.channels, config.hidden_channels(config.feed_forward_ratio)
    if config.feed_forward == "geglu":
        return GatedMLP(channels, hidden, "gelu")
    if config.feed_forward == "swiglu":
        return GatedMLP(channels, hidden, "silu")
    return ResidualMLP(channels, hidden, channels, config.feed_forward_layers, activation=config.activation)
