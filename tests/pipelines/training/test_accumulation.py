from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

import lpbf_dataset as lpbf
from pipelines.runs.checkpoint import Description
from pipelines.runs.scaling import Scaling
from pipelines.training.accumulation import MeanOverCases
from pipelines.training.budget import Budget
from pipelines.training.data import Samples, collate
from pipelines.training.module import Surrogate, relative_l2_loss
from pipelines.training.options import TrainOptions

SMALL = {"channels": 8, "num_blocks": 1, "num_heads": 2, "num_latents": 4}


class Recorded(Surrogate):
    """Keeps the gradients of every step as they are when they are clipped."""

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        self.gradients = [
            *getattr(self, "gradients", []),
            [parameter.grad.clone() for parameter in self.model.parameters()],
        ]
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)


@pytest.fixture
def description(store):
    scaling = Scaling.of_store(lpbf.open_dataset(store), ("displacement_z",), (10.0, 10.0, 10.0))
    return Description("flare", {"in_channels": 3, "out_channels": 1, **SMALL}, scaling)


@pytest.fixture
def samples(store, description):
    return [
        sample._replace(inputs=sample.inputs.double(), targets=sample.targets.double())
        for sample in Samples(lpbf.open_dataset(store), description)
    ]


@pytest.fixture
def gradients(samples, description):
    """Return a function that trains for an epoch; it gives the gradients of each step."""

    def train(sizes, accumulate):
        batches = [collate(part) for part in torch.utils.data.random_split(samples, sizes, fixed_order())]
        torch.manual_seed(0)
        module = Recorded(description.build().double(), description, TrainOptions(data="s"), Budget(0, 0.0))
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=1.0,
            enable_checkpointing=False,
            **quiet,
        )
        trainer.fit(module, DataLoader(batches, batch_size=None))
        return module.gradients

    return train


def fixed_order():
    return torch.Generator().manual_seed(3)


def test_batches_of_different_sizes_are_one_large_batch(gradients):
    (together,) = gradients([5], 1)
    (apart,) = gradients([3, 1, 1], 3)
    assert_close(apart, together, rtol=1e-5, atol=1e-7)


def test_the_last_step_of_an_epoch_is_not_weaker(gradients):
    expected = gradients([3, 2], 1)
    got = gradients([2, 1, 2], 2)
    assert len(got) == len(expected) == 2
    assert_close(got, expected, rtol=1e-5, atol=1e-7)


def test_the_gradient_is_that_of_the_mean_over_cases(gradients, samples, description):
    torch.manual_seed(0)
    model = description.build().double()
    losses = [relative_l2_loss(model(s.inputs[None]), s.targets[None]) for s in samples]
    torch.cat(losses).mean().backward()
    (got,) = gradients([4, 1], 2)
    assert_close(got, [parameter.grad for parameter in model.parameters()], rtol=1e-5, atol=1e-7)


def test_processes_may_have_different_numbers_of_cases():
    """Two processes with one case and three, whose gradients the trainer has averaged."""
    weight = nn.Linear(1, 1, bias=False)
    losses = torch.tensor([1.0, 5.0, 6.0, 8.0])
    weight.weight.grad = losses.sum().reshape(1, 1) / 2
    mean = MeanOverCases()
    assert mean.add(losses[:1]) == 1.0
    strategy = SimpleNamespace(
        root_device=torch.device("cpu"), reduce=lambda cases, reduce_op: cases + {"sum": 3}[reduce_op]
    )
    mean.rescale(weight, SimpleNamespace(world_size=2, accumulate_grad_batches=1, strategy=strategy))
    assert weight.weight.grad.item() == losses.mean()


def test_accumulated_steps_are_counted(command, store, tmp_path):
    run = tmp_path / "run"
    options = ("--recipe=tiny", "--min_steps=5", "--accumulate=2", "-q")
    assert command("deep_sets", f"--data={store}", "-o", run, *options).code == 0
    # Three training cases: a step of two and a step of one in every epoch.
    rows = (run / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == ["2", "4", "6"]
