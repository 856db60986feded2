"""Spectra against mixing matrices formed explicitly, and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import flare.spectrum.matrix
from flare import FLARE, FLAREConfig
from flare.spectrum import (
    effective_rank,
    mixing_spectrum,
    model_routings,
    model_spectra,
    participation_ratio,
    routing_maps,
    significant_rank,
)

CASES, HEADS, LATENTS, HEAD_DIM = 2, 3, 5, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_routing(nodes: int, latents: int = LATENTS, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    queries = spread * torch.randn(HEADS, latents, HEAD_DIM, dtype=torch.float64)
    return queries, torch.randn(CASES, HEADS, nodes, HEAD_DIM, dtype=torch.float64)


def dense_spectrum(queries: Tensor, keys: Tensor, mask_BN: Tensor, scale: float = 1.0) -> np.ndarray:
    """Slow twin: eigenvalues of each N x N matrix over the real nodes, (B, H, M)."""
    cases, heads, _, _ = keys.shape
    queries = queries.expand(cases, -1, -1, -1)
    latents = queries.shape[-2]
    spectra = np.zeros((cases, heads, latents))
    for b in range(cases):
        for h in range(heads):
            scores_MN = scale * queries[b, h] @ keys[b, h, mask_BN[b]].T
            matrix_NN = scores_MN.T.softmax(1) @ scores_MN.softmax(1)
            eigenvalues = np.linalg.eigvals(matrix_NN.numpy())
            assert np.abs(eigenvalues.imag).max() < 1e-6
            largest = np.sort(eigenvalues.real)[::-1][:latents]
            spectra[b, h, : len(largest)] = largest
    return spectra


def assert_equals_dense(spectrum: Tensor, dense: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(spectrum.numpy(), dense, rtol=0, atol=tolerance)


@pytest.mark.parametrize("nodes", [1, 3, 60], ids=["one node", "fewer nodes than latents", "many nodes"])
@pytest.mark.parametrize("scale", [1.0, 1 / math.sqrt(HEAD_DIM)])
def test_agrees_with_the_dense_matrix(nodes: int, scale: float) -> None:
    queries, keys = make_routing(nodes)
    everything = torch.ones(CASES, nodes, dtype=torch.bool)
    assert_equals_dense(
        mixing_spectrum(queries, keys, scale=scale), dense_spectrum(queries, keys, everything, scale)
    )
    mask_BN = torch.rand(CASES, nodes) < 0.6
    mask_BN[:, -1] = True
    assert_equals_dense(
        mixing_spectrum(queries, keys, mask_BN, scale), dense_spectrum(queries, keys, mask_BN, scale)
    )


def test_queries_of_each_case() -> None:
    _, keys = make_routing(30)
    queries = torch.randn(CASES, HEADS, LATENTS, HEAD_DIM, dtype=torch.float64)
    spectrum = mixing_spectrum(queries, keys)
    for b in range(CASES):
        assert_close(spectrum[b], mixing_spectrum(queries[b], keys[b : b + 1])[0])
    assert_equals_dense(spectrum, dense_spectrum(queries, keys, torch.ones(CASES, 30, dtype=torch.bool)))


@settings(deadline=None, max_examples=30)
@given(
    nodes=st.integers(1, 40),
    latents=st.integers(1, 12),
    spread=st.floats(0, 1e3),
    seed=st.integers(0, 2**16),
)
def test_is_a_spectrum_of_averaging_whatever_the_scores(
    nodes: int, latents: int, spread: float, seed: int
) -> None:
    torch.manual_seed(seed)
    spectrum = mixing_spectrum(*make_routing(nodes, latents, spread))
    assert spectrum.shape == (CASES, HEADS, latents)
    assert spectrum.dtype == torch.float64
    assert_close(spectrum[..., 0], torch.ones(CASES, HEADS, dtype=torch.float64), rtol=0, atol=1e-10)
    assert (spectrum >= 0).all()
    assert (spectrum.diff(dim=-1) <= 0).all()
    # The rank of W is at most that of its factors, N included.
    assert (spectrum[..., nodes:] < 1e-12).all()


def test_trace_is_that_of_the_product_of_the_maps() -> None:
    queries, keys = make_routing(50)
    maps = routing_maps(queries, keys)
    trace_BH = torch.einsum("bhmn,bhnm->bh", *maps)
    assert_close(mixing_spectrum(queries, keys).sum(-1), trace_BH)


def test_order_of_nodes_and_of_latents_and_rotations_change_nothing() -> None:
    queries, keys = make_routing(40)
    spectrum = mixing_spectrum(queries, keys)
    rotation, _ = torch.linalg.qr(torch.randn(HEAD_DIM, HEAD_DIM, dtype=torch.float64))
    for changed in (
        (queries, keys[:, :, torch.randperm(40)]),
        (queries[:, torch.randperm(LATENTS)], keys),
        (queries @ rotation, keys @ rotation),
        (queries / 3, keys * 3),
    ):
        assert_close(mixing_spectrum(*changed), spectrum, rtol=0, atol=1e-12)


def test_twin_latents_add_a_zero_and_equal_latents_average_everything() -> None:
    queries, keys = make_routing(40)
    twins = torch.cat([queries, queries], dim=1)
    doubled = mixing_spectrum(twins, keys)
    assert_close(doubled[..., :LATENTS], mixing_spectrum(queries, keys), rtol=0, atol=1e-12)
    assert (doubled[..., LATENTS:] < 1e-12).all()
    equal = mixing_spectrum(queries[:, :1].expand(-1, LATENTS, -1), keys)
    assert (equal[..., 1:] < 1e-12).all()


def test_sharp_routing_to_separate_groups_keeps_every_group() -> None:
    groups = torch.eye(LATENTS, dtype=torch.float64)
    keys = groups.repeat(8, 1)[None, None]
    assert_close(mixing_spectrum(1e4 * groups[None], keys), torch.ones(1, 1, LATENTS, dtype=torch.float64))


def test_padding_may_hold_anything() -> None:
    queries, keys = make_routing(20)
    mask_BN = torch.arange(20) < torch.tensor([20, 12])[:, None]
    expected = mixing_spectrum(queries, keys, mask_BN)
    spoiled = keys.clone()
    spoiled[1, :, 12:] = math.nan
    assert torch.equal(mixing_spectrum(queries, spoiled, mask_BN), expected)
    assert_close(expected[1:], mixing_spectrum(queries, keys[1:, :, :12]))
    encode, decode = routing_maps(queries, spoiled, mask_BN)
    assert (encode[1, ..., 12:] == 0).all()
    assert (decode[1, :, 12:] == 0).all()


def test_slices_of_the_nodes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys = make_routing(50)
    # The second slice of the second case is padding throughout.
    mask_BN = torch.arange(50) < torch.tensor([50, 7])[:, None]
    whole = mixing_spectrum(queries, keys, mask_BN)
    monkeypatch.setattr(flare.spectrum.matrix, "SLICE_SCORES", 7 * CASES * HEADS * LATENTS)
    assert_close(mixing_spectrum(queries, keys, mask_BN), whole, rtol=0, atol=1e-13)


class LargestTensor(TorchDispatchMode):
    """Watches how many elements the largest result has."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_cost_is_linear_in_nodes_and_memory_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 2**12
    monkeypatch.setattr(flare.spectrum.matrix, "SLICE_SCORES", limit)
    for nodes in (1000, 2000, 4000):
        queries, keys = make_routing(nodes)
        with FlopCounterMode(display=False) as counter, LargestTensor() as largest:
            mixing_spectrum(queries, keys)
        assert largest.elements <= limit
        per_node = CASES * HEADS * 2 * LATENTS * (2 * HEAD_DIM + LATENTS)
        assert counter.get_total_flops() == nodes * per_node


def test_faults_are_named() -> None:
    queries, keys = make_routing(6)
    with pytest.raises(ValueError, match=r"queries have shape \(2, 5, 4\), keys \(2, 3, 6, 4\)"):
        mixing_spectrum(queries[:2], keys)
    with pytest.raises(ValueError, match=r"mask has shape \(2, 5\); expected \(2, 6\)"):
        mixing_spectrum(queries, keys, torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="hides every node of case 0"):
        routing_maps(queries, keys, torch.tensor([[False], [True]]).expand(2, 6))
    with pytest.raises(ValueError, match="not finite"):
        mixing_spectrum(queries, torch.full_like(keys, math.nan))
    with pytest.raises(ValueError, match="Linear has no FLARE mixer"):
        model_spectra(nn.Linear(3, 3), torch.rand(1, 4, 3))


def test_ranks_of_known_spectra() -> None:
    flat = torch.tensor([1.0, 1, 1, 1])
    single = torch.tensor([1.0, 0, 0, 0])
    both = torch.stack([flat, single])
    for rank in (effective_rank, participation_ratio, significant_rank):
        assert_close(rank(both), torch.tensor([4.0, 1.0]), check_dtype=False)
    geometric = 0.5 ** torch.arange(30, dtype=torch.float64)
    # Entropy 2 log 2 of the geometric distribution; sums 2 and 4/3; 0.5^6 > 0.01 > 0.5^7.
    assert effective_rank(geometric).item() == pytest.approx(4.0, rel=1e-6)
    assert participation_ratio(geometric).item() == pytest.approx(3.0, rel=1e-6)
    assert significant_rank(geometric).item() == 7
    assert significant_rank(geometric, share=0.5).item() == 2


@pytest.fixture(
    params=[
        {},
        {"mixer": "flare++"},
        {"mixer": "flare++gated"},
        {"mixer": "flare++", "qk_norm": True},
        {"shared_latents": True},
    ],
    ids=str,
)
def model(request: pytest.FixtureRequest) -> FLARE:
    sizes = {"channels": 12, "num_blocks": 2, "num_heads": 3, "num_latents": 4}
    return FLARE(FLAREConfig(in_channels=3, out_channels=1, **sizes, **request.param))


def test_spectra_of_a_model_are_those_of_its_mixers(model: FLARE) -> None:
    x_BNC = torch.rand(2, 9, 3)
    mask_BN = torch.arange(9) < torch.tensor([9, 6])[:, None]
    spectra = model_spectra(model, x_BNC, mask_BN)
    assert [tuple(spectrum.shape) for spectrum in spectra] == [(2, 3, 4)] * 2

    first, last = model_routings(model, x_BNC, mask_BN)
    block = model.blocks[0]
    keys, *_ = block.att.project(block.norm1(model.in_proj(x_BNC[:1])))
    assert_close(first.keys[:1], keys)
    assert torch.equal(spectra[1], mixing_spectrum(last.queries, last.keys, mask_BN, last.scale))
    alone = model_spectra(model, x_BNC[1:, :6])
    assert_close(alone[1], spectra[1][1:], rtol=0, atol=1e-6)


def test_routing_maps_are_what_the_mixer_applies(model: FLARE) -> None:
    model.double()
    x_BNC = torch.rand(1, 9, 3, dtype=torch.float64)
    routing = model_routings(model, x_BNC)[0]
    maps = routing_maps(routing.queries, routing.keys, scale=routing.scale)
    assert_close(maps.encode.sum(-1), torch.ones(1, 3, 4, dtype=torch.float64))
    assert_close(maps.decode.sum(-1), torch.ones(1, 3, 9, dtype=torch.float64))

    mixer, block = model.blocks[0].att, model.blocks[0]
    h_BNC = block.norm1(model.in_proj(x_BNC))
    _, values, *_ = mixer.project(h_BNC)
    mixed = maps.decode @ (maps.encode @ values)
    assert_close(mixer(h_BNC), mixer.out_proj(mixed.transpose(1, 2).flatten(2)))


def test_looking_leaves_the_model_as_it_was(model: FLARE) -> None:
    x_BNC = torch.rand(1, 9, 3)
    model_spectra(model, x_BNC)
    with pytest.raises(ValueError, match="not finite"):
        model_spectra(model, torch.full_like(x_BNC, math.inf))
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
