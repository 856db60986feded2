"""Every model that is trained learns the steps of builds, and rolls them out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import lpbf_dataset as lpbf
from pipelines.runs.checkpoint import Description
from pipelines.runs.features import input_channels
from pipelines.runs.mesh_view import levels_folder
from pipelines.runs.models import MODELS
from pipelines.runs.run import Run
from pipelines.steps.description import describe_steps
from pipelines.steps.samples import make_samples
from pipelines.steps.surrogate import StepSurrogate
from pipelines.steps.tasks import task_channels
from pipelines.steps.transitions import StepReader
from pipelines.training.batching import Draw
from pipelines.training.budget import Budget
from pipelines.training.data import collate
from pipelines.training.options import TrainOptions, read_yaml
from pipelines.training.recipe import recipes_of
from pipelines.training.variation import Variation

TARGETS = ("displacement_z", "von_mises_stress")


def tiny(model):
    """Options of a model as the tiny recipe has them."""
    files = map(read_yaml, recipes_of(model)["tiny"])
    return {name: value for values in files for name, value in values.get("model", {}).items()}


def described(store, model, task):
    scaling, of_steps = describe_steps(store, TARGETS, TrainOptions("", TARGETS, task), task)
    channels = {
        "in_channels": input_channels(()) + task_channels(task, len(TARGETS)),
        "out_channels": len(TARGETS),
    }
    return Description(model, {**channels, **tiny(model)}, scaling, task=of_steps)


@pytest.fixture(scope="module")
def store(builds):
    return lpbf.open_dataset(builds)


@pytest.mark.parametrize("task", ["next-step", "any-step"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_and_rolls_out(model, task, store):
    description = described(store, model, task)
    samples = make_samples(
        store.train, description, Variation(0, ("mirror_x",)), pushforward=task == "next-step"
    )
    torch.manual_seed(0)
    surrogate = StepSurrogate(description.build(), description, TrainOptions("", TARGETS), Budget(0, 0))
    # A first step, and one on a larger mesh.
    batch = collate([samples[Draw(position, 0)] for position in (0, 3)])
    loss = surrogate.training_step(batch, 0)["loss"]
    loss.backward()
    assert math.isfinite(loss.item())
    gradients = [parameter.grad for parameter in surrogate.parameters()]
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    assert any(gradient is not None and gradient.any() for gradient in gradients)

    run = Run(Path(), {}, description, surrogate.model.eval(), None, torch.device("cpu"))
    case = store.read("x1", StepReader.of(description).variables)
    states = list(run.roll_out(case, levels_folder(store)))
    assert [len(state) for _, state in states] == [step.node_count for step, _ in states]
    assert len(states) == 5
    assert all(np.isfinite(state).all() for _, state in states)


def test_coarser_graphs_are_computed_once_for_each_mesh(make_builds, make_bar, tmp_path):
    """Whatever the number of steps and epochs, and for the roll-out as for the training."""
    store = lpbf.open_dataset(make_builds(tmp_path / "b.zarr", make_bar("t1", layers=3)))
    description = described(store, "bsms", "next-step")
    samples = make_samples(store.train, description, Variation(0, ("rotate_z",)))
    for epoch in range(2):
        for position in range(len(samples)):
            samples[Draw(position, epoch)]
    kept = sorted((tmp_path / "b.zarr.levels").iterdir())
    assert len(kept) == 3
    written = [path.stat().st_mtime_ns for path in kept]
    run = Run(Path(), {}, description, description.build().eval(), None, torch.device("cpu"))
    assert len(list(run.roll_out(store["t1"], levels_folder(store)))) == 7
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "b.zarr.levels").iterdir())] == written
