"""Nothing is learnt, predicted or scored across the removal of the plate, or a missing step, unasked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from pipelines.runs.run import Run
from pipelines.steps.samples import make_samples
from pipelines.steps.tasks import conditions

OPTIONS = ("--targets", "displacement_z", "--epochs=1", "--batch_size=8", "--examples=0", "-q")
TINY = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


@pytest.mark.parametrize("task", ["next-step", "any-step"])
@pytest.mark.parametrize("across", [False, True])
def test_the_removal_is_crossed_if_asked_for_alone(task, across, command, builds, tmp_path):
    folder = tmp_path / "run"
    switch = ("--across_removal",) if across else ()
    outcome = command("flare", f"--data={builds}", "-o", folder, f"--task={task}", *switch, *OPTIONS, *TINY)
    assert outcome.code == 0, outcome.err
    run, store = Run.open(folder), lpbf.open_dataset(builds)
    last = "removed" if across else "cooled"
    samples = make_samples(store.train, run.description)
    kinds = [store.train.step_table(pair.case).kinds[pair.step] for pair in samples.transitions]
    assert kinds.count("removed") == (2 if across else 0)
    assert len(samples) == (14 if across else 12)
    rolled_out = [step.kind for step, _ in run.roll_out(store["x1"])]
    assert rolled_out == ["deposited", "dwelt", "deposited", "dwelt", "cooled", "removed"][: 5 + across]
    rows = pd.read_parquet(folder / "case_metrics.parquet").query("region == 'step'")
    assert ("removed" in set(rows["kind"])) == across
    assert rows.query("case_id == 'x1'").sort_values("step")["kind"].iloc[-1] == last
    # -1 mm, off the plate, is among what the scale is taken from or is not.
    assert (run.description.task.state_mean[0] < 0.05) == across


def test_over_a_missing_step_there_is_a_longer_transition(make_builds, make_bar, command, tmp_path):
    """In training, in the roll-out and in the scores."""
    bars = make_bar("t1", layers=2, missing=(2,)), make_bar("x1", layers=2, missing=(3,))
    path = make_builds(tmp_path / "b.zarr", *bars)
    folder = tmp_path / "run"
    outcome = command("flare", f"--data={path}", "-o", folder, "--task=next-step", *OPTIONS, *TINY)
    assert outcome.code == 0, outcome.err
    run, store = Run.open(folder), lpbf.open_dataset(path)
    samples = make_samples(store.train, run.description)
    pairs = [(pair.before, pair.step) for pair in samples.transitions]
    assert pairs == [(None, 0), (0, 1), (1, 3), (3, 4)]
    task = run.description.task
    steps = store["t1"].steps
    # Two steps of 10 s, and a layer of 1 mm with them.
    known = conditions("next-step", steps[3], steps[1])
    np.testing.assert_allclose(known, [30, 2, 20, 1])
    columns = samples[2].inputs[0, 5:9].numpy() * task.condition_std + task.condition_mean
    np.testing.assert_allclose(columns, known, rtol=1e-5)
    increment = samples[2].targets.numpy() * run.scaling.std + run.scaling.mean
    x = steps[3].points[:, 0]
    np.testing.assert_allclose(increment[:, 0], 2 * 0.01 * (1 + x), rtol=1e-4)
    assert [step.index for step, _ in run.roll_out(store["x1"])] == [0, 1, 2, 4]
    rows = pd.read_parquet(folder / "case_metrics.parquet").query("case_id == 'x1' and region == 'step'")
    assert rows.query("mode == 'rolled_out'")["step"].tolist() == [0, 1, 2, 4]
