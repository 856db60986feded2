"""The residual MLP that FLARE uses for every nonlinear map of a node's features.

Shape suffixes: B cases, N nodes, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import gelu

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_STD = 0.02
"""Standard deviation of initial weights (reference implementation, vpuri3/FLARE.py)."""


def linear(in_channels: int, out_channels: int) -> nn.Linear:
    """Linear layer with weights drawn from N(0, 0.02) and zero bias."""
    layer = nn.Linear(in_channels, out_channels)
    nn.init.normal_(layer.weight, std=WEIGHT_STD)
    nn.init.zeros_(layer.bias)
    return layer


class ResidualMLP(nn.Module):
    """Linear and tanh-GELU layers, each with a skip connection where the width allows one.

    The layers are ``fc1`` (in to hidden), ``fcs`` (hidden to hidden, always with a skip) and
    ``fc2`` (hidden to out, no activation).

    Parameters
    ----------
    in_channels, hidden_channels, out_channels : int
        Widths.
    num_layers : int
        Number of hidden-to-hidden layers.
    input_residual : bool
        Skip connection around ``fc1``; needs `in_channels` equal to `hidden_channels`.
    output_residual : bool
        Skip connection around ``fc2``; needs `hidden_channels` equal to `out_channels`.
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
    ) -> None:
        super().__init__()
        assert in_channels == hidden_channels or not input_residual
        assert hidden_channels == out_channels or not output_residual
        self.input_residual = input_residual
        self.output_residual = output_residual
        self.fc1 = linear(in_channels, hidden_channels)
        self.fcs = nn.ModuleList([linear(hidden_channels, hidden_channels) for _ in range(num_layers)])
        self.fc2 = linear(hidden_channels, out_channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels), each node by itself."""
        h_BNC = gelu(self.fc1(x_BNC), approximate="tanh")
        if self.input_residual:
            h_BNC = x_BNC + h_BNC
        for fc in self.fcs:
            h_BNC = h_BNC + gelu(fc(h_BNC), approximate="tanh")
        y_BNC: Tensor = self.fc2(h_BNC)
        return h_BNC + y_BNC if self.output_residual else y_BNC
