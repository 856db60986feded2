from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import lpbf_dataset as lpbf
from pipelines.runs.run import Run, RunError


def checkpoint_of(folder):
    return folder / "checkpoints" / "best.ckpt"


def test_predicts_physical_units_with_the_averaged_weights(finished):
    run = Run.open(finished)
    case = run.dataset().test[0]
    prediction = run.predict(case)
    assert prediction.shape == (case.node_count, 1)
    assert prediction.dtype == np.float32
    assert run.targets == ("displacement_z",)

    stored = torch.load(checkpoint_of(finished), weights_only=True)
    average = {name.removeprefix("model."): value for name, value in stored["state_dict"].items()}
    latest = {name.removeprefix("model."): value for name, value in stored["current_model_state"].items()}
    assert any(not torch.equal(average[name], latest[name]) for name in average)
    run.model.load_state_dict(average)
    moments = run.dataset().normalization["displacement"]
    with torch.inference_mode():
        standardised = run.model(torch.from_numpy(case.points / np.float32([30, 30, 60]))[None])[0].numpy()
    np.testing.assert_allclose(prediction, standardised * moments.std[2] + moments.mean[2], rtol=1e-5)


def test_metrics_are_those_of_its_predictions(finished):
    run = Run.open(finished)
    case = run.dataset().test[0]
    error = run.predict(case)[:, 0] - case.displacement[:, 2]
    expected = np.linalg.norm(error) / np.linalg.norm(case.displacement[:, 2])
    assert run.metrics["targets"]["displacement_z"]["test"]["mean"]["relative_l2"] == pytest.approx(expected)


def test_a_case_from_elsewhere_needs_only_points(finished):
    points = np.random.default_rng(0).uniform(0, 5, (9, 3)).astype(np.float32)
    assert Run.open(finished).predict(lpbf.Case("x", "x", "stl", {"points": points})).shape == (9, 1)


def test_a_run_may_move(copied):
    assert Run.open(copied).config["epochs"] == 3


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"not a run of lpbf-train: it has no config\.yaml"):
        Run.open(tmp_path)


def test_a_run_without_checkpoint(copied):
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(RunError, match="no checkpoint yet"):
        Run.open(copied)


@pytest.mark.parametrize("content", ["model: {{", "just text", "\x00"])
def test_a_damaged_configuration(copied, content):
    (copied / "config.yaml").write_text(content)
    with pytest.raises(RunError, match=r"config\.yaml"):
        Run.open(copied)


@pytest.mark.parametrize("keep", [0, 10, 3000, -200])
def test_a_truncated_checkpoint(copied, keep):
    path = checkpoint_of(copied)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match=r"best\.ckpt is damaged"):
        Run.open(copied)


def test_a_text_file_as_checkpoint(copied):
    checkpoint_of(copied).write_text("hello")
    with pytest.raises(RunError, match="damaged"):
        Run.open(copied)


def test_a_checkpoint_of_another_program(copied):
    torch.save({"state_dict": {}}, checkpoint_of(copied))
    with pytest.raises(RunError, match="not a checkpoint of lpbf-train"):
        Run.open(copied)


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_malicious_checkpoint_executes_nothing(copied, tmp_path, save):
    target = tmp_path / "executed"
    stored = torch.load(checkpoint_of(copied), weights_only=True)
    save({**stored, "extra": Malicious(target)}, checkpoint_of(copied))
    with pytest.raises(RunError, match="is damaged"):
        Run.open(copied)
    assert not target.exists()


def spoil(change):
    def apply(path):
        checkpoint = torch.load(path, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, path)

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["lpbf_surrogate"].update(model="flair"), "did you mean 'flare'"),
        (lambda c: c["lpbf_surrogate"]["model_options"].update(channels=16), "do not fit its model"),
        (lambda c: c["lpbf_surrogate"]["model_options"].update(channels="wide"), "do not fit its model"),
        (lambda c: c["lpbf_surrogate"]["model_options"].update(colour=1), "do not fit its model"),
        (lambda c: c["lpbf_surrogate"].pop("scaling"), "does not know"),
        (lambda c: c["lpbf_surrogate"]["scaling"].pop("mean"), "does not know"),
        (lambda c: c["state_dict"].popitem(), "do not fit its model"),
        (lambda c: c.pop("state_dict"), "do not fit its model"),
        (lambda c: c.update(lpbf_surrogate=3), "does not know"),
    ],
)
def test_a_checkpoint_that_contradicts_itself(copied, change, message):
    spoil(change)(checkpoint_of(copied))
    with pytest.raises(RunError, match=message) as raised:
        Run.open(copied)
    assert "\n" not in str(raised.value)


def test_metrics_of_an_unfinished_run(copied):
    (copied / "metrics.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        _ = Run.open(copied).metrics
    (copied / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"metrics\.json is damaged"):
        _ = Run.open(copied).metrics


def test_a_store_that_has_changed_is_refused(copied, make_store, tmp_path):
    other = make_store(tmp_path / "other.zarr", scale=2.0)
    config = copied / "config.yaml"
    run = Run.open(copied)
    config.write_text(config.read_text().replace(run.config["data"], str(other)))
    with pytest.raises(RunError, match="other cases than when"):
        Run.open(copied).dataset()


def test_the_same_store_elsewhere_is_taken(copied, store, tmp_path):
    moved = shutil.copytree(store, tmp_path / "moved.zarr")
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace(str(store), str(moved)))
    assert Run.open(copied).dataset().case_ids == tuple("abcde")
