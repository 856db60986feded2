"""Deep ensembles: several runs in one folder, which is used like a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import meshio
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from pipelines import evaluate, train, view
from pipelines.console import EXIT_INCOMPLETE
from pipelines.runs.run import Run, RunError
from pipelines.scoring.calibration import NAMES, calibration
from pipelines.scoring.case_metrics import evaluation_key
from pipelines.training import ensemble

MODEL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")
OPTIONS = ("--epochs=1", "--ema_decay=0.5", "--seed=7", "-q", *MODEL)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """Return a finished ensemble of three."""
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    targets = ("--targets", "displacement", "von_mises_stress")
    assert train.run(["flare", f"--data={store}", f"-o{folder}", "--members=3", *targets, *OPTIONS]) == 0
    return folder


@pytest.fixture
def spoilt(trained, tmp_path):
    """Return a copy of the ensemble that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_each_member_is_a_run_from_a_seed_of_its_own(trained):
    assert sorted(path.name for path in trained.iterdir()) == [
        "case_metrics.parquet",
        "config.yaml",
        "environment.json",
        "member_0",
        "member_1",
        "member_2",
        "metrics.json",
        "plots",
        "predictions",
        "report.html",
        "tensorboard",
        "training_set.json",
    ]
    members = [Run.open(trained / f"member_{index}") for index in range(3)]
    assert [(run.config["seed"], run.config["members"], run.members) for run in members] == [
        (7, 1, 1),
        (8, 1, 1),
        (9, 1, 1),
    ]
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert (config["seed"], config["members"]) == (7, 3)
    assert all(run.metrics["epoch"] == 1 for run in members)


def test_mean_and_standard_deviation_are_those_of_the_members(trained):
    run = Run.open(trained)
    assert (run.members, run.epoch) == (3, None)
    case = run.dataset().test[0]
    each = np.stack([Run.open(trained / f"member_{index}").predict(case) for index in range(3)])
    mean, std = run.predict_with_uncertainty(case)
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-5, atol=1e-7)
    squared = np.square(each.astype(float) - each.mean(axis=0, dtype=float)).sum(axis=0)
    np.testing.assert_allclose(std, np.sqrt(squared / 2), rtol=1e-4, atol=1e-7)
    assert (std > 0).all()
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_array_equal(run.predict(case), mean)


def test_a_single_run_has_no_uncertainty(trained):
    run = Run.open(trained / "member_1")
    prediction, std = run.predict_with_uncertainty(run.dataset().test[0])
    assert std is None
    assert prediction.shape == (16, 4)


def test_metrics_are_those_of_the_mean_and_of_its_uncertainty(trained):
    run = Run.open(trained)
    scores = pd.read_parquet(trained / "case_metrics.parquet").set_index(["case_id", "target"])
    assert len(scores) == 5 * 5
    case = run.dataset()["d"]
    mean, std = run.predict_with_uncertainty(case)
    row = scores.loc["d", "displacement_y"]
    expected = calibration(mean[:, 1], std[:, 1], case.displacement[:, 1], 3)
    assert {name: row[name] for name in NAMES} == pytest.approx(expected)
    error = np.linalg.norm(mean[:, :3] - case.displacement)
    whole = scores.loc["d", "displacement"]
    assert whole["relative_l2"] == pytest.approx(error / np.linalg.norm(case.displacement), rel=1e-5)
    assert whole["coverage_95"] != whole["coverage_95"]
    stored = json.loads((trained / "metrics.json").read_text())["targets"]
    assert set(NAMES) <= stored["von_mises_stress"]["test"]["mean"].keys()
    assert not set(NAMES) & stored["displacement"]["test"]["mean"].keys()
    single = pd.read_parquet(trained / "member_0" / "case_metrics.parquet")
    assert not set(NAMES) & set(single.columns)


def test_it_is_evaluated_beside_its_members(trained, tmp_path, capsys):
    arguments = [str(trained), str(trained / "member_0"), "--split=train", f"-o{tmp_path / 'out'}"]
    assert evaluate.run(arguments) == 0
    assert "Uncertainty compared with the error" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    calibrated = table[table["metric"] == "spread_skill_ratio"]
    assert set(calibrated["run"]) == {"run"}
    assert set(calibrated["target"]) == {f"displacement_{axis}" for axis in "xyz"} | {"von_mises_stress"}
    assert "Reliability" in (tmp_path / "out" / "comparison.html").read_text()


def test_it_is_viewed_like_a_run(trained, tmp_path):
    picture = tmp_path / "view.png"
    assert view.run([str(trained), "--field=displacement_z", f"--screenshot={picture}", "-q"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_its_scores_belong_to_the_checkpoints_of_its_members(spoilt):
    key = evaluation_key(spoilt, "content")
    assert evaluation_key(spoilt, "content") == key
    first = spoilt / "member_0" / "checkpoints"
    first.rename(first.with_name("other"))
    assert evaluation_key(spoilt, "content") != key


def interrupted_at(monkeypatch, member):
    """Let the training of a member end early, once."""
    train_member = ensemble.train

    def training(job):
        if job.output.name == member:
            monkeypatch.setattr(ensemble, "train", train_member)
            return EXIT_INCOMPLETE
        return train_member(job)

    monkeypatch.setattr(ensemble, "train", training)


def test_an_interrupted_ensemble_goes_on_with_the_rest(command, store, tmp_path, monkeypatch, trained):
    folder = tmp_path / "run"
    interrupted_at(monkeypatch, "member_1")
    outcome = command("flare", f"--data={store}", "-o", folder, "--members=2", *OPTIONS)
    assert outcome.code == 1
    assert f"1 of 2 members are trained; go on with the others by: lpbf-train flare -o {folder} --resume" in (
        outcome.err
    )
    with pytest.raises(RunError, match="has 1 of its 2 members; train the others with lpbf-train"):
        Run.open(folder)
    first = (folder / "member_0" / "metrics.json").stat().st_mtime_ns
    assert command("flare", "-o", folder, "--resume", "-q") == (0, "", "")
    assert (folder / "member_0" / "metrics.json").stat().st_mtime_ns == first
    assert Run.open(folder).members == 2
    assert command("flare", "-o", folder, "--resume").out.startswith(f"{folder} is finished")


def test_a_member_that_is_under_way_is_resumed(spoilt, command):
    (spoilt / "metrics.json").unlink()
    (spoilt / "member_1" / "metrics.json").unlink()
    shutil.rmtree(spoilt / "member_2")
    weights = (spoilt / "member_1" / "checkpoints" / "best.ckpt").read_bytes()
    assert command("flare", "-o", spoilt, "--resume", "-q").code == 0
    assert (spoilt / "member_1" / "checkpoints" / "best.ckpt").read_bytes() == weights
    assert (
        Run.open(spoilt).metrics["targets"].keys() == Run.open(spoilt / "member_2").metrics["targets"].keys()
    )


def test_a_member_is_the_run_of_its_seed(trained, store, tmp_path):
    config = trained / "member_2" / "config.yaml"
    assert train.run(["flare", f"--config={config}", f"-o{tmp_path / 'alone'}", "-q"]) == 0
    case = Run.open(trained).dataset().test[0]
    alone, member = (Run.open(path).predict(case) for path in (tmp_path / "alone", trained / "member_2"))
    np.testing.assert_array_equal(alone, member)


def test_options_that_cannot_be_trained_leave_no_folder(command, store, tmp_path):
    folder = tmp_path / "run"
    outcome = command(
        "flare", f"--data={store}", "-o", folder, "--members=2", "--targets", "temperature", *OPTIONS
    )
    assert outcome.code == 2
    assert "the same on every training node" in outcome.err
    assert not folder.exists()


def test_the_number_of_members_must_be_positive(command, store, tmp_path):
    outcome = command("flare", f"--data={store}", "-o", tmp_path / "run", "--members=0", *OPTIONS)
    assert outcome.code == 2
    assert "--members must be positive, not 0" in outcome.err


def test_other_options_are_not_resumed(spoilt, command):
    (spoilt / "metrics.json").unlink()
    outcome = command("flare", "-o", spoilt, "--resume", "--members=4")
    assert outcome.code == 2
    assert "members is 4, not 3" in outcome.err


def test_members_of_different_models_are_refused(spoilt):
    path = spoilt / "member_1" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["lpbf_surrogate"]["scaling"]["mean"] = (1.0, 2.0, 3.0, 4.0)
    torch.save(checkpoint, path)
    with pytest.raises(RunError, match="member_1 is of another model or scaling than"):
        Run.open(spoilt)


@pytest.mark.parametrize("members", ["three", None, [3], True])
def test_a_number_of_members_that_is_none(spoilt, members):
    config = yaml.safe_load((spoilt / "config.yaml").read_text())
    (spoilt / "config.yaml").write_text(yaml.safe_dump({**config, "members": members}))
    with pytest.raises(RunError, match="no checkpoint yet"):
        Run.open(spoilt)


@pytest.mark.slow
def test_two_devices(make_store, tmp_path):
    """Two processes on the CPU train every member together, and one of them evaluates."""
    store = make_store(tmp_path / "s.zarr", dict.fromkeys("abc", "train"))
    arguments = ["flare", f"--data={store}", f"-o{tmp_path / 'run'}", "--members=2", "--devices=2"]
    command = Path(sys.executable).with_name("lpbf-train")
    done = subprocess.run(
        [command, *arguments, "--accelerator=cpu", *OPTIONS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    run = Run.open(tmp_path / "run")
    assert (run.members, run.config["devices"]) == (2, 2)
    for index in range(2):
        history = pd.read_csv(tmp_path / "run" / f"member_{index}" / "metrics.csv")
        # Three cases for two devices: two steps an epoch.
        assert history["step"].tolist() == [2]


def test_examples_hold_the_spread_of_the_members(trained):
    run = Run.open(trained)
    (path,) = (trained / "predictions").glob("*.vtu")
    fields = meshio.read(path).point_data
    _, std = run.predict_with_uncertainty(run.dataset()[path.stem])
    for column, target in enumerate(run.targets):
        np.testing.assert_array_equal(fields[f"{target}_std"], std[:, column])
    assert not (trained / "member_0" / "predictions").exists()
