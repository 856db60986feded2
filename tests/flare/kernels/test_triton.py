"""The kernels in Triton against the plain route, in Triton's interpreter.

``TRITON_INTERPRET=0`` in the environment runs the same tests on a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

pytest.importorskip("triton")

import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from flare.kernels import triton_route, triton_tiles
from flare.kernels.triton_route import INTERPRETED, encode_triton, route_triton
from flare.routing import encode, route_plain

DEVICE = "cpu" if INTERPRETED else "cuda"
CASES, HEADS = 2, 2

pytestmark = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="TRITON_INTERPRET=0, and no CUDA device"
)


def make_inputs(latents: int, nodes: int, head_dim: int, spread: float = 1.0) -> list[Tensor]:
    """Queries, keys and values in float64, whose digits all fit bfloat16: rounding is the kernels' alone."""
    q_BHMD = spread * torch.randn(CASES, HEADS, latents, head_dim)
    # In the memory order of a projection's output.
    k_BHND, v_BHND = (torch.randn(CASES, nodes, HEADS, head_dim).transpose(1, 2) for _ in range(2))
    return [t.to(DEVICE, torch.bfloat16).double() for t in (q_BHMD, k_BHND, v_BHND)]


def make_mask(nodes: int) -> Tensor:
    """Return a mask whose first case ends early, so that some parts are padding alone."""
    mask_BN = torch.rand(CASES, nodes) < 0.6
    mask_BN[:, 0] = True
    mask_BN[0, nodes // 3 + 1 :] = False
    return mask_BN.to(DEVICE)


def results(
    function: object, inputs: list[Tensor], mask_BN: Tensor | None, scale: float = 1.0
) -> list[Tensor]:
    """Mixed values of real nodes, and gradients of a weighted sum of these."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y_BHND = function(*leaves, mask_BN, scale)  # type: ignore[operator]
    if mask_BN is not None:
        y_BHND = y_BHND * mask_BN[:, None, :, None]
    weight = torch.linspace(-1, 1, y_BHND.numel(), dtype=torch.float64, device=DEVICE).view_as(y_BHND)
    return [y_BHND.detach(), *torch.autograd.grad((y_BHND.double() * weight).sum(), leaves)]


def relative_error(got: Tensor, exact: Tensor) -> float:
    return (torch.linalg.norm(got.double() - exact) / torch.linalg.norm(exact)).item()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("latents", "nodes", "head_dim", "programs"),
    [(5, 3, 4, 1024), (16, 64, 16, 1), (70, 150, 8, 8), (130, 70, 16, 1024)],
    ids=["less than a tile", "one part", "parts of several tiles", "several tiles of latent tokens"],
)
def test_agrees_with_the_plain_route(
    latents: int, nodes: int, head_dim: int, programs: int, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_tiles, "PROGRAMS", programs)
    inputs, mask_BN = make_inputs(latents, nodes, head_dim), make_mask(nodes) if masked else None
    ours = results(route_triton, [t.float() for t in inputs], mask_BN, 0.7)
    for got, exact in zip(ours, results(route_plain, inputs, mask_BN, 0.7), strict=True):
        assert got.dtype == torch.float32
        assert relative_error(got, exact) < 1e-5


@pytest.fixture
def bfloat16_in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the interpreter multiply bfloat16 as floating-point numbers, and the route trust it."""
    monkeypatch.setattr(triton_route, "DTYPES", (*triton_route.DTYPES, torch.bfloat16))
    multiply = InterpreterBuilder.create_dot

    def create_dot(self: InterpreterBuilder, a: TensorHandle, b: TensorHandle, *rest: object) -> TensorHandle:
        a, b = (self.cast_impl(t, tl.float32) if t.dtype.scalar == tl.bfloat16 else t for t in (a, b))
        return multiply(self, a, b, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)


@pytest.mark.usefixtures("bfloat16_in_the_interpreter")
@pytest.mark.parametrize(("dtype", "digits"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
@pytest.mark.parametrize(("latents", "head_dim", "masked"), [(20, 8, False), (130, 16, True)])
def test_half_precision_rounds_as_often_as_the_plain_route(
    dtype: torch.dtype, digits: float, latents: int, head_dim: int, masked: bool
) -> None:
    inputs, mask_BN = make_inputs(latents, 100, head_dim), make_mask(100) if masked else None
    half = [t.to(dtype) for t in inputs]
    exact = results(route_plain, inputs, mask_BN)
    plain, ours = results(route_plain, half, mask_BN), results(route_triton, half, mask_BN)
    for got, theirs, truth in zip(ours, plain, exact, strict=True):
        assert got.dtype == dtype
        assert relative_error(got, truth) < 2 * relative_error(theirs, truth) + 2 * digits


@pytest.mark.parametrize("spread", [10.0, 100.0, 1e4])
def test_scores_of_any_size(spread: float) -> None:
    inputs = make_inputs(20, 100, 8, spread)
    exact = route_plain(*inputs)
    single = [t.float() for t in inputs]
    assert (
        relative_error(route_triton(*single), exact) <= 3 * relative_error(route_plain(*single), exact) + 1e-5
    )
    assert all(gradient.isfinite().all() for gradient in results(route_triton, single, None))


def test_latent_tokens_out_of_reach_of_the_others_average_the_nodes() -> None:
    q_BHMD, k_BHND, v_BHND = make_inputs(20, 100, 8)
    k_BHND[..., 0] = 1.0
    q_BHMD[:, :, 0, 0] = -1e3
    z_BHMD = encode_triton(q_BHMD.float(), k_BHND.float(), v_BHND.float())
    assert_close(z_BHMD.double(), encode(q_BHMD, k_BHND, v_BHND), rtol=1e-3, atol=1e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = [t.float() for t in make_inputs(20, 40, 8)]
    _, *gradients = results(route_triton, inputs, None)
    weight = torch.linspace(-1, 1, inputs[1].numel(), dtype=torch.float64, device=DEVICE).view_as(inputs[1])
    for position, gradient in enumerate(gradients):
        ahead, behind = list(inputs), list(inputs)
        step = 0.01 * gradient / torch.linalg.norm(gradient)
        ahead[position], behind[position] = inputs[position] + step, inputs[position] - step
        change = ((route_triton(*ahead).double() - route_triton(*behind).double()) * weight).sum()
        assert_close(change, 2 * (step.double() * gradient).sum(), rtol=1e-2, atol=0.0)


def test_padding_is_without_effect_exactly() -> None:
    q, k, v = (t.float() for t in make_inputs(5, 70, 8))
    mask_BN = make_mask(70)
    real = mask_BN[:, None, :, None]
    others = [torch.where(real, t, 1e3 * torch.randn_like(t)) for t in (k, v)]
    for got, expected in zip(
        results(route_triton, [q, *others], mask_BN), results(route_triton, [q, k, v], mask_BN), strict=True
    ):
        if got.shape[2] == 70:
            got, expected = got * real, expected * real
        assert torch.equal(got, expected)


def test_the_same_numbers_each_time() -> None:
    inputs = [t.float() for t in make_inputs(5, 70, 8)]
    first, second = results(route_triton, inputs, None), results(route_triton, inputs, None)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_any_memory_order() -> None:
    q, k, v = (t.float() for t in make_inputs(5, 30, 8))
    q = q[:1, :1].expand(CASES, HEADS, -1, -1)
    y = route_triton(q, k, v)
    assert y.transpose(1, 2).is_contiguous()
    assert torch.equal(route_triton(q.contiguous(), k.contiguous(), v.mT.contiguous().mT), y)


def test_the_encoder_alone() -> None:
    inputs, mask_BN = make_inputs(20, 100, 8), make_mask(100)
    ours = encode_triton(*(t.float() for t in inputs), mask_BN, 0.7)
    assert relative_error(ours, encode(*inputs, mask_BN, 0.7)) < 1e-5


@pytest.mark.parametrize(
    ("dtype", "head_dim"), [(torch.float64, 8), (torch.float32, 24)], ids=["float64", "many channels"]
)
def test_what_does_not_fit_takes_the_plain_route(dtype: torch.dtype, head_dim: int) -> None:
    inputs = [t.to(dtype) for t in make_inputs(5, 30, head_dim)]
    assert torch.equal(route_triton(*inputs), route_plain(*inputs))
    assert torch.equal(encode_triton(*inputs), encode(*inputs))


def test_without_an_interpreter_the_cpu_takes_the_plain_route(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [t.float().cpu() for t in make_inputs(5, 30, 8)]
    monkeypatch.setattr(triton_route, "INTERPRETED", False)
    assert torch.equal(route_triton(*inputs), route_plain(*inputs))


def test_second_derivatives_are_refused() -> None:
    inputs = [t.float().requires_grad_() for t in make_inputs(5, 30, 8)]
    with pytest.raises(RuntimeError, match=r"no second derivative.*plain"):
        torch.autograd.grad(route_triton(*inputs).sum(), inputs[1], create_graph=True)


@pytest.mark.parametrize("to_latents", [True, False])
def test_operators_keep_what_they_promise(to_latents: bool) -> None:
    q, k, v = (t.float().requires_grad_() for t in make_inputs(20, 30, 8))
    arguments = (q, k, v, make_mask(30), 1.0, True) if to_latents else (q, k, q, None, 1.0, False)
    torch.library.opcheck(triton_route._attend, arguments)
    out, log_normaliser = triton_route._attend(*arguments)
    saved = [None if t is None else t.detach() for t in (out, *arguments[:4], out, log_normaliser)]
    torch.library.opcheck(triton_route._attend_backward, (*saved, 1.0, to_latents))


def test_compiles_to_one_graph() -> None:
    inputs, mask_BN = [t.float() for t in make_inputs(5, 30, 8)], make_mask(30)
    compiled = torch.compile(route_triton, backend="aot_eager", fullgraph=True)
    ours, expected = results(compiled, inputs, mask_BN), results(route_triton, inputs, mask_BN)
    for got, truth in zip(ours, expected, strict=True):
        assert_close(got, truth)


@pytest.mark.slow
def test_compiles_for_a_gpu_without_spilling_registers(tmp_path: Path) -> None:
    """Machine code for compute capability 9.0 needs no such device to be made."""
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.flare.kernels.compile_for_gpu"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    usage = json.loads(outcome.stdout)
    assert usage
    assert all(resources["STACK"] == resources["LOCAL"] == 0 for resources in usage.values()), usage
