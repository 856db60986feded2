"""Learning the steps of a build by ``lpbf-train``, and what comes of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from pipelines import evaluate, train, view
from pipelines.runs.run import Run, RunError
from pipelines.steps.transitions import StepReader
from pipelines.training.module import Surrogate
from pipelines.view_subjects import open_subject

TINY = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")
TARGETS = ("--targets", "displacement_z", "von_mises_stress")


@pytest.fixture(scope="module")
def trained(builds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps") / "run"
    options = (
        "--task=next-step",
        "--epochs=3",
        "--batch_size=3",
        "--ema_decay=0.5",
        "--state_noise=0.01",
        "--pushforward",
        "--examples=0",
    )
    assert train.run(["flare", f"--data={builds}", f"-o{folder}", "-q", *TARGETS, *options, *TINY]) == 0
    return Run.open(folder)


@pytest.fixture
def case(trained, builds):
    return lpbf.open_dataset(builds)["x1"]


def test_every_step_is_scored_in_both_modes(trained):
    rows = pd.read_parquet(trained.path / "case_metrics.parquet")
    steps = rows[(rows["region"] == "step") & (rows["target"] == "displacement_z")]
    assert set(steps["mode"]) == {"rolled_out", "teacher_forced", "unchanged"}
    of_case = steps[(steps["case_id"] == "x1") & (steps["mode"] == "rolled_out")]
    assert of_case["step"].tolist() == [0, 1, 2, 3, 4]
    assert of_case["kind"].tolist() == ["deposited", "dwelt", "deposited", "dwelt", "cooled"]
    whole = rows[(rows["region"] == "all") & (rows["case_id"] == "x1") & (rows["target"] == "displacement_z")]
    assert whole["relative_l2"].item() == pytest.approx(of_case["relative_l2"].mean())
    last = rows[(rows["region"] == "last_step") & (rows["case_id"] == "x1")]
    assert last["relative_l2"].iloc[0] == pytest.approx(of_case["relative_l2"].iloc[-1])


def test_the_floor_is_the_true_state_before(trained, case):
    rows = pd.read_parquet(trained.path / "case_metrics.parquet").query("target == 'displacement_z'")
    floor = rows[(rows["mode"] == "unchanged") & (rows["case_id"] == "x1")]
    assert floor["relative_l2"].iloc[0] == pytest.approx(1), "nothing is known before the first step"
    first, dwelt = case.steps[0], case.steps[1]
    np.testing.assert_array_equal(first.points, dwelt.points)
    truth, unchanged = dwelt.scalar("displacement_z"), first.scalar("displacement_z")
    error = np.linalg.norm(truth - unchanged) / np.linalg.norm(truth)
    assert floor["relative_l2"].iloc[1] == pytest.approx(error)


def test_the_run_folder_is_like_any_other(trained):
    assert trained.metrics["targets"]["displacement_z"]["test"]["cases"] == 1
    assert (trained.path / "plots" / "steps.png").is_file()


def test_rolling_out_repeats_single_steps(trained, case):
    before, state = None, None
    for step, prediction in trained.roll_out(case):
        state = trained.predict_step(step, before, state)
        np.testing.assert_array_equal(prediction, state)
        before = step
    assert before.kind == "cooled"


def test_a_true_state_is_what_teachers_give(trained, case):
    first, second = list(StepReader.of(trained.description).steps(case, [0, 1]))
    truth = trained.scaling.truth(first)
    forced = trained.predict_step(second, first)
    np.testing.assert_array_equal(trained.predict_step(second, first, truth), forced)
    assert not np.array_equal(trained.predict_step(second, first, truth + 1), forced)


def test_a_run_is_looked_at_step_by_step(trained, case, tmp_path):
    picture, plot = tmp_path / "step.png", tmp_path / "build.png"
    files = ("--screenshot", str(picture), "--plot", str(plot), "--size=300x200", "-q")
    assert view.run([str(trained.path), "--step=2", *files]) == 0
    assert picture.is_file()
    assert plot.is_file()
    subject = open_subject(str(trained.path))
    assert len(subject.step_labels("x1")) == 5
    for (_, expected), (_, seen) in zip(trained.roll_out(case), subject.predictions("x1"), strict=True):
        np.testing.assert_array_equal(np.column_stack([seen[name] for name in trained.targets]), expected)


def test_there_is_no_final_state_to_predict(trained, case):
    with pytest.raises(RunError, match=r"call Run\.roll_out"):
        trained.predict(case)


def test_a_run_on_final_states_has_no_steps(finished, case):
    with pytest.raises(RunError, match="--task next-step"):
        list(Run.open(finished).roll_out(case))


def test_runs_are_compared_step_by_step(trained, tmp_path, capsys):
    assert evaluate.run([str(trained.path), "-o", str(tmp_path), "--split=test"]) == 0
    out = capsys.readouterr().out
    assert "displacement_z" in out
    page = (tmp_path / "comparison.html").read_text()
    assert "Error over the build" in page
    assert "last step on the plate" in page


@pytest.mark.parametrize(("model", "task"), [("meshgraphnet", "next-step"), ("flare++", "any-step")])
def test_models_share_the_tasks(model, task, command, builds, tmp_path):
    tiny = TINY if model == "flare++" else ()
    options = (f"--task={task}", "--max_steps=2", "--batch_size=2", "--examples=0", "-q")
    outcome = command(model, f"--data={builds}", "-o", tmp_path / "run", *TARGETS, *options, *tiny)
    assert outcome.code == 0, outcome.err
    rows = pd.read_parquet(tmp_path / "run" / "case_metrics.parquet")
    modes = {"rolled_out", "teacher_forced", "unchanged"} if task == "next-step" else {"direct"}
    assert set(rows["mode"].dropna()) == modes


def test_learning_goes_on_where_it_stopped(command, builds, tmp_path, monkeypatch):
    options = ("--task=next-step", "--state_noise=0.1", "--pushforward", "--augment", "mirror_x")
    recipe = ("--node_budget=60", "--epochs=2", "--checkpoint_minutes=0", "--examples=0", "-q", *TINY)
    arguments = ("flare", f"--data={builds}", *TARGETS, *options, *recipe)
    assert command(*arguments, "-o", tmp_path / "straight").code == 0
    step = Surrogate.training_step

    def interrupted(self, batch, index):
        if self.current_epoch == 1 and index == 1:
            monkeypatch.setattr(Surrogate, "training_step", step)
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Surrogate, "training_step", interrupted)
    assert command(*arguments, "-o", tmp_path / "resumed").code == 1
    assert command("flare", "-o", tmp_path / "resumed", "--resume", "-q").code == 0
    straight, resumed = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("straight", "resumed"))
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), straight.drop(columns="seconds"))


@pytest.mark.slow
def test_one_case_is_learnt_by_heart(command, make_builds, make_bar, tmp_path):
    path = make_builds(tmp_path / "one.zarr", make_bar("t1", layers=3))
    options = (
        "--task=next-step",
        "--min_steps=400",
        "--learning_rate=5e-3",
        "--ema_decay=0.9",
        "--examples=1",
    )
    run = tmp_path / "run"
    assert command("flare", f"--data={path}", "-o", run, "-q", "--batch_size=7", *options, *TINY).code == 0
    assert (run / "predictions" / "t1.vtu").is_file()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["targets"]["displacement_z"]["train"]["mean"]["relative_l2"] < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--state_noise=0.1",), "--state_noise"),
        (("--task=any-step", "--state_noise=0.1"), "--state_noise"),
        (("--across_removal",), "--across_removal"),
        (("--task=any-step", "--pushforward"), "--pushforward"),
        (("--task=next-step", "--pushforward", "--subsample=5"), "--subsample"),
        (("--task=next-step", "--shard_nodes=2"), "--shard_nodes"),
        (("--task=next-step", "--targets", "cauchy_stress_xx"), "cauchy_stress"),
        (("--task=every-step",), "task"),
    ],
)
def test_what_does_not_go_together_is_one_line(options, message, command, builds, tmp_path):
    outcome = command("flare", f"--data={builds}", "-o", tmp_path / "run", "-q", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_store_without_history_is_one_line(command, store, tmp_path):
    outcome = command("flare", f"--data={store}", "-o", tmp_path / "run", "-q", "--task=next-step")
    assert outcome.code == 2
    assert "lpbf-build --steps all" in outcome.err
