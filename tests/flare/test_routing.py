"""Every route against attention matrices formed explicitly in float64."""

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from flare import routing
from flare.folding import decode_folded, encode_folded
from flare.partial_attention import attend, attend_backward, merge
from flare.routing import ROUTES, Route, chosen_route, fastest_route, forced_route, gather, route

CASES, HEADS, LATENTS = 2, 3, 5

ROOT = Path(__file__).parents[2]


def dense_encode(q: Tensor, k: Tensor, v: Tensor, mask_BN: Tensor | None, scale: float = 1.0) -> Tensor:
    """Slow twin of `encode`: each case by itself, real nodes alone."""
    if mask_BN is None:
        mask_BN = torch.ones(k.shape[0], k.shape[2], dtype=torch.bool)
    return torch.stack(
        [
            torch.softmax(scale * q[b] @ k[b][:, real].mT, dim=-1) @ v[b][:, real]
            for b, real in enumerate(mask_BN)
        ]
    )


def dense_route(q: Tensor, k: Tensor, v: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """Slow twin of every route."""
    return torch.softmax(scale * k @ q.mT, dim=-1) @ dense_encode(q, k, v, mask_BN, scale)


def route_folded_small(
    q: Tensor, k: Tensor, v: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Fold slices of seven nodes or more, so that small cases have several and a remainder."""
    return decode_folded(q, k, encode_folded(q, k, v, mask_BN, scale, slice_nodes=7), scale, slice_nodes=7)


def make_inputs(nodes: int, dtype: torch.dtype, head_dim: int = 4) -> tuple[Tensor, ...]:
    q_BHMD = torch.randn(CASES, HEADS, LATENTS, head_dim, dtype=dtype)
    # In the memory order of a projection's output, (B, N, H, D).
    k, v = (torch.randn(CASES, nodes, HEADS, head_dim, dtype=dtype).transpose(1, 2) for _ in range(2))
    return q_BHMD, k, v


def make_mask(nodes: int) -> Tensor:
    mask_BN = torch.rand(CASES, nodes) < 0.6
    mask_BN[:, -1] = True
    mask_BN[0, : nodes - 1] = False
    return mask_BN


def outcome(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], mask_BN: Tensor | None, scale: float
) -> list[Tensor]:
    """Output on real nodes and the gradients of a loss that looks at these alone."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    y_BHND = function(*leaves, mask_BN, scale)
    if mask_BN is not None:
        y_BHND = y_BHND * mask_BN[:, None, :, None]
    weight = torch.linspace(-1, 1, y_BHND.numel(), dtype=y_BHND.dtype).view(y_BHND.shape)
    return [y_BHND, *torch.autograd.grad((y_BHND * weight).sum(), leaves)]


def names_here() -> list[str]:
    """Return the names of the routes that this machine can take; Triton is for Linux alone."""
    return [name for name in ROUTES if name != "triton" or find_spec("triton")]


def all_routes() -> dict[str, Route]:
    return {**{name: routing.find_route(name) for name in names_here()}, "folded small": route_folded_small}


@pytest.mark.parametrize("name", all_routes())
@pytest.mark.parametrize("nodes", [1, 3, 40], ids=["one node", "fewer nodes than latents", "many nodes"])
@pytest.mark.parametrize("head_dim", [4, 8])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_agrees_with_dense_matrix(
    name: str, nodes: int, head_dim: int, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = make_inputs(nodes, dtype, head_dim)
    exact = tuple(t.double() for t in inputs)
    for mask_BN, scale in itertools.product((None, make_mask(nodes)), (1.0, head_dim**-0.5)):
        fast = outcome(all_routes()[name], inputs, mask_BN, scale)
        slow = outcome(dense_route, exact, mask_BN, scale)
        for f, s in zip(fast, slow, strict=True):
            assert_close(f, s, rtol=tolerance, atol=tolerance, check_dtype=False)


@pytest.mark.parametrize("name", all_routes())
def test_no_mask_equals_full_mask(name: str) -> None:
    inputs = make_inputs(20, torch.float64)
    function = all_routes()[name]
    assert_close(function(*inputs), function(*inputs, torch.ones(CASES, 20, dtype=torch.bool)))


@pytest.mark.parametrize("name", all_routes())
def test_padding_is_without_effect_exactly(name: str) -> None:
    q, k, v = make_inputs(20, torch.float32)
    mask_BN = make_mask(20)
    other_k, other_v = (torch.where(mask_BN[:, None, :, None], t, 100 * torch.randn_like(t)) for t in (k, v))
    real = mask_BN[:, None, :, None]
    function = all_routes()[name]
    assert torch.equal(function(q, k, v, mask_BN) * real, function(q, other_k, other_v, mask_BN) * real)


@pytest.mark.parametrize("name", all_routes())
def test_one_node_keeps_its_value(name: str) -> None:
    q, k, v = make_inputs(1, torch.float64)
    assert_close(all_routes()[name](q, k, v), v)


@pytest.mark.parametrize("name", all_routes())
def test_follows_autocast(name: str) -> None:
    inputs = make_inputs(30, torch.float32, head_dim=8)
    exact = outcome(dense_route, inputs, None, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = outcome(all_routes()[name], inputs, None, 1.0)
    assert rounded[0].dtype == torch.bfloat16
    for r, e in zip(rounded, exact, strict=True):
        assert torch.linalg.norm(r - e) < 0.02 * torch.linalg.norm(e)


def test_large_scores_do_not_overflow_the_merged_softmax() -> None:
    q, k, v = (30 * t for t in make_inputs(40, torch.float64))
    assert_close(route_folded_small(q, k, v), dense_route(q, k, v))


def test_mixing_matrix_is_an_average_of_rank_at_most_m() -> None:
    q, k, _ = make_inputs(40, torch.float64)
    identity = torch.eye(40, dtype=torch.float64)
    columns = [route(q[:1, :1], k[:1, :1], identity[None, None, :, i : i + 4]) for i in range(0, 40, 4)]
    matrix_NN = torch.cat(columns, dim=-1)[0, 0]
    assert torch.linalg.matrix_rank(matrix_NN) == LATENTS
    assert_close(matrix_NN.sum(dim=1), torch.ones(40, dtype=torch.float64))


@pytest.mark.parametrize("name", ["auto", *names_here()])
def test_gather_is_the_first_half_of_every_route(name: str) -> None:
    inputs, mask_BN = make_inputs(20, torch.float64), make_mask(20)
    assert_close(gather(*inputs, mask_BN, 0.5, name=name), dense_encode(*inputs, mask_BN, 0.5))


@pytest.mark.parametrize("device", ["cpu", "other"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_partial_attention_merges_to_the_whole(
    device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "other":
        monkeypatch.setattr("flare.partial_attention._FUSED_ON_CPU", ())
    q, k, v = (t.requires_grad_() for t in make_inputs(12, dtype))
    whole = dense_encode(q, k, v, None, 0.7)
    grad_z = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, (q, k, v), grad_z)

    with torch.no_grad():
        parts = [(k[:, :, :5], v[:, :, :5]), (k[:, :, 5:], v[:, :, 5:])]
        z, log_normaliser = merge(*map(torch.stack, zip(*(attend(q, *p, 0.7) for p in parts), strict=True)))
        assert_close(z, whole)
        assert_close(log_normaliser, (0.7 * q @ k.mT).logsumexp(dim=-1))
        grads = [attend_backward(grad_z, q, *part, z, log_normaliser, 0.7) for part in parts]
    (grad_q, grad_k, grad_v), (grad_q_2, grad_k_2, grad_v_2) = grads
    got = (grad_q + grad_q_2, torch.cat([grad_k, grad_k_2], 2), torch.cat([grad_v, grad_v_2], 2))
    for g, e in zip(got, expected, strict=True):
        assert_close(g, e, rtol=1e-4, atol=1e-5)


def test_partial_attention_calls_the_cuda_kernels_as_they_are_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shapes alone, without a GPU: tensors without data run no kernel."""
    monkeypatch.setattr("flare.partial_attention._is_fused_on_cuda", lambda _: True)
    q, k = torch.empty(2, 3, 5, 8, device="meta"), torch.empty(2, 3, 40, 8, device="meta")
    z, log_normaliser = attend(q, k, k)
    assert (z.shape, log_normaliser.shape) == (q.shape, q.shape[:3])
    grads = attend_backward(z, q, k, k, z, log_normaliser)
    assert [g.shape for g in grads] == [q.shape, k.shape, k.shape]


def test_widens_where_it_was_measured_to_pay() -> None:
    def name(*shape: int, **options: object) -> str:
        k = torch.empty(shape, **options)  # type: ignore[call-overload]
        return fastest_route(k, k, k)

    assert name(1, 8, 10, 8) == "widened"
    assert name(1, 8, 10, 16) == "plain"
    assert name(1, 8, 10, 8, dtype=torch.float64) == "plain"
    assert name(1, 8, 10, 8, dtype=torch.bfloat16) == "plain"
    assert name(1, 8, 10, 8, device="meta") == "plain"


def test_a_forced_route_beats_the_one_asked_for() -> None:
    inputs = make_inputs(10, torch.float32)
    assert chosen_route(*inputs, name="folded") == "folded"
    with forced_route("widened"):
        assert chosen_route(*inputs, name="folded") == "widened"
        with forced_route("auto"):
            assert chosen_route(*inputs, name="folded") == "folded"
        with pytest.raises(KeyError), forced_route("plain"):
            raise KeyError
        assert chosen_route(*inputs) == "widened"
    assert chosen_route(*inputs) == "plain"


def test_unknown_route_is_named() -> None:
    with pytest.raises(ValueError, match="no route named 'fast'; there are auto, plain, widened, folded"):
        forced_route("fast").__enter__()


def test_a_route_may_be_imported_when_first_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROUTES, "late", "flare.routing:route_plain")
    inputs = make_inputs(10, torch.float32)
    assert torch.equal(route(*inputs, name="late"), routing.route_plain(*inputs))
    assert ROUTES["late"] is routing.route_plain


def test_a_route_that_needs_a_missing_package_says_so() -> None:
    """And costs nobody else anything: a fresh process imports the package without it."""
    program = """
        import sys
        sys.modules["triton"] = None
        import flare
        assert not [name for name in sys.modules if name.startswith("flare.kernels.triton")]
        try:
            flare.forced_route("triton").__enter__()
        except ValueError as error:
            print(error)
    """
    outcome = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "route 'triton' needs the package triton, which is not installed here" in outcome.stdout


def test_a_compiled_function_notices_a_forced_route() -> None:
    inputs = make_inputs(10, torch.float32)
    compiled = torch.compile(lambda *t: route(*t), backend="eager", fullgraph=True)
    seen = []
    for name in ("plain", "folded", "widened"):
        with forced_route(name):
            seen.append(compiled(*inputs))
            assert torch.equal(seen[-1], route(*inputs))
