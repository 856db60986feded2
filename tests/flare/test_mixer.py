"""The mixer against attention matrices formed explicitly in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from flare.mixer import FLAREMixer, route, route_widened, widening_pays

HEADS, LATENTS, HEAD_DIM = 3, 5, 4
Route = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def mixing_matrix(q_MD: Tensor, k_ND: Tensor) -> Tensor:
    """W = W_dec W_enc of one head and case, (N, N)."""
    encode_MN = torch.softmax(q_MD @ k_ND.T, dim=1)
    decode_NM = torch.softmax(k_ND @ q_MD.T, dim=1)
    return decode_NM @ encode_MN


def dense_route(q_HMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor) -> Tensor:
    """Slow twin of `route`: each head and case by itself, real nodes alone; zero on padding."""
    y_BHND = torch.zeros_like(v_BHND)
    for b, real in enumerate(mask_BN):
        for h in range(len(q_HMD)):
            y_BHND[b, h, real] = mixing_matrix(q_HMD[h], k_BHND[b, h, real]) @ v_BHND[b, h, real]
    return y_BHND


def make_inputs(nodes: int, dtype: torch.dtype, head_dim: int = HEAD_DIM) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (HEADS, LATENTS, head_dim), (2, HEADS, nodes, head_dim), (2, HEADS, nodes, head_dim)
    return tuple(torch.randn(shape, dtype=dtype) for shape in shapes)  # type: ignore[return-value]


def gradients(function: Route, inputs: tuple[Tensor, ...], mask_BN: Tensor, weight: Tensor) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    (function(*leaves, mask_BN) * weight * mask_BN[:, None, :, None]).sum().backward()
    return [leaf.grad for leaf in leaves]  # type: ignore[misc]


@pytest.mark.parametrize("route_function", [route, route_widened])
@pytest.mark.parametrize("nodes", [1, 3, 40], ids=["one node", "fewer nodes than latents", "many nodes"])
@pytest.mark.parametrize("head_dim", [4, 8])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_agrees_with_dense_matrix(
    route_function: Route, nodes: int, head_dim: int, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = make_inputs(nodes, dtype, head_dim)
    exact = tuple(t.double() for t in inputs)
    mask_BN = torch.rand(2, nodes) < 0.6
    mask_BN[:, 0] = True
    weight = torch.randn(exact[2].shape, dtype=torch.float64)
    tolerances = {"rtol": tolerance, "atol": tolerance, "check_dtype": False}

    for mask in (torch.ones_like(mask_BN), mask_BN):
        mixed = route_function(*inputs, mask) * mask[:, None, :, None]
        assert_close(mixed, dense_route(*exact, mask), **tolerances)
        for fast, slow in zip(
            gradients(route_function, inputs, mask, weight.to(dtype)),
            gradients(dense_route, exact, mask, weight),
            strict=True,
        ):
            assert_close(fast, slow, **tolerances)


def test_no_mask_equals_full_mask() -> None:
    inputs = make_inputs(20, torch.float64)
    assert_close(route(*inputs), route(*inputs, torch.ones(2, 20, dtype=torch.bool)))


def test_mixing_matrix_is_an_average_of_rank_at_most_m() -> None:
    q_HMD, k_BHND, _ = make_inputs(40, torch.float64)
    identity = torch.eye(40, dtype=torch.float64)
    columns = [
        route(q_HMD[:1], k_BHND[:1, :1], identity[None, None, :, i : i + HEAD_DIM])
        for i in range(0, 40, HEAD_DIM)
    ]
    matrix_NN = torch.cat(columns, dim=-1)[0, 0]
    assert_close(matrix_NN, mixing_matrix(q_HMD[0], k_BHND[0, 0]))
    assert torch.linalg.matrix_rank(matrix_NN) == LATENTS
    assert_close(matrix_NN.sum(dim=1), torch.ones(40, dtype=torch.float64))


def test_one_node_keeps_its_value() -> None:
    q_HMD, k_BHND, v_BHND = make_inputs(1, torch.float64)
    assert_close(route(q_HMD, k_BHND, v_BHND), v_BHND)


def test_widens_where_it_was_measured_to_pay() -> None:
    assert widening_pays(torch.empty(1, 8, 10, 8))
    assert not widening_pays(torch.empty(1, 8, 10, 16))
    assert not widening_pays(torch.empty(1, 8, 10, 8, dtype=torch.float64))
    assert not widening_pays(torch.empty(1, 8, 10, 8, dtype=torch.bfloat16))
    assert not widening_pays(torch.empty(1, 8, 10, 8, device="meta"))


def test_latent_queries_are_the_stored_parameter_in_memory_order() -> None:
    mixer = FLAREMixer(channels=12, num_heads=HEADS, num_latents=LATENTS)
    assert mixer.latent_q.shape == (12, LATENTS)
    assert mixer.latent_queries().shape == (HEADS, LATENTS, 4)
    assert torch.equal(mixer.latent_queries().flatten(), mixer.latent_q.flatten())


def test_initial_latent_queries_have_published_spread() -> None:
    latent_q = FLAREMixer(channels=64, num_heads=8, num_latents=128).latent_q
    assert abs(latent_q.std().item() - 0.1) < 0.005
    assert abs(latent_q.mean().item()) < 0.005
