"""The residual MLP in tiles of nodes that stay in the cache, for the CPU.

At 64 channels a linear layer does too little arithmetic to hide the transfer of its input and output
from memory, and each tensor that is kept for the backward pass is transferred once more.  Here a tile
of nodes goes through all layers at once, and the backward pass begins with the same again: nothing is
kept but the input.

The tanh-GELU is computed as ``u sigmoid(2 sqrt(2/pi) (u + 0.044715 u^3))``, the same function, because
`torch.sigmoid` takes a sixth of the time of `torch.tanh` (PyTorch 2.13, x86 with AVX-512, float32).

Shape suffixes: R nodes of all cases, T nodes of a tile, C channels.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from flare.kernels.derivatives import refuse_second_derivative
from flare.kernels.threads import map_shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

TILE_NUMBERS = 2**17
"""Numbers in the widest layer of a tile; 512 KiB in float32."""

FEWEST_NUMBERS = 2**17
"""Numbers of the input below which the tensors of the plain way stay in the cache as well."""

GELU_CUBIC = 0.044715
"""Factor of the cubic term of the tanh-GELU (arXiv 1606.08415)."""

GELU_SLOPE = 2 * math.sqrt(2 / math.pi)
"""Factor within the sigmoid, twice that within the tanh (arXiv 1606.08415)."""


AUTO = "auto"
"""Stands for the name of the faster way."""

WAYS = (AUTO, "plain", "fused")
"""Names of the ways to compute a residual MLP; all agree to rounding."""

# A plain global, and not a context variable: the recomputation of activations, which runs in threads
# of the backward pass, sees it.
_forced = AUTO


@contextmanager
def forced_mlp(way: str) -> Iterator[None]:
    """Make every residual MLP of this process compute in one way.

    Parameters
    ----------
    way : str
        One of `WAYS`; ``"auto"`` forces none.

    Raises
    ------
    ValueError
        If there is no such way.
    """
    global _forced
    if way not in WAYS:
        raise ValueError(f"no way to compute a residual MLP is named {way!r}; there are {', '.join(WAYS)}")
    before, _forced = _forced, way
    try:
        yield
    finally:
        _forced = before


def takes_fused(x: Tensor, layers: Sequence[nn.Module]) -> bool:
    """Tell whether to compute the MLP by `fused_residual_mlp`: if forced, or if that is faster.

    Measured with PyTorch 2.13 on two x86 cores (``benchmarks/flare_training.py``).  Fusing is for
    host memory and float32 or float64 alone, for linear layers that nothing is attached to, and not
    for compiled models.
    """
    if _forced == "plain" or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    fits = (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and all(_is_plain_linear(layer, x.dtype) for layer in layers)
    )
    return fits and (_forced == "fused" or x.numel() >= FEWEST_NUMBERS)


def _is_plain_linear(layer: nn.Module, dtype: torch.dtype) -> bool:
    hooked = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks  # noqa: SLF001
    return type(layer) is nn.Linear and layer.bias is not None and layer.weight.dtype == dtype and not hooked


def fused_residual_mlp(
    x: Tensor, layers: Sequence[nn.Linear], input_residual: bool, output_residual: bool
) -> Tensor:
    """Apply a residual MLP as `flare.mlp.ResidualMLP` does, to rounding.

    Parameters
    ----------
    x : Tensor, (..., in_channels)
        Features; float32 or float64, in host memory.
    layers : sequence of Linear
        ``fc1``, ``fcs`` and ``fc2``, with biases.
    input_residual, output_residual : bool
        Skip connections around the first and the last layer.

    Returns
    -------
    Tensor, (..., out_channels)
        Differentiable once.
    """
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    y: Tensor = _FusedResidualMLP.apply(x, input_residual, output_residual, *parameters)
    return y


class _FusedResidualMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, input_residual: bool, output_residual: bool, *parameters: Tensor
    ) -> Tensor:
        x_RC = x.reshape(-1, x.shape[-1])
        chain = _Chain(parameters, input_residual, output_residual)
        y_RC = x_RC.new_empty(len(x_RC), len(parameters[-1]))

        def run(rows: slice) -> None:
            for tile in chain.tiles(rows):
                chain.forward(x_RC[tile], y_RC[tile])

        map_shares(run, len(x_RC))
        ctx.save_for_backward(x, *parameters)
        ctx.residuals = (input_residual, output_residual)
        return y_RC.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative('compute the model under flare.fused_mlp.forced_mlp("plain")')
        x, *parameters = ctx.saved_tensors
        chain = _Chain(parameters, *ctx.residuals)
        x_RC, dy_RC = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        dx_RC = torch.empty_like(x_RC) if ctx.needs_input_grad[0] else None

        def run(rows: slice) -> list[Tensor]:
            gradients = [torch.zeros_like(parameter) for parameter in parameters]
            for tile in chain.tiles(rows):
                dx_TC = None if dx_RC is None else dx_RC[tile]
                chain.backward(x_RC[tile], dy_RC[tile], dx_TC, gradients)
            return gradients

        gradients = [sum(shares[1:], shares[0]) for shares in zip(*map_shares(run, len(x_RC)), strict=True)]
        dx = None if dx_RC is None else dx_RC.view(x.shape)
        return dx, None, None, *gradients


class _Chain:
    """The layers of the MLP, applied to one tile."""

    def __init__(self, parameters: Sequence[Tensor], input_residual: bool, output_residual: bool) -> None:
        self.weights, self.biases = parameters[::2], parameters[1::2]
        self.skips = [input_residual] + [True] * (len(self.weights) - 2) + [output_residual]

    def tiles(self, rows: slice) -> Iterator[slice]:
        step = max(1, TILE_NUMBERS // max(max(weight.shape) for weight in self.weights))
        return (slice(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step))

    def forward(self, x_TC: Tensor, y_TC: Tensor) -> None:
        """Write the output for `x_TC` to `y_TC`."""
        h_TC = x_TC
        for weight, bias, skip in zip(self.weights[:-1], self.biases[:-1], self.skips[:-1], strict=True):
            u_TC = torch.addmm(bias, h_TC, weight.T)
            gate_TC = _gelu_gate(u_TC, u_TC * u_TC)
            h_TC = torch.addcmul(h_TC, u_TC, gate_TC) if skip else u_TC.mul_(gate_TC)
        torch.addmm(self.biases[-1], h_TC, self.weights[-1].T, out=y_TC)
        if self.skips[-1]:
            y_TC += h_TC

    def backward(
        self, x_TC: Tensor, dy_TC: Tensor, dx_TC: Tensor | None, gradients: Sequence[Tensor]
    ) -> None:
        """Write the gradient of `x_TC` to `dx_TC` and add those of the parameters to `gradients`."""
        inputs, slopes = self._inputs_and_slopes(x_TC)
        dh_TC = dy_TC
        for i in reversed(range(len(self.weights))):
            du_TC = dh_TC * slopes[i] if i < len(slopes) else dh_TC
            gradients[2 * i].addmm_(du_TC.T, inputs[i])
            gradients[2 * i + 1].add_(du_TC.sum(dim=0))
            if i == 0 and dx_TC is None:
                return
            dh_TC = torch.addmm(dh_TC, du_TC, self.weights[i]) if self.skips[i] else du_TC @ self.weights[i]
        assert dx_TC is not None
        dx_TC.copy_(dh_TC)

    def _inputs_and_slopes(self, x_TC: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Input of every layer, and derivative of the GELU after every layer but the last."""
        inputs, slopes = [x_TC], []
        for weight, bias, skip in zip(self.weights[:-1], self.biases[:-1], self.skips[:-1], strict=True):
            h_TC = inputs[-1]
            u_TC = torch.addmm(bias, h_TC, weight.T)
            square_TC = u_TC * u_TC
            gate_TC = _gelu_gate(u_TC, square_TC)
            gelu_TC = u_TC.mul_(gate_TC)
            # gate + u gate' with gate' = gate (1 - gate) times the derivative of the sigmoid's argument.
            rate_TC = square_TC.mul_(3 * GELU_SLOPE * GELU_CUBIC).add_(GELU_SLOPE)
            inputs.append(h_TC + gelu_TC if skip else gelu_TC.clone())
            slopes.append(gate_TC.addcmul(gelu_TC.addcmul_(gelu_TC, gate_TC, value=-1), rate_TC))
        return inputs, slopes


def _gelu_gate(u_TC: Tensor, square_TC: Tensor) -> Tensor:
    """Give the factor of the tanh-GELU to its argument, from the argument and its square."""
    return torch.addcmul(u_TC, u_TC, square_TC, value=GELU_CUBIC).mul_(GELU_SLOPE).sigmoid_()
