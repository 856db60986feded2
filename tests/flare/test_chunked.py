"""Attention in parts against the plain pair of attention calls."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from flare.chunked import decode_chunked, encode_chunked, route_chunked

CASES, HEADS, LATENTS = 2, 3, 5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_inputs(nodes: int, dtype: torch.dtype = torch.float64, head_dim: int = 4) -> list[Tensor]:
    """Queries, keys and values; the latter two in the memory order a mixer makes them in."""
    q_BHMD = torch.randn(CASES, HEADS, LATENTS, head_dim, dtype=dtype)
    k_BNHD, v_BNHD = torch.randn(2, CASES, nodes, HEADS, head_dim, dtype=dtype)
    return [q_BHMD, k_BNHD.transpose(1, 2), v_BNHD.transpose(1, 2)]


def dense_route(q: Tensor, k: Tensor, v: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """Slow twin of `route_chunked`: both attention matrices formed."""
    scores_BHMN = scale * q @ k.mT
    hidden = torch.zeros(()) if mask_BN is None else torch.where(mask_BN, 0.0, -torch.inf)[:, None, None]
    z_BHMD = torch.softmax(scores_BHMN + hidden, dim=-1) @ v
    return torch.softmax(scores_BHMN.mT, dim=-1) @ z_BHMD


def with_gradients(function, inputs: list[Tensor], *args, weight: Tensor, **kwargs) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y_BHND = function(*leaves, *args, **kwargs)
    (y_BHND * weight).sum().backward()
    return [y_BHND.detach(), *(leaf.grad for leaf in leaves)]


def ragged_mask(nodes: int) -> Tensor:
    """First case real from the middle on, second case real up to its first third and nothing between."""
    index_N = torch.arange(nodes)
    return torch.stack([index_N >= nodes // 2, index_N <= nodes // 3])


@pytest.mark.parametrize("chunk", [1, 7, 10, 40, 1000], ids="chunk={}".format)
@pytest.mark.parametrize("masked", [False, True], ids=["no mask", "chunks of padding alone"])
@pytest.mark.parametrize(
    ("dtype", "head_dim", "tolerance"),
    [(torch.float64, 4, 1e-12), (torch.float32, 8, 1e-4), (torch.float32, 16, 1e-4)],
)
def test_agrees_with_dense_attention(
    chunk: int, masked: bool, dtype: torch.dtype, head_dim: int, tolerance: float
) -> None:
    inputs = make_inputs(40, dtype, head_dim)
    mask_BN = ragged_mask(40) if masked else None
    weight = torch.randn(inputs[2].shape, dtype=dtype)
    got = with_gradients(route_chunked, inputs, mask_BN, 0.7, chunk=chunk, weight=weight)
    exact = with_gradients(dense_route, [t.double() for t in inputs], mask_BN, 0.7, weight=weight.double())
    for g, e in zip(got, exact, strict=True):
        assert_close(g, e, rtol=tolerance, atol=tolerance, check_dtype=False)
    with torch.no_grad():
        assert_close(route_chunked(*inputs, mask_BN, 0.7, chunk=chunk), got[0])


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_agree_with_finite_differences(masked: bool) -> None:
    inputs = [t.requires_grad_() for t in make_inputs(7)]
    mask_BN = ragged_mask(7) if masked else None
    assert torch.autograd.gradcheck(lambda *t: route_chunked(*t, mask_BN, 0.5, chunk=3), inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    inputs = make_inputs(600, dtype)
    mask_BN = ragged_mask(600)
    weight = torch.randn(inputs[2].shape, dtype=dtype)
    exact = with_gradients(dense_route, [t.double() for t in inputs], mask_BN, weight=weight.double())
    whole = with_gradients(route_chunked, inputs, mask_BN, weight=weight)
    parts = with_gradients(route_chunked, inputs, mask_BN, chunk=13, weight=weight)
    for p, w, e in zip(parts, whole, exact, strict=True):
        assert p.dtype == dtype
        error, error_whole = (torch.linalg.norm(t.double() - e) / torch.linalg.norm(e) for t in (p, w))
        assert error < max(1.5 * error_whole, 4 * torch.finfo(dtype).eps)


def test_autocast_gives_what_it_gives_for_plain_attention() -> None:
    q, k, v = make_inputs(50, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = encode_chunked(q, k.bfloat16(), v.bfloat16(), chunk=20)
        plain = scaled_dot_product_attention(q, k.bfloat16(), v.bfloat16(), scale=1.0)
    assert got.dtype == plain.dtype == torch.bfloat16
    assert_close(got, plain, rtol=0.02, atol=0.02)


def test_large_scores_do_not_overflow() -> None:
    q, k, v = make_inputs(40)
    assert_close(route_chunked(30 * q, 30 * k, v, chunk=9), dense_route(30 * q, 30 * k, v))


def test_decode_of_no_nodes() -> None:
    q, k, v = make_inputs(0)
    assert decode_chunked(q, k, torch.zeros_like(q)).shape == v.shape
