"""Prediction in chunks against the model, and what memory it needs."""

import dataclasses
import weakref

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from flare import FLARE, MIXERS, FLAREConfig, predict_chunked
from flare.config import MixerName

SMALL = FLAREConfig(in_channels=3, out_channels=2, channels=16, num_blocks=2, num_heads=2, num_latents=6)


def ragged_mask(nodes: int) -> Tensor:
    """First case real from the middle on, second case real up to its first third and nothing between."""
    index_N = torch.arange(nodes)
    return torch.stack([index_N >= nodes // 2, index_N <= nodes // 3])


FAMILY = {
    "flare": SMALL,
    "flare++": dataclasses.replace(SMALL, mixer="flare++"),
    "flare++gated": dataclasses.replace(SMALL, mixer="flare++gated"),
    "normed queries and keys": dataclasses.replace(SMALL, mixer="flare++", qk_norm=True, norm="rms"),
    "latent blocks": dataclasses.replace(SMALL, latent_blocks=1, shared_latents=True),
    "wide and gated": dataclasses.replace(SMALL, projection_ratio=1.5, feed_forward="geglu"),
}


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY.keys())
@pytest.mark.parametrize("chunk", [1, 9, 60, 1000])
def test_prediction_in_chunks_agrees_with_the_model(config: FLAREConfig, chunk: int, make_model) -> None:
    model = make_model(config).double()
    x_BNC = torch.randn(2, 60, 3, dtype=torch.float64)
    mask_BN = ragged_mask(60)
    x_BNC[~mask_BN] = torch.nan
    assert_close(predict_chunked(model, x_BNC, mask_BN, chunk=chunk), model(x_BNC, mask_BN).detach())
    x_BNC = torch.randn(2, 60, 3, dtype=torch.float64)
    assert_close(predict_chunked(model, x_BNC, chunk=chunk), model(x_BNC).detach())


def test_prediction_in_chunks_under_autocast(make_model) -> None:
    model = make_model(SMALL)
    x_BNC = torch.randn(1, 200, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole, chunked = model(x_BNC), predict_chunked(model, x_BNC, chunk=64)
    assert chunked.dtype == whole.dtype
    assert torch.linalg.norm(chunked - whole) < 0.02 * torch.linalg.norm(whole)


def test_prediction_in_chunks_with_a_condition(make_model) -> None:
    model = make_model(dataclasses.replace(SMALL, condition_channels=3)).double()
    x_BNC, condition_BK = torch.randn(2, 60, 3).double(), torch.randn(2, 3).double()
    predicted = predict_chunked(model, x_BNC, condition_BK=condition_BK, chunk=9)
    assert_close(predicted, model(x_BNC, condition_BK=condition_BK).detach())


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made under it that are alive at once; not those of the inputs."""

    def __init__(self, *inputs: Tensor) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known = {tensor.untyped_storage().data_ptr() for tensor in inputs}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.watch(value.untyped_storage())
        return result

    def watch(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if size == 0 or address in self.known:
            return
        self.known.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.forget, address, size)

    def forget(self, address: int, size: int) -> None:
        self.known.discard(address)
        self.now -= size


def peak_bytes(model: FLARE, nodes: int, chunk: int | None, masked: bool = False) -> int:
    """Bytes that a prediction needs beside input and parameters."""
    x_BNC = torch.zeros(1, nodes, 3)
    mask_BN = torch.arange(nodes)[None] % 3 > 0 if masked else None
    inputs = [x_BNC, *model.parameters()] if mask_BN is None else [x_BNC, mask_BN, *model.parameters()]
    with LiveBytes(*inputs) as live, torch.no_grad():
        if chunk is None:
            model(x_BNC, mask_BN)
        else:
            predict_chunked(model, x_BNC, mask_BN, chunk=chunk)
    return live.peak


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mixer", MIXERS)
def test_each_node_more_costs_its_residual_stream_and_output_alone(mixer: MixerName, masked: bool) -> None:
    model = FLARE(dataclasses.replace(SMALL, mixer=mixer))
    kept = 4 * (SMALL.channels + SMALL.out_channels)
    less, more = (peak_bytes(model, nodes, chunk=64, masked=masked) for nodes in (2048, 8192))
    assert more - less == kept * (8192 - 2048)
    # What a chunk needs is next to nothing, and all at once need several times as much.
    assert more < 1.1 * kept * 8192
    assert peak_bytes(model, 8192, None) > 3 * more


def test_memory_of_a_chunk_is_proportional_to_it() -> None:
    model = FLARE(SMALL)
    small, large = (peak_bytes(model, 8192, chunk) for chunk in (256, 2048))
    assert small < large < peak_bytes(model, 8192, None)


@pytest.mark.slow
def test_a_hundred_thousand_nodes(make_model) -> None:
    """As many nodes as many chunks of the default size hold, at sizes where rounding would add up."""
    model = make_model(SMALL)
    x_BNC = torch.rand(1, 150_000, 3)
    expected = model(x_BNC).detach()
    error = torch.linalg.norm(predict_chunked(model, x_BNC) - expected) / torch.linalg.norm(expected)
    assert error < 1e-5
