"""The fused residual MLP against the same layers one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.testing import assert_close

from flare import fused_mlp
from flare.fused_mlp import forced_mlp, fused_residual_mlp, takes_fused

SHAPES = {"block": (6, 6, 6, 3), "input projection": (3, 6, 6, 2), "output projection": (6, 6, 1, 2)}


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(fused_mlp, "TILE_NUMBERS", 6 * 7)


def make_layers(shape: tuple[int, int, int, int]) -> list[nn.Linear]:
    inputs, hidden, outputs, count = shape
    widths = [(inputs, hidden), *[(hidden, hidden)] * count, (hidden, outputs)]
    return [nn.Linear(*width, dtype=torch.float64) for width in widths]


def residuals(layers: list[nn.Linear]) -> tuple[bool, bool]:
    return tuple(layer.in_features == layer.out_features for layer in (layers[0], layers[-1]))  # type: ignore[return-value]


def layer_by_layer(x: Tensor, layers: list[nn.Linear], input_residual: bool, output_residual: bool) -> Tensor:
    h = gelu(layers[0](x), approximate="tanh") + (x if input_residual else 0)
    for layer in layers[1:-1]:
        h = h + gelu(layer(h), approximate="tanh")
    return layers[-1](h) + (h if output_residual else 0)


def results(function: object, x: Tensor, layers: list[nn.Linear], weight: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    parameters = [p for layer in layers for p in layer.parameters()]
    y = function(x, layers, *residuals(layers))  # type: ignore[operator]
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), [x, *parameters])]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("nodes", [1, 7, 50], ids=["one node", "one tile", "many tiles"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_agrees_with_layers_one_by_one(
    shape: tuple[int, int, int, int], nodes: int, dtype: torch.dtype, tolerance: float
) -> None:
    layers = make_layers(shape)
    x, weight = 3 * torch.randn(2, nodes, shape[0]).double(), torch.randn(2, nodes, shape[2]).double()
    exact = results(layer_by_layer, x, layers, weight)
    fused = results(fused_residual_mlp, x.to(dtype), [layer.to(dtype) for layer in layers], weight.to(dtype))
    for ours, theirs in zip(fused, exact, strict=True):
        scale = theirs.abs().max().item()
        assert_close(ours, theirs, rtol=0, atol=tolerance * max(scale, 1), check_dtype=False)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_are_those_of_finite_differences(shape: tuple[int, int, int, int]) -> None:
    layers = make_layers(shape)
    x = torch.randn(9, shape[0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: fused_residual_mlp(x, layers, *residuals(layers)), (x,))


@pytest.mark.parametrize("value", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_far_from_zero(value: float) -> None:
    layers = make_layers(SHAPES["block"])
    x, weight = torch.full((3, 6), value).double(), torch.ones(3, 6).double()
    for ours, theirs in zip(
        results(fused_residual_mlp, x, layers, weight),
        results(layer_by_layer, x, layers, weight),
        strict=True,
    ):
        assert_close(ours, theirs)


def test_parameters_learn_where_the_input_needs_no_gradient() -> None:
    layers = make_layers(SHAPES["block"])
    x = torch.randn(20, 6).double()
    fused_residual_mlp(x, layers, True, True).sum().backward()
    fused = [layer.weight.grad for layer in layers]
    for layer in layers:
        layer.weight.grad = None
    layer_by_layer(x, layers, True, True).sum().backward()
    assert_close(fused, [layer.weight.grad for layer in layers])


def test_keeps_nothing_but_its_input_and_parameters() -> None:
    layers = make_layers(SHAPES["block"])
    x = torch.randn(20, 6, dtype=torch.float64, requires_grad=True)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        fused_residual_mlp(x, layers, True, True)
    assert sum(t.numel() for t in kept) == x.numel() + sum(
        p.numel() for lay in layers for p in lay.parameters()
    )


def test_second_derivatives_are_refused() -> None:
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    y = fused_residual_mlp(x, make_layers(SHAPES["block"]), True, True)
    with pytest.raises(RuntimeError, match=r"no second derivative.*plain"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode: type) -> None:
    layers = make_layers(SHAPES["block"])
    x = torch.randn(20, 6).double()
    with mode():
        assert_close(fused_residual_mlp(x, layers, True, True), layer_by_layer(x, layers, True, True))


def test_takes_large_inputs_of_plain_layers() -> None:
    layers = [nn.Linear(64, 64) for _ in range(3)]
    large, small = torch.empty(2**12, 64), torch.empty(8, 64)
    assert takes_fused(large, layers)
    assert not takes_fused(small, layers)
    assert not takes_fused(large.bfloat16(), layers)
    assert not takes_fused(large.to("meta"), layers)
    with torch.autocast("cpu", torch.bfloat16):
        assert not takes_fused(large, layers)
    layers[1].register_forward_hook(lambda *_: None)
    assert not takes_fused(large, layers)


def test_forced_by_name() -> None:
    layers = [nn.Linear(64, 64) for _ in range(3)]
    large, small = torch.empty(2**12, 64), torch.empty(8, 64)
    with forced_mlp("plain"):
        assert not takes_fused(large, layers)
    with forced_mlp("fused"):
        assert takes_fused(small, layers)
    assert not takes_fused(small, layers)
    with pytest.raises(ValueError, match="there are auto, plain, fused"), forced_mlp("quick"):
        pass
