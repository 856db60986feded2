"""The kernels behind the plain modules against plain expressions."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from flare.kernels import shared_scores
from flare.kernels.shared_scores import route_shared
from flare.kernels.threads import map_shares
from flare.routing import route_plain

CASES, HEADS, LATENTS, HEAD_DIM = 2, 3, 5, 4


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(shared_scores, "TILE_SCORES", 7 * LATENTS)


@pytest.fixture
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make_inputs(nodes: int, spread: float = 1.0) -> list[Tensor]:
    q_BHMD = torch.randn(CASES, HEADS, LATENTS, HEAD_DIM)
    # In the memory order of a projection's output.
    k_BHND, v_BHND = (torch.randn(CASES, nodes, HEADS, HEAD_DIM).transpose(1, 2) for _ in range(2))
    return [(spread * q_BHMD).double(), k_BHND.double(), v_BHND.double()]


def results(route: object, inputs: list[Tensor], mask_BN: Tensor | None, scale: float = 1.0) -> list[Tensor]:
    """Mixed values of real nodes, and gradients of a weighted sum of these."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y_BHND = route(*leaves, mask_BN, scale)  # type: ignore[operator]
    if mask_BN is not None:
        y_BHND = y_BHND * mask_BN[:, None, :, None]
    weight = torch.linspace(-1, 1, y_BHND.numel(), dtype=y_BHND.dtype).view_as(y_BHND)
    return [y_BHND.detach(), *torch.autograd.grad((y_BHND * weight).sum(), leaves)]


@pytest.mark.parametrize("nodes", [1, 7, 40], ids=["one node", "one tile", "many tiles"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_shared_scores_agree_with_two_attention_calls(
    nodes: int, masked: bool, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = make_inputs(nodes)
    mask_BN = (torch.rand(CASES, nodes) < 0.6) if masked else None
    if mask_BN is not None:
        mask_BN[:, -1] = True
    shared = results(route_shared, [t.to(dtype) for t in inputs], mask_BN, 0.7)
    for ours, theirs in zip(shared, results(route_plain, inputs, mask_BN, 0.7), strict=True):
        assert_close(ours, theirs, rtol=tolerance, atol=tolerance, check_dtype=False)


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = [t.requires_grad_() for t in make_inputs(9)]
    assert torch.autograd.gradcheck(route_shared, inputs)


def test_padding_that_dwarfs_the_real_scores_does_not_count() -> None:
    inputs = make_inputs(20)
    mask_BN = torch.arange(20).expand(CASES, -1) < 12
    inputs[1][:, :, 12:] *= 1e3
    assert_close(results(route_shared, inputs, mask_BN), results(route_plain, inputs, mask_BN))


@pytest.mark.parametrize("spread", [10.0, 30.0, 100.0, 1e3, 1e5])
def test_scores_of_any_size_in_float32(spread: float) -> None:
    inputs = make_inputs(30, spread)
    exact = results(route_plain, inputs, None)[0]
    mixed = results(route_shared, [t.float() for t in inputs], None)[0]
    plain = results(route_plain, [t.float() for t in inputs], None)[0]
    assert (mixed - exact).abs().max() <= 3 * (plain - exact).abs().max() + 1e-5


def test_latent_tokens_out_of_reach_of_the_others_take_the_plain_route() -> None:
    """Scores of one latent token lie 1000 below those of the others: it still averages the nodes."""
    q_BHMD, k_BHND, v_BHND = make_inputs(30)
    k_BHND[..., 0] = 1.0
    q_BHMD[:, :, 0, 0] = -1e3
    inputs = [q_BHMD, k_BHND, v_BHND]
    assert_close(results(route_shared, inputs, None), results(route_plain, inputs, None))
    _, weight_BHM = shared_scores._SharedScores.apply(*inputs, None, 1.0)
    assert weight_BHM[..., 0].max() == 0


def test_what_cannot_share_takes_the_plain_route() -> None:
    inputs = make_inputs(20)
    half = [t.bfloat16() for t in inputs]
    assert torch.equal(route_shared(*half), route_plain(*half))
    with torch.autocast("cpu", torch.bfloat16):
        assert route_shared(*(t.float() for t in inputs)).dtype == torch.bfloat16


def test_second_derivatives_are_refused() -> None:
    inputs = [t.requires_grad_() for t in make_inputs(9)]
    with pytest.raises(RuntimeError, match=r"no second derivative.*plain"):
        torch.autograd.grad(route_shared(*inputs).sum(), inputs[1], create_graph=True)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.usefixtures("two_threads")
def test_without_gradients(mode: type) -> None:
    inputs = make_inputs(20)
    with mode():
        assert_close(route_shared(*inputs), route_plain(*inputs))


@pytest.mark.usefixtures("two_threads")
def test_shares_cover_the_range_in_order_each_in_a_thread_of_its_own() -> None:
    barrier = threading.Barrier(2)

    def share_and_threads(share: slice) -> tuple[int, int, int, bool]:
        barrier.wait(timeout=30)
        return share.start, share.stop, torch.get_num_threads(), torch.is_grad_enabled()

    assert map_shares(share_and_threads, 5) == [(0, 2, 1, False), (2, 5, 1, False)]
    assert torch.get_num_threads() == 2
    assert map_shares(lambda share: share, 1) == [slice(0, 1)]


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_share_is_raised() -> None:
    def fail(share: slice) -> None:
        raise ArithmeticError(share.start)

    with pytest.raises(ArithmeticError, match="0"):
        map_shares(fail, 2)


def _sum_shares(queue: multiprocessing.SimpleQueue) -> None:
    torch.set_num_threads(2)
    queue.put(sum(map_shares(lambda share: share.stop - share.start, 10)))


@pytest.mark.usefixtures("two_threads")
def test_threads_work_in_a_forked_process() -> None:
    assert sum(map_shares(lambda share: share.stop - share.start, 10)) == 10
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_sum_shares, args=(queue,), daemon=True)
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert queue.get() == 10
