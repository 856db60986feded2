from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pipelines.runs.checkpoint import Description
from pipelines.runs.models import MODELS
from pipelines.runs.scaling import Scaling
from pipelines.training.optimisers import MuonWithAdamW, hidden_matrices, make_optimizer
from pipelines.training.options import TrainOptions

SETTINGS = {"lr": 0.02, "betas": (0.9, 0.99), "weight_decay": 0.1}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 1))


def train(model, optimizers, steps):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 3, generator=generator)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (model(x) - x.square().sum(dim=1, keepdim=True)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def split(model):
    matrices = hidden_matrices(model, 3, 1)
    return matrices, [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]


def test_one_optimiser_does_what_two_do():
    together, apart = network(), network()
    got = train(together, [MuonWithAdamW(*split(together), **SETTINGS)], 5)
    matrices, others = split(apart)
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    expected = train(apart, [muon, torch.optim.AdamW(others, **SETTINGS)], 5)
    assert len(matrices) == 1
    assert_close(got, expected, rtol=0, atol=0)


def test_muon_goes_on_from_its_state(tmp_path):
    straight, resumed = network(), network()
    expected = train(straight, [MuonWithAdamW(*split(straight), **SETTINGS)], 4)
    first = MuonWithAdamW(*split(resumed), **SETTINGS)
    generator_steps = train(resumed, [first], 4)
    assert_close(generator_steps, expected, rtol=0, atol=0)

    again = network()
    again.load_state_dict(resumed.state_dict())
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = MuonWithAdamW(*split(again), **SETTINGS)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_close(train(again, [second], 3), train(resumed, [first], 3), rtol=0, atol=0)


def test_a_schedule_sees_both_groups():
    optimizer = MuonWithAdamW(*split(network()), **SETTINGS)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.01]


def test_the_learning_rate_of_adamw_fits_muon():
    """The root mean square of a change is about 0.2 learning rates, whatever the shape (arXiv 2502.16982)."""
    layer = nn.Linear(64, 256, bias=False)
    before = layer.weight.detach().clone()
    optimizer = MuonWithAdamW([layer.weight], [], lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0)
    layer(torch.randn(512, 64)).square().sum().backward()
    optimizer.step()
    change = (layer.weight - before).square().mean().sqrt().item()
    assert change == pytest.approx(0.2e-3, rel=0.3)


@pytest.mark.parametrize("name", MODELS)
def test_muon_takes_hidden_matrices_of_every_model(name):
    scaling = Scaling(("displacement_z",), (0.0,), (1.0,), (1.0, 1.0, 1.0))
    model = Description(name, {"in_channels": 3, "out_channels": 1}, scaling).build()
    matrices = hidden_matrices(model, 3, 1)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert matrices
    assert all(matrix.ndim == 2 and min(matrix.shape) > 1 for matrix in matrices)
    assert len(set(matrices)) == len(matrices) < len(names)
    assert not any("latent" in names[matrix].rpartition(".")[2] for matrix in matrices)


def test_lion_moves_by_the_sign():
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    options = TrainOptions(data="s", optimizer="lion", learning_rate=0.01, weight_decay=0.5)
    optimizer = make_optimizer(model, options, in_channels=2, out_channels=1)
    model(torch.tensor([[1.0, -2.0]])).sum().backward()
    optimizer.step()
    assert_close(model.weight.detach(), before * (1 - 0.01 * 0.5) - 0.01 * torch.tensor([[1.0, -1.0]]))


def test_adamw_is_the_published_one():
    model = network()
    optimizer = make_optimizer(model, TrainOptions(data="s"), in_channels=3, out_channels=1)
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert len(group["params"]) == len(list(model.parameters()))
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-4)


@pytest.mark.parametrize("optimizer", ["lion", "muon"])
@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_a_model_is_trained(optimizer, schedule, command, store, tmp_path):
    options = (f"--optimizer={optimizer}", f"--schedule={schedule}", "--recipe=tiny", "--min_steps=0", "-q")
    outcome = command("deep_sets", f"--data={store}", "-o", tmp_path / "run", *options)
    assert outcome == (0, "", "")


def test_a_missing_library_is_one_line(command, store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lion_pytorch", None)
    outcome = command("deep_sets", f"--data={store}", "-o", tmp_path / "run", "--optimizer=lion", "-q")
    assert outcome.code == 2
    assert outcome.err == "error: lion_pytorch is not installed: pip install 'lpbf-toolkit[train]'\n"
