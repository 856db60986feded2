"""Recomputed activations: the same numbers from less memory."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from flare import FLARE, FLAREConfig
from flare.checkpointing import checkpoint_blocks

SMALL = FLAREConfig(in_channels=3, out_channels=2, channels=16, num_blocks=2, num_heads=2, num_latents=6)


@pytest.fixture
def model() -> FLARE:
    torch.manual_seed(0)
    return FLARE(SMALL).double()


def gradients(model: FLARE, x_BNC: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(model(x_BNC).square().sum(), list(model.parameters())))


def kept_numbers(model: FLARE, x_BNC: Tensor) -> int:
    """Numbers kept for the backward pass beside the parameters, each storage once."""
    storages = {}

    def keep(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        y_BNO = model(x_BNC)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    size = sum(storage.nbytes() for address, storage in storages.items() if address not in parameters)
    del y_BNO
    return size // x_BNC.element_size()


@pytest.mark.parametrize("feed_forward", ["residual", "geglu"])
def test_outputs_and_gradients_stay(feed_forward: str) -> None:
    model = FLARE(dataclasses.replace(SMALL, mixer="flare++", feed_forward=feed_forward)).double()
    x_BNC = torch.randn(2, 30, 3, dtype=torch.float64)
    less = checkpoint_blocks(copy.deepcopy(model))
    assert_close(less(x_BNC), model(x_BNC))
    assert_close(gradients(less, x_BNC), gradients(model, x_BNC))


def test_less_than_half_is_kept(model: FLARE) -> None:
    x_BNC = torch.randn(1, 500, 3, dtype=torch.float64)
    assert kept_numbers(checkpoint_blocks(copy.deepcopy(model)), x_BNC) < kept_numbers(model, x_BNC) / 2


def test_parameters_keep_their_names(model: FLARE) -> None:
    assert list(checkpoint_blocks(copy.deepcopy(model)).state_dict()) == list(model.state_dict())


def test_a_copy_runs_its_own_weights(model: FLARE) -> None:
    x_BNC = torch.randn(1, 30, 3, dtype=torch.float64)
    changed = copy.deepcopy(checkpoint_blocks(model))
    with torch.no_grad():
        changed.blocks[0].mlp.fc1.bias.add_(1.0)
    assert not torch.equal(changed(x_BNC), model(x_BNC))


def test_compiles(model: FLARE) -> None:
    # What other tests compiled counts towards the limit of recompilations.
    torch.compiler.reset()
    x_BNC = torch.randn(1, 30, 3, dtype=torch.float64)
    expected = gradients(model, x_BNC)
    compiled = torch.compile(checkpoint_blocks(model), backend="aot_eager", fullgraph=True)
    got = torch.autograd.grad(compiled(x_BNC).square().sum(), list(model.parameters()))
    assert_close(list(got), expected)
