"""Models that see mesh edges: the edges of a batch, and training on them, with a small model of its own."""

from __future__ import annotations

import csv
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import lpbf_dataset as lpbf
from baselines.convention import EDGE_FEATURES, check_batch, zero_padding
from baselines.entry import ModelEntry
from lpbf_dataset.mesh.graph import directed_graph
from pipelines.runs import models
from pipelines.runs.checkpoint import Description
from pipelines.runs.run import Run, RunError
from pipelines.runs.scaling import Scaling
from pipelines.training.data import Samples, collate, training_loader
from pipelines.training.module import Surrogate

SCALE = (3.0, 2.0, 1.5)


@dataclass(frozen=True)
class NeighborSumConfig:
    in_channels: int
    out_channels: int
    channels: int = 4


class NeighborSum(nn.Module):
    """One round of messages along the edges."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.message = nn.Linear(config.in_channels + EDGE_FEATURES, config.channels)
        self.output = nn.Linear(config.channels, config.out_channels)

    def forward(self, x_BNC, mask_BN=None, *, edges):
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        senders, receivers = edges.endpoints
        x_AC = zero_padding(x_BNC, mask_BN).flatten(0, 1)
        sent = self.message(torch.cat([x_AC[senders], edges.features], dim=1)).tanh()
        received = sent.new_zeros(len(x_AC), sent.shape[1]).index_add(0, receivers, sent)
        return zero_padding(self.output(received).unflatten(0, x_BNC.shape[:2]), mask_BN)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Let ``lpbf-train`` know `NeighborSum`."""
    entry = ModelEntry("neighbor-sum", NeighborSumConfig, NeighborSum, None, "", "", takes="edges")
    monkeypatch.setitem(models.MODELS, entry.name, entry)
    monkeypatch.setitem(models.ALL_MODELS, entry.name, entry)


@pytest.fixture(autouse=True)
def restore_interrupts():
    """Undo that Lightning ignores Ctrl-C once it has seen one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def dataset(store):
    return lpbf.open_dataset(store)


@pytest.fixture
def description(dataset):
    options = {"in_channels": 3, "out_channels": 1}
    return Description("neighbor-sum", options, Scaling.of_store(dataset, ("displacement_z",), SCALE))


def history(folder):
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_edges_of_a_padded_batch_are_those_of_each_case(dataset, description):
    samples = Samples(dataset, description)
    batch = collate(list(samples))
    edges = batch.mesh["edges"]
    assert edges.endpoints.dtype == torch.int64
    assert edges.features.dtype == torch.float32
    nodes = batch.inputs.shape[1]
    endpoints, features = [], []
    for number, case in enumerate(dataset):
        there = [(first + number * nodes, second + number * nodes) for first, second in case.edges.tolist()]
        ways = np.array(there + [(second, first) for first, second in there]).T
        relative = np.array(
            [case.points[r - number * nodes] - case.points[s - number * nodes] for s, r in ways.T]
        )
        endpoints.append(ways)
        features.append(np.column_stack([relative, np.linalg.norm(relative, axis=1)]))
    np.testing.assert_array_equal(edges.endpoints, np.concatenate(endpoints, axis=1))
    np.testing.assert_allclose(edges.features, np.concatenate(features), rtol=1e-6, atol=1e-7)
    assert batch.mask is not None
    assert batch.mask.flatten()[edges.endpoints].all()


def test_one_case_has_its_directed_graph(dataset, description):
    samples = Samples(dataset, description)
    endpoints, features = directed_graph(dataset["b"].points, dataset["b"].edges)
    edges = collate([samples[1]]).mesh["edges"]
    np.testing.assert_array_equal(edges.endpoints, endpoints)
    np.testing.assert_array_equal(edges.features, features)


def test_a_model_of_nodes_gets_no_mesh(dataset, description):
    samples = Samples(dataset, Description("pointnet", {}, description.scaling))
    assert samples[0].mesh is None
    assert collate([samples[0], samples[1]]).mesh == {}


def test_a_padded_case_gets_what_it_gets_alone(dataset, description):
    torch.manual_seed(0)
    model = description.build()
    samples = Samples(dataset, description)
    batch = collate(list(samples))
    together = model(batch.inputs, batch.mask, **batch.mesh)
    for row, sample in enumerate(samples):
        alone = collate([sample])
        expected = model(alone.inputs, alone.mask, **alone.mesh)[0]
        assert_close(together[row, : len(sample.inputs)], expected)


def test_reading_processes_send_edges(dataset, description):
    """In the worker the model is not registered: it needs its variables alone."""
    sizes = {"batch_size": 2, "seed": 0, "rank": 0, "ranks": 1}
    here, sent = (
        list(training_loader(Samples(dataset, description), num_workers=workers, **sizes))
        for workers in (0, 1)
    )
    for expected, batch in zip(here, sent, strict=True):
        assert batch.case_ids == expected.case_ids
        assert torch.equal(batch.mesh["edges"].endpoints, expected.mesh["edges"].endpoints)
        assert torch.equal(batch.mesh["edges"].features, expected.mesh["edges"].features)


def test_training_evaluation_and_prediction(command, store, tmp_path, dataset):
    run = tmp_path / "run"
    options = ("--epochs=2", "--batch_size=2", "--targets", "displacement", "--model.channels=3")
    outcome = command("neighbor-sum", "--data", store, "-o", run, *options)
    assert outcome.code == 0, outcome.err
    assert "neighbor-sum, 36 parameters" in outcome.out
    trained = Run.open(run)
    assert trained.metrics["targets"]["displacement_z"]["test"]["cases"] == 1
    case = dataset["e"]
    x_BNC = torch.from_numpy(trained.scaling.inputs(case))[None]
    edges = collate([Samples(dataset, trained.description)[4]]).mesh["edges"]
    with torch.inference_mode():
        expected = trained.scaling.decode(trained.model(x_BNC, edges=edges)[0].numpy())
    np.testing.assert_array_equal(trained.predict(case), expected)


def test_a_case_without_edges_cannot_be_predicted(command, store, tmp_path):
    run = tmp_path / "run"
    assert command("neighbor-sum", "--data", store, "-o", run, "--epochs=1", "-q").code == 0
    points = np.zeros((4, 3), np.float32)
    with pytest.raises(RunError, match="case 'x' has no edges, which neighbor-sum needs"):
        Run.open(run).predict(lpbf.Case("x", "x", "stl", {"points": points}))


def test_a_resumed_training_equals_an_uninterrupted_one(command, store, tmp_path, monkeypatch):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    options = ("--epochs=3", "--batch_size=2", "--checkpoint_minutes=0", "-q")
    arguments = ("neighbor-sum", f"--data={store}", *options)
    assert command(*arguments, "-o", straight).code == 0
    step = Surrogate.training_step

    def interrupted(self, batch, index):
        if self.current_epoch == 1:
            monkeypatch.setattr(Surrogate, "training_step", step)
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Surrogate, "training_step", interrupted)
    assert command(*arguments, "-o", resumed).code == 1
    assert command("neighbor-sum", "-o", resumed, "--resume", "-q").code == 0
    assert history(resumed) == history(straight)


BSMS = ("bsms", "--epochs=1", "--batch_size=2", "--model.channels=4", "--model.num_levels=2", "-q")


def test_a_multiscale_model_keeps_coarser_graphs_beside_the_store(command, store, tmp_path, dataset):
    outcome = command(*BSMS, "--data", store, "-o", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    kept = sorted((store.parent / f"{store.name}.levels").glob("*_2.npz"))
    assert len(kept) == len(dataset)
    trained = Run.open(tmp_path / "run")
    assert trained.predict(dataset["e"]).shape == (dataset["e"].node_count, 1)
    written = [path.stat().st_mtime_ns for path in kept]
    assert command(*BSMS, "--data", store, "-o", tmp_path / "again").code == 0
    assert [path.stat().st_mtime_ns for path in kept] == written


def test_levels_of_a_padded_batch_are_those_of_each_case(dataset, description):
    torch.manual_seed(0)
    options = {"in_channels": 3, "out_channels": 1, "channels": 4, "num_levels": 2}
    multiscale = Description("bsms", options, description.scaling)
    model, samples = multiscale.build().double(), Samples(dataset, multiscale)

    def predict(batch):
        mesh = torch.utils._pytree.tree_map(
            lambda value: value.double() if torch.is_tensor(value) and value.is_floating_point() else value,
            batch.mesh,
        )
        return model(batch.inputs.double(), batch.mask, **mesh)

    together = predict(collate(list(samples)))
    for row, sample in enumerate(samples):
        assert_close(together[row, : len(sample.inputs)], predict(collate([sample]))[0])
