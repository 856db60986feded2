from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource
from pipelines.runs.models import MODELS
from pipelines.runs.run import Run
from pipelines.training.module import Surrogate

COMMAND = Path(sys.executable).with_name("lpbf-train")
SMALL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def history(folder):
    with (folder / "metrics.csv").open() as file:
        return [
            {name: float(value) for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def test_a_run_folder_is_complete(finished):
    files = {
        str(path.parent.relative_to(finished) if "tfevents" in path.name else path.relative_to(finished))
        for path in finished.rglob("*")
        if path.is_file()
    }
    assert files == {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "metrics.json",
        "case_metrics.parquet",
        "loss.png",
        "plots/displacement_z.png",
        "report.html",
        "tensorboard/training",
        "tensorboard/evaluation",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "checkpoints/best.ckpt",
        "training_set.json",
    }
    assert [row["epoch"] for row in history(finished)] == [1, 2, 3]
    assert (finished / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((finished / "environment.json").read_text())["store"]["cases"]["train"] == 3


def test_metrics_of_every_split(finished):
    targets = json.loads((finished / "metrics.json").read_text())["targets"]
    assert targets["displacement_z"]["unit"] == "mm"
    assert [targets["displacement_z"][split]["cases"] for split in ("train", "val", "test")] == [3, 1, 1]
    cases = pd.read_parquet(finished / "case_metrics.parquet")
    assert list(cases["case_id"]) == list("abcde")
    mean = cases[cases["split"] == "train"]["relative_l2"].mean()
    assert targets["displacement_z"]["train"]["mean"]["relative_l2"] == pytest.approx(mean)
    assert "published_relative_l2" in targets["displacement_z"]["test"]["median"]


def test_the_stored_configuration_repeats_the_run(finished, command, tmp_path):
    again = tmp_path / "again"
    assert command("flare", "--config", finished / "config.yaml", "-o", again, "-q").code == 0
    assert history(again) == history(finished)
    scores = (pd.read_parquet(run / "case_metrics.parquet") for run in (finished, again))
    pd.testing.assert_frame_equal(*scores)


def test_another_seed_is_another_run(finished, command, tmp_path):
    again = tmp_path / "again"
    config = finished / "config.yaml"
    assert command("flare", "--config", config, "-o", again, "--seed=1", "--epochs=1", "-q").code == 0
    assert history(again)[0]["train_loss"] != history(finished)[0]["train_loss"]


def test_the_console_says_what_happens(command, store, tmp_path):
    run = tmp_path / "run"
    outcome = command("flare", "--data", store, "-o", run, "--epochs=1", *SMALL)
    assert outcome.code == 0
    assert "flare, 1,705 parameters, on cpu" in outcome.out
    assert "3 train cases (76 nodes), 1 val, 1 test" in outcome.out
    assert "displacement_z [mm]" in outcome.out
    assert f"lpbf-view {run}" in outcome.out
    assert "training cases themselves" not in outcome.out
    assert "epoch 1/1" in outcome.err or "training" in outcome.err
    assert "Warning" not in outcome.err


def test_quiet_says_nothing(command, store, tmp_path):
    assert command("flare", "--data", store, "-o", tmp_path / "run", "--epochs=1", "-q", *SMALL) == (
        0,
        "",
        "",
    )


def test_a_store_without_other_splits_gives_the_training_error(command, train_only, tmp_path):
    run = tmp_path / "run"
    outcome = command("flare", "--data", train_only, "-o", run, "--epochs=2", *SMALL)
    assert outcome.code == 0
    assert "the error on the training cases themselves: the store has no others" in outcome.out
    assert not (run / "checkpoints" / "best.ckpt").exists()
    assert Run.open(run).epoch == 2
    assert "val_loss" not in history(run)[0]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_vectors_and_padded_batches(model, command, store, tmp_path):
    run = tmp_path / "run"
    small = SMALL if model == "flare" else ()
    targets = ("--targets", "displacement", "von_mises_stress")
    outcome = command(
        model, f"--data={store}", "-o", run, *targets, "--epochs=2", "--batch_size=2", "-q", *small
    )
    assert outcome.code == 0, outcome.err
    trained = Run.open(run)
    assert trained.targets == ("displacement_x", "displacement_y", "displacement_z", "von_mises_stress")
    assert trained.metrics["targets"]["von_mises_stress"]["unit"] == "MPa"
    assert "published_relative_l2" not in trained.metrics["targets"]["von_mises_stress"]["train"]["mean"]


def test_few_cases_are_repeated_until_the_steps_are_taken(command, store, tmp_path):
    # Three training cases in batches of two: two steps an epoch.
    options = ("--epochs=2", "--min_steps=7", "--batch_size=2", "-q", *SMALL)
    assert command("flare", f"--data={store}", "-o", tmp_path / "run", *options).code == 0
    assert [row["step"] for row in history(tmp_path / "run")] == [2, 4, 6, 8]


@pytest.mark.slow
def test_the_tiny_recipe_learns_a_real_part(command, step2, tmp_path):
    store, run = tmp_path / "step2.zarr", tmp_path / "run"
    build_store([NetfabbSource(step2)], store, BuildOptions())
    assert command("flare", f"--data={store}", "-o", run, "--recipe=tiny", "--min_steps=200", "-q").code == 0
    # Predicting zero everywhere gives 1.
    assert Run.open(run).metrics["targets"]["displacement_z"]["train"]["mean"]["relative_l2"] < 0.3


def test_a_finished_run_says_so(finished, command):
    outcome = command("flare", "-o", finished, "--resume")
    assert outcome.code == 0
    assert "is finished" in outcome.out


def test_evaluation_alone_is_resumed(copied, command):
    (copied / "metrics.json").unlink()
    before = history(copied)
    assert command("flare", "-o", copied, "--resume", "-q").code == 0
    assert (copied / "metrics.json").exists()
    assert history(copied) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs=5"], "epochs is 5, not 3"),
        (["--model.channels=16"], "model.channels is 16, not 8"),
        (["--targets", "von_mises_stress"], "targets is"),
        (["--seed=1", "--devices=2"], "devices is 2, not 1; seed is 1, not 0"),
    ],
)
def test_a_changed_configuration_is_not_resumed(arguments, message, copied, command):
    (copied / "metrics.json").unlink()
    outcome = command("flare", "-o", copied, "--resume", *arguments)
    assert outcome.code == 2
    assert "was started otherwise" in outcome.err
    assert all(part in outcome.err for part in message.split("; "))


def test_another_model_is_not_resumed(copied, command):
    (copied / "metrics.json").unlink()
    outcome = command("pointnet", "-o", copied, "--resume")
    assert outcome.code == 2
    assert "'flare' not among choices ['pointnet']" in outcome.err


def test_a_changed_store_is_not_resumed(copied, command, make_store, tmp_path):
    (copied / "metrics.json").unlink()
    other = make_store(tmp_path / "other.zarr", scale=2.0)
    outcome = command("flare", "-o", copied, "--resume", "--data", other)
    assert outcome.code == 2
    assert "holds other cases" in outcome.err


def test_a_damaged_configuration_is_not_resumed(copied, command):
    (copied / "metrics.json").unlink()
    (copied / "config.yaml").write_text("epochs: [")
    outcome = command("flare", "-o", copied, "--resume")
    assert outcome.code == 2
    assert "config.yaml is not YAML" in outcome.err


def test_nothing_to_resume(command, store, tmp_path):
    outcome = command("flare", "--data", store, "-o", tmp_path / "none", "--resume")
    assert outcome.code == 2
    assert "nothing to resume" in outcome.err


def test_an_existing_run_is_not_overwritten(finished, command, store):
    before = history(finished)
    outcome = command("flare", "--data", store, "-o", finished)
    assert outcome.code == 2
    assert "--resume, or choose another folder" in outcome.err
    assert history(finished) == before


def test_a_loss_that_is_not_finite_stops_with_the_case(command, store, tmp_path, monkeypatch):
    losses = Surrogate._losses

    def broken(self, batch):
        loss = losses(self, batch)
        return loss * float("nan") if self.current_epoch == 1 and "b" in batch.case_ids else loss

    monkeypatch.setattr(Surrogate, "_losses", broken)
    run = tmp_path / "run"
    options = ("--epochs=4", "--batch_size=3", "--checkpoint_minutes=0", "-q")
    outcome = command("flare", f"--data={store}", "-o", run, *options, *SMALL)
    assert outcome.code == 1
    assert "the loss of case " in outcome.err
    assert "is not finite in epoch 2" in outcome.err
    assert all(case_id in outcome.err.split("in the batch ")[1] for case_id in "abc")
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["epoch"] <= 1
    assert all(value.isfinite().all() for value in stored["current_model_state"].values())


def test_the_installed_command(store, tmp_path):
    run = tmp_path / "run"
    arguments = ["flare", f"--data={store}", f"-o{run}", "--epochs=1", *SMALL]
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "displacement_z [mm]" in done.stdout
    # Lightning's hints would stand here.
    assert all(
        "it/s" in line or "step" in line or "case" in line or not line for line in done.stderr.splitlines()
    )
    again = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert again.stderr.count("\n") == 1


def test_the_schedule_and_the_optimiser_are_those_asked_for(command, store, tmp_path):
    run = tmp_path / "run"
    recipe = ("--warmup_fraction=0.5", "--initial_divisor=10", "--betas", "0.8", "0.95", "--ema_decay=0")
    options = ("--epochs=10", "--batch_size=3", "--learning_rate=0.01", "-q", *SMALL)
    assert command("flare", f"--data={store}", "-o", run, *options, *recipe).code == 0
    rates = [row["learning_rate"] for row in history(run)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == rates[4] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.001 / 1e4)
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert tuple(stored["optimizer_states"][0]["param_groups"][0]["betas"]) == (0.8, 0.95)
