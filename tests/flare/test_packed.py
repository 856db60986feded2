"""Packed batches against padded ones and against each case alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from flare import FLARE, MIXERS, FLAREConfig

SIZE = {"channels": 16, "num_blocks": 2, "num_heads": 2, "num_latents": 6}


def offsets_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def pad(cases: list[Tensor]) -> tuple[Tensor, Tensor]:
    x_BNC = torch.nn.utils.rnn.pad_sequence(cases, batch_first=True)
    lengths = torch.tensor([len(case) for case in cases])
    return x_BNC, torch.arange(x_BNC.shape[1]) < lengths[:, None]


@pytest.mark.parametrize("options", [{}, {"latent_blocks": 1, "norm": "rms"}, {"condition_channels": 2}])
@pytest.mark.parametrize("mixer", MIXERS)
def test_packed_equals_padded_and_alone(mixer, options, make_model) -> None:
    model = make_model(FLAREConfig(3, 2, **SIZE, mixer=mixer, **options)).double()
    lengths = [5, 1, 9]
    cases = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in lengths]
    condition_BK = torch.randn(3, 2, dtype=torch.float64) if "condition_channels" in options else None
    x_BNC, mask_BN = pad(cases)

    packed_TO = model.forward_packed(torch.cat(cases), offsets_of(lengths), condition_BK)
    padded_TO = model(x_BNC, mask_BN, condition_BK)[mask_BN]
    alone_TO = torch.cat(
        [
            model(case[None], condition_BK=None if condition_BK is None else condition_BK[b : b + 1])[0]
            for b, case in enumerate(cases)
        ]
    )
    leaves = [*cases, *model.parameters()]
    expected = torch.autograd.grad(alone_TO.square().sum(), leaves)
    for y_TO in (packed_TO, padded_TO):
        assert_close(y_TO, alone_TO, rtol=1e-10, atol=1e-10)
        got = torch.autograd.grad(y_TO.square().sum(), leaves)
        for g, e in zip(got, expected, strict=True):
            assert_close(g, e, rtol=1e-9, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_any_cut_equals_the_cases_alone(lengths: list[int]) -> None:
    torch.manual_seed(0)
    model = FLARE(FLAREConfig(3, 1, **SIZE)).double()
    cases = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    expected = torch.cat([model(case[None])[0] for case in cases])
    assert_close(model.forward_packed(torch.cat(cases), offsets_of(lengths)), expected)
    assert_close(model.forward_packed(torch.cat(cases), offsets_of(lengths).tolist()), expected)
