from __future__ import annotations

import csv
import itertools
from types import SimpleNamespace

import pytest

from pipelines.runs.run import Run
from pipelines.training import budget
from pipelines.training.budget import Budget

OPTIONS = ("--recipe=tiny", "--min_steps=0", "--epochs=5", "-q")


@pytest.fixture
def history(command, store, tmp_path):
    """Return a function that trains on three cases, one a batch; it gives the record of each epoch."""

    def train(*options):
        assert command("deep_sets", f"--data={store}", "-o", tmp_path / "run", *OPTIONS, *options).code == 0
        with (tmp_path / "run" / "metrics.csv").open() as file:
            return list(csv.DictReader(file))

    return train


@pytest.fixture
def ticking(monkeypatch):
    """Let every look at the clock take a second."""
    clock = itertools.count()
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))


def steps_of(rows):
    return [int(row["step"]) for row in rows]


def test_training_stops_amid_an_epoch_and_is_evaluated(history, tmp_path):
    rows = history("--max_steps=4")
    assert steps_of(rows) == [3, 4]
    assert all(row["val_loss"] for row in rows)
    assert float(rows[-1]["learning_rate"]) == pytest.approx(1e-3 / 1e8)
    assert Run.open(tmp_path / "run").metrics["targets"]


def test_a_budget_is_a_limit_and_nothing_more(history):
    assert steps_of(history("--max_steps=100", "--max_minutes=100")) == [3, 6, 9, 12, 15]


def test_a_step_of_several_batches_is_finished(history):
    assert steps_of(history("--max_steps=3", "--accumulate=2")) == [2, 3]


def test_time_is_up_at_the_first_step_beyond(history, ticking):
    # One second at the start, one a step.
    rows = history(f"--max_minutes={5 / 60}")
    assert steps_of(rows) == [3, 4]
    assert float(rows[-1]["learning_rate"]) < 0.5e-3


def test_nothing_is_left_to_do_once_the_budget_is_used(history, command, tmp_path):
    history("--max_steps=4")
    (tmp_path / "run" / "metrics.json").unlink()
    before = (tmp_path / "run" / "metrics.csv").read_text()
    assert command("deep_sets", "-o", tmp_path / "run", "--resume", "-q").code == 0
    assert (tmp_path / "run" / "metrics.csv").read_text() == before
    assert (tmp_path / "run" / "metrics.json").exists()


def test_the_share_is_that_of_steps_or_of_time_whichever_is_larger(ticking):
    limits = Budget(0, 10 / 60)
    assert [limits.share(step, 5) for step in (0, 2, 4, 5)] == [0, 0.5, 1, 1]
    limits.load_state_dict({"seconds": 7.5})
    assert [limits.share(step, 5) for step in (0, 2, 4)] == [0.75, 0.75, 1]
    trainer = SimpleNamespace(
        global_step=0, strategy=SimpleNamespace(broadcast=lambda value: value), should_stop=False
    )
    limits.on_train_start(trainer, None)
    assert limits.state_dict() == {"seconds": 8.5}
    assert not trainer.should_stop


def test_a_training_of_less_than_three_steps_has_a_share():
    assert [Budget(0, 0).share(step, 1) for step in (0, 1)] == [0, 0.5]
