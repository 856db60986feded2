from __future__ import annotations

import csv
from functools import partial

import pytest
import torch
import torch._dynamo as dynamo
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import lpbf_dataset as lpbf
from pipelines.runs.checkpoint import Description
from pipelines.runs.scaling import Scaling
from pipelines.training.compilation import MAX_PROGRAMS, bucket, compile_model
from pipelines.training.data import Samples, collate
from pipelines.training.module import relative_l2_loss


@pytest.fixture
def dataset(store):
    return lpbf.open_dataset(store)


@pytest.fixture
def make_description(dataset):
    def make(name, **options):
        scaling = Scaling.of_store(dataset, ("displacement_z",), (10.0, 10.0, 10.0))
        return Description(name, {"in_channels": 3, "out_channels": 1, **options}, scaling)

    return make


@pytest.fixture
def programs():
    """Return a function that counts programs compiled since the last call; forget them afterwards."""
    dynamo.reset()
    dynamo.utils.counters.clear()

    def count():
        compiled = dynamo.utils.counters["stats"]["unique_graphs"]
        dynamo.utils.counters.clear()
        return compiled

    yield count
    dynamo.reset()


def traced(description, *, in_buckets):
    """Return a model, and the same traced as if to be compiled."""
    torch.manual_seed(0)
    eager, compiled = description.build(), description.build()
    compiled.load_state_dict(eager.state_dict())
    compiled.compile = partial(compiled.compile, backend="eager")
    compile_model(compiled, in_buckets=in_buckets)
    return eager, compiled


def test_the_ladder():
    assert [bucket(nodes) for nodes in range(1, 14)] == [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16]


@given(st.integers(1, 10**9))
def test_a_bucket_is_little_larger(nodes):
    size = bucket(nodes)
    assert nodes <= size < 1.5 * nodes or nodes == size == 1
    assert bucket(size) == size


def test_every_size_gets_its_program():
    sizes, nodes = 0, 0
    while nodes < 10**6:
        nodes = bucket(nodes + 1)
        sizes += 1
    modes, numbers_of_cases = 2, 2
    assert sizes * modes * numbers_of_cases <= MAX_PROGRAMS


def test_padding_to_a_bucket_changes_no_loss(dataset, make_description):
    description = make_description("flare", channels=8, num_blocks=1, num_heads=2, num_latents=4)
    model = description.build()
    samples = list(Samples(dataset, description))
    for chosen in (samples, samples[:1], [samples[1]] * 2):
        batch, plain = collate(chosen, in_buckets=True), collate(chosen)
        largest = max(len(sample.inputs) for sample in chosen)
        assert batch.inputs.shape[1] == batch.targets.shape[1] == bucket(largest)
        assert batch.mask is not None
        assert batch.mask.sum(dim=1).tolist() == [len(sample.inputs) for sample in chosen]
        losses = [relative_l2_loss(model(b.inputs, b.mask), b.targets) for b in (batch, plain)]
        assert_close(*losses)


def test_buckets_bound_the_programs(dataset, make_description, programs):
    description = make_description("flare", channels=8, num_blocks=1, num_heads=2, num_latents=4)
    eager, compiled = traced(description, in_buckets=True)
    assert list(compiled.state_dict()) == list(eager.state_dict())
    samples = list(Samples(dataset, description))
    assert [len(sample.inputs) for sample in samples] == [20, 32, 24, 28, 16]
    for _ in range(2):
        for sample in samples:
            batch = collate([sample], in_buckets=True)
            losses = [
                relative_l2_loss(model(batch.inputs, batch.mask), batch.targets)
                for model in (compiled, eager)
            ]
            assert_close(*losses)
    # 24, 32, 24, 32, 16
    assert programs() == 3


def test_a_graph_model_needs_one_program(dataset, make_description, programs):
    description = make_description("meshgraphnet", channels=8, num_layers=2)
    eager, compiled = traced(description, in_buckets=False)
    for sample in Samples(dataset, description):
        batch = collate([sample])
        predictions = [model(batch.inputs, batch.mask, **batch.mesh) for model in (compiled, eager)]
        assert_close(*predictions)
    assert programs() == 1


@pytest.mark.slow
def test_a_compiled_training_is_the_same_training(command, store, tmp_path, programs):
    histories = []
    for switch in ("--compile", "--no_compile"):
        run = tmp_path / switch
        options = ("--recipe=tiny", "--min_steps=0", "--epochs=2", "-q", switch)
        assert command("deep_sets", f"--data={store}", "-o", run, *options) == (0, "", "")
        with (run / "metrics.csv").open() as file:
            histories.append([float(row["train_loss"]) for row in csv.DictReader(file)])
        # Two sizes in training and one in validation.
        assert programs() == (3 if switch == "--compile" else 0)
    assert histories[0] == pytest.approx(histories[1], rel=1e-5)


def test_a_machine_without_a_compiler(command, store, tmp_path, monkeypatch, programs):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    monkeypatch.setattr(torch.compiler.config, "force_disable_caches", True)
    run = tmp_path / "run"
    outcome = command("deep_sets", f"--data={store}", "-o", run, "--recipe=tiny", "-q", "--compile")
    assert outcome.code == 2
    assert "error: --compile: " in outcome.err
    assert "train without it, by --no_compile" in outcome.err
    assert not run.exists()
