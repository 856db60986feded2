"""Floors through the command: the run folder, what it is fitted to, and its checkpoint."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import lpbf_dataset as lpbf
from baselines.floors import FLOORS
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource
from pipelines import train
from pipelines.runs.checkpoint import Description
from pipelines.runs.floor_checkpoint import TRAINING_NODES
from pipelines.runs.run import Run, RunError
from pipelines.runs.scaling import Scaling
from pipelines.training.fit import sample_nodes


@pytest.fixture(scope="module")
def fitted(store, tmp_path_factory):
    """Return a finished run of nearest neighbours on `store`."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    assert train.run(["knn", f"--data={store}", f"-o{folder}", "--model.neighbors=3", "-q"]) == 0
    return folder


@pytest.fixture
def spoilt(fitted, tmp_path):
    """Return a copy of it that a test may spoil."""
    return Path(shutil.copytree(fitted, tmp_path / "run"))


@pytest.mark.parametrize("floor", FLOORS)
def test_a_run_of_a_floor_is_like_any_other(floor, command, store, tmp_path):
    run = tmp_path / "run"
    targets = ("--targets", "displacement", "von_mises_stress")
    outcome = command(floor, "--data", store, "-o", run, *targets)
    assert outcome.code == 0, outcome.err
    assert f"{floor}, fitted to 76 of 76 nodes of 3 train cases" in outcome.out
    assert "inputs   points" in outcome.out
    assert "mean over cases:" in outcome.out
    assert "von_mises_stress [MPa]" in outcome.out
    opened = Run.open(run)
    assert opened.epoch is None
    assert opened.targets == ("displacement_x", "displacement_y", "displacement_z", "von_mises_stress")
    assert [opened.metrics["targets"]["displacement_z"][s]["cases"] for s in ("train", "val", "test")] == [
        3,
        1,
        1,
    ]
    cases = pd.read_parquet(run / "case_metrics.parquet")
    case = opened.dataset()["e"]
    error = np.linalg.norm(opened.predict(case)[:, 2] - case.displacement[:, 2])
    scored = cases[(cases["case_id"] == "e") & (cases["target"] == "displacement_z")]["relative_l2"].item()
    assert scored == pytest.approx(error / np.linalg.norm(case.displacement[:, 2]))
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {name for name in written if "tfevents" not in name} == {
        *(f"predictions/{case_id}.vtu" for case_id in opened.dataset().test.case_ids),
        "report.html",
        "config.yaml",
        "environment.json",
        "metrics.json",
        "case_metrics.parquet",
        str(TRAINING_NODES),
        "training_set.json",
    }


def test_the_mean_field_is_the_mean_in_physical_units(command, store, tmp_path):
    run = tmp_path / "run"
    assert command("mean_field", "--data", store, "-o", run, "-q") == (0, "", "")
    opened = Run.open(run)
    mean = opened.dataset().normalization["displacement"].mean[2]
    np.testing.assert_allclose(opened.predict(opened.dataset()["e"]), mean, rtol=1e-5)


def test_nearest_neighbors_know_the_training_cases(fitted):
    run = Run.open(fitted)
    metrics = run.metrics["targets"]["displacement_z"]
    assert metrics["train"]["mean"]["relative_l2"] < 1e-5
    assert metrics["test"]["mean"]["relative_l2"] < 0.5


def test_geometry_features_are_seen_where_the_store_has_them(command, step2, tmp_path):
    store, run = tmp_path / "step2.zarr", tmp_path / "run"
    build_store([NetfabbSource(step2)], store, BuildOptions())
    outcome = command("boosted_trees", "--data", store, "-o", run, "--max-nodes=2000", "--model.trees=30")
    assert outcome.code == 0, outcome.err
    assert "fitted to 2,000 of 3,227 nodes" in outcome.out
    assert "inputs   points, sdf, sdf_direction, axis_distance" in outcome.out
    opened = Run.open(run)
    assert opened.metrics["targets"]["displacement_z"]["train"]["mean"]["relative_l2"] < 0.2
    points = opened.dataset()[0].points
    with pytest.raises(RunError, match="case 'x' has no sdf, sdf_direction, axis_distance, which boosted"):
        opened.predict(lpbf.Case("x", "x", "stl", {"points": points}))


@pytest.fixture
def cases(store):
    return lpbf.open_dataset(store).train


@pytest.fixture
def description(cases):
    return Description("knn", {}, Scaling.of_store(cases, ("displacement_x",), (1.0, 1.0, 1.0)))


def test_few_nodes_are_all_taken(cases, description):
    inputs, targets = sample_nodes(cases, description, 76, 0, quiet=True)
    np.testing.assert_array_equal(inputs, np.concatenate([case.points for case in cases]))
    truth = np.concatenate([description.scaling.truth(case) for case in cases])
    np.testing.assert_array_equal(targets, description.scaling.encode(truth))


def test_inputs_and_targets_are_of_the_same_nodes(cases, description):
    inputs, targets = sample_nodes(cases, description, 40, 0, quiet=True)
    x, _, z = inputs.T
    np.testing.assert_allclose(description.scaling.decode(targets)[:, 0], -0.01 * x * z, atol=1e-6)


def test_every_node_is_as_likely_to_be_drawn(cases, description):
    """Nodes with x over 5 are 8 of 76, all of them of case b."""
    drawn = [sample_nodes(cases, description, 40, seed, quiet=True)[0] for seed in range(200)]
    assert all(len(np.unique(inputs, axis=0)) > 20 for inputs in drawn)
    assert np.mean([inputs[:, 0] > 5.5 for inputs in drawn]) == pytest.approx(8 / 76, rel=0.15)


def test_the_seed_decides_which_nodes(cases, description):
    first, again, other = (sample_nodes(cases, description, 40, seed, quiet=True)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_stored_configuration_repeats_the_run(fitted, command, tmp_path):
    again = tmp_path / "again"
    assert command("knn", "--config", fitted / "config.yaml", "-o", again, "-q").code == 0
    scores = (pd.read_parquet(run / "case_metrics.parquet") for run in (fitted, again))
    pd.testing.assert_frame_equal(*scores)


def test_a_finished_run_says_so(fitted, command):
    outcome = command("knn", "-o", fitted, "--resume")
    assert outcome.code == 0
    assert "is finished" in outcome.out


@pytest.mark.parametrize("lost", [[], [TRAINING_NODES]])
def test_an_interrupted_fit_goes_on(lost, spoilt, fitted, command):
    for path in ("metrics.json", *lost):
        (spoilt / path).unlink()
    assert command("knn", "-o", spoilt, "--resume", "-q") == (0, "", "")
    assert (spoilt / "metrics.json").read_text() == (fitted / "metrics.json").read_text()


def test_a_run_without_checkpoint(spoilt):
    (spoilt / TRAINING_NODES).unlink()
    with pytest.raises(RunError, match="no checkpoint yet"):
        Run.open(spoilt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_nodes=10"], "max_nodes is 10, not 200000"),
        (["--model.neighbors=4"], "model.neighbors is 4, not 3"),
    ],
)
def test_a_changed_configuration_is_not_resumed(arguments, message, spoilt, command):
    (spoilt / "metrics.json").unlink()
    outcome = command("knn", "-o", spoilt, "--resume", *arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_an_existing_run_is_not_overwritten(fitted, command, store):
    outcome = command("knn", "--data", store, "-o", fitted)
    assert outcome.code == 2
    assert "choose another folder" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_nodes=0"], "--max_nodes must be positive, not 0"),
        (["--seed=-1"], "--seed must not be negative"),
        (["--targets", "warp"], "no field named 'warp'"),
        (["--model.neighbors=0"], "neighbors must be a positive integer, not 0"),
        (["--max_nodes=2"], "neighbors=5, but there are only 2 nodes"),
        (["--epochs=3"], "epochs"),
        (["--recipe=tiny"], "recipe"),
    ],
)
def test_mistakes_are_one_line(arguments, message, command, store, tmp_path):
    outcome = command("knn", "--data", store, "-o", tmp_path / "run", "-q", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1


def test_help_names_floors_and_their_options(command):
    listed = command("--help").out
    assert all(name in listed for name in FLOORS)
    outcome = command("boosted_trees", "--help")
    assert "--model.trees" in outcome.out
    assert "--max_nodes" in outcome.out
    assert "--epochs" not in outcome.out


def checkpoint(folder):
    return folder / TRAINING_NODES


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_malicious_checkpoint_executes_nothing(spoilt, tmp_path):
    target = tmp_path / "executed"
    checkpoint(spoilt).write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(RunError, match="damaged"):
        Run.open(spoilt)
    assert not target.exists()


@pytest.mark.parametrize("keep", [0, 4, 100, -20])
def test_a_truncated_checkpoint(spoilt, keep):
    path = checkpoint(spoilt)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="damaged"):
        Run.open(spoilt)


def test_a_checkpoint_of_another_program(spoilt):
    save_file(load_file(checkpoint(spoilt)), checkpoint(spoilt))
    with pytest.raises(RunError, match="not a checkpoint of lpbf-train"):
        Run.open(spoilt)


def test_a_checkpoint_of_a_dtype_that_numpy_has_not(spoilt):
    tensors = {name: {"dtype": "BF16", "shape": [1, 3], "data_offsets": [0, 6]} for name in ("inputs",)}
    header = json.dumps({"__metadata__": {"lpbf_surrogate": "{}"}, **tensors}).encode()
    checkpoint(spoilt).write_bytes(struct.pack("<Q", len(header)) + header + bytes(6))
    with pytest.raises(RunError, match="damaged"):
        Run.open(spoilt)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, t: d.update(model="kmn"), "did you mean 'knn'"),
        (lambda d, t: d.update(model="pointnet"), "do not fit its floor"),
        (
            lambda d, t: d.update(model="pointnet", model_options={"in_channels": 3, "out_channels": 1}),
            "pointnet is trained, not fitted",
        ),
        (lambda d, t: d["model_options"].update(neighbors=100), "there are only 76 nodes"),
        (lambda d, t: d["model_options"].update(colour=1), "do not fit its floor"),
        (lambda d, t: d.pop("scaling"), "does not know"),
        (lambda d, t: d["scaling"].pop("mean"), "does not know"),
        (lambda d, t: d.update(scaling=3), "does not know"),
        (lambda d, t: t.pop("targets"), "damaged"),
        (lambda d, t: t.update(inputs=t["inputs"][:, :2].copy()), r"expected \(76, 3\)"),
        (lambda d, t: t.update(inputs=t["inputs"] * np.float32(np.nan)), "must be finite"),
    ],
)
def test_a_checkpoint_that_contradicts_itself(spoilt, change, message):
    path = checkpoint(spoilt)
    tensors = load_file(path)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    description = json.loads(header["__metadata__"]["lpbf_surrogate"])
    change(description, tensors)
    save_file(tensors, path, {"lpbf_surrogate": json.dumps(description)})
    with pytest.raises(RunError, match=message) as raised:
        Run.open(spoilt)
    assert "\n" not in str(raised.value)
