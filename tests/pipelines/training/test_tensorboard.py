"""Events are read back by the definition of the format: records of length, checksum, event, checksum."""

from __future__ import annotations

import csv
import struct

import pytest
from tensorboardX.proto import event_pb2

from pipelines.training.module import Surrogate
from pipelines.training.tensorboard import write_final_metrics

TINY = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def events(folder):
    """Yield the events of all files of a folder, in the order in which TensorBoard reads them."""
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack_from("<Q", data)
            yield event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def scalars(folder):
    """Return (step, value) pairs by tag, without what a later start hides."""
    found = {}
    for event in events(folder):
        if event.HasField("session_log"):
            for tag, pairs in found.items():
                found[tag] = [pair for pair in pairs if pair[0] < event.step]
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def history(run, column):
    with (run / "metrics.csv").open() as file:
        return [(int(float(row["step"])), float(row[column])) for row in csv.DictReader(file)]


def assert_same_as_history(run):
    found = scalars(run / "tensorboard" / "training")
    assert set(found) == {"epoch", "loss/train", "loss/val", "learning_rate", "seconds_per_epoch"}
    for tag, column in (
        ("loss/train", "train_loss"),
        ("loss/val", "val_loss"),
        ("learning_rate", "learning_rate"),
        ("seconds_per_epoch", "seconds"),
    ):
        for (step, value), (expected_step, expected) in zip(found[tag], history(run, column), strict=True):
            assert step == expected_step
            assert value == pytest.approx(expected, rel=1e-4, abs=1e-3 if tag == "seconds_per_epoch" else 0)


def test_the_curves_are_those_of_the_history(finished):
    assert_same_as_history(finished)


def test_final_metrics_are_those_of_the_run(finished):
    found = scalars(finished / "tensorboard" / "evaluation")
    assert {tag.partition("/")[0] for tag in found} == {"train", "val", "test"}
    ((step, value),) = found["test/displacement_z/relative_l2"]
    assert step == history(finished, "step")[-1][0]
    assert value > 0


def test_metrics_written_again_replace_the_others(tmp_path):
    for error in (0.5, 0.25):
        metrics = {"targets": {"temperature": {"unit": "degC", "val": {"cases": 1, "mean": {"r2": error}}}}}
        write_final_metrics(tmp_path, metrics, 7)
    assert scalars(tmp_path / "tensorboard" / "evaluation") == {"val/temperature/r2": [(7, 0.25)]}


@pytest.mark.parametrize("minutes", [0, 1e9])
def test_a_resumed_training_goes_on_without_repeating_a_step(minutes, command, store, tmp_path, monkeypatch):
    """Interrupted in the third of four epochs; the last checkpoint is within it or of the first."""
    step = Surrogate.training_step

    def interrupted(self, data, index):
        if self.current_epoch == 2 and index == 1:
            monkeypatch.setattr(Surrogate, "training_step", step)
            raise KeyboardInterrupt
        return step(self, data, index)

    monkeypatch.setattr(Surrogate, "training_step", interrupted)
    run = tmp_path / "run"
    options = ("--epochs=4", f"--checkpoint_minutes={minutes}", "-q", *TINY)
    assert command("flare", f"--data={store}", "-o", run, *options).code == 1
    assert len(scalars(run / "tensorboard" / "training")["loss/train"]) == 2
    assert command("flare", "-o", run, "--resume", "-q").code == 0
    assert len(list((run / "tensorboard" / "training").iterdir())) == 2
    assert_same_as_history(run)
