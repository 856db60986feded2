"""Options of ``lpbf-train`` together with a task: each does what it does without one."""

from __future__ import annotations

import pandas as pd
import pytest
import torch._dynamo as dynamo

from pipelines.runs.run import Run
from pipelines.training import train as training

TINY = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")
SHORT = ("--targets", "displacement_z", "--epochs=1", "--examples=0", "-q")


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        # Twelve steps of two builds.
        (("--batch_size=4", "--augment", "mirror_x", "rotate_z"), 3),
        (("--batch_size=4", "--subsample=10", "--state_noise=0.1"), 3),
        # Of 16 to 40 nodes; see below for how many batches these make.
        (("--node_budget=80", "--pushforward"), None),
        (("--batch_size=2", "--accumulate=3", "--pushforward"), 2),
        (("--batch_size=6", "--precision=bf16-mixed", "--pushforward"), 2),
        (("--batch_size=6", "--features", "sdf", "sdf_direction", "--pushforward"), 2),
    ],
    ids=["augment", "subsample", "node_budget", "accumulate", "precision", "features"],
)
def test_an_option_goes_with_a_task(options, steps, command, builds, tmp_path):
    run = tmp_path / "run"
    outcome = command("flare", f"--data={builds}", "-o", run, "--task=next-step", *SHORT, *options, *TINY)
    assert (outcome.code, outcome.err) == (0, "")
    history = pd.read_csv(run / "metrics.csv")
    assert history[["train_loss", "val_loss"]].notna().all(axis=None)
    assert 3 < history["step"].item() < 12 if steps is None else history["step"].item() == steps
    assert Run.open(run).metrics["targets"]["displacement_z"]["test"]["cases"] == 1


def test_a_compiled_training_is_the_same_training(command, builds, tmp_path, monkeypatch):
    """Traced as if to be compiled: a C++ compiler takes minutes for all sizes of steps."""

    def trace(model, *, in_buckets):
        model.compile(backend="eager", dynamic=not in_buckets)

    monkeypatch.setattr(training, "compile_model", trace)
    dynamo.reset()
    losses = []
    for switch in ("--compile", "--no_compile"):
        run = tmp_path / switch
        options = ("--task=next-step", "--pushforward", "--batch_size=6", switch)
        outcome = command("flare", f"--data={builds}", "-o", run, *SHORT, *options, *TINY)
        assert outcome.code == 0, outcome.err
        losses.append(pd.read_csv(run / "metrics.csv")["train_loss"].item())
    dynamo.reset()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_nodes_cannot_be_left_out_where_edges_are_seen(command, builds, tmp_path):
    options = ("--task=next-step", "--subsample=10")
    outcome = command("meshgraphnet", f"--data={builds}", "-o", tmp_path / "run", *SHORT, *options)
    assert outcome.code == 2
    assert outcome.err == (
        "error: --subsample: meshgraphnet needs every node, as it sees the edges between them\n"
    )


@pytest.mark.parametrize("model", ["mean_field", "knn", "boosted_trees"])
def test_floors_learn_no_steps(model, command, builds, tmp_path):
    outcome = command(model, f"--data={builds}", "-o", tmp_path / "run", "-q", "--task=any-step")
    assert outcome.code == 2
    assert "--task any-step: floors learn the final state alone; train a model" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
