"""The benchmark of the training step measures what it says."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from benchmarks.flare_training import LPBF, PUBLISHED, PublishedFLARE, levers, make_step, variant_levers
from flare import FLARE


@pytest.mark.parametrize("variant", variant_levers())
def test_every_variant_computes_what_the_published_module_does(variant: str) -> None:
    torch.manual_seed(0)
    model, x_BNC = FLARE(LPBF).double(), torch.rand(1, 300, 3).double()
    published = PublishedFLARE(model)
    expected = torch.autograd.grad(published(x_BNC).sum(), list(model.parameters()))
    with levers(*variant_levers()[variant]):
        assert_close(model(x_BNC), published(x_BNC))
        gradients = torch.autograd.grad(model(x_BNC).sum(), list(model.parameters()))
    assert_close(gradients, expected, rtol=1e-6, atol=1e-10)


def test_a_step_takes_time() -> None:
    assert make_step(PUBLISHED, 20)() > 0
