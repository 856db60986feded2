"""Deep ensembles of models of steps: each member goes on from its own states."""

from __future__ import annotations

import meshio
import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from pipelines import evaluate, train
from pipelines.runs.run import Run
from pipelines.scoring.calibration import NAMES, calibration

TINY = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


@pytest.fixture(scope="module")
def trained(builds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    options = ("--task=next-step", "--members=2", "--epochs=1", "--batch_size=4", "--examples=1", "-q")
    targets = ("--targets", "displacement_z", "von_mises_stress")
    assert train.run(["flare", f"--data={builds}", f"-o{folder}", *targets, *options, *TINY]) == 0
    return Run.open(folder)


@pytest.fixture
def case(builds):
    return lpbf.open_dataset(builds)["x1"]


def test_mean_and_spread_are_those_of_the_members_rolled_out(trained, case):
    members = [Run.open(trained.path / f"member_{index}") for index in range(2)]
    each = zip(*(member.roll_out(case) for member in members), strict=True)
    whole = trained.roll_out_with_uncertainty(case)
    for (step, mean, std), ((_, first), (_, second)) in zip(whole, each, strict=True):
        assert mean.shape == std.shape == (step.node_count, 2)
        np.testing.assert_allclose(mean, (first + second) / 2, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(std, np.abs(first - second) / 2**0.5, rtol=1e-3, atol=1e-4)
    means = [mean for _, mean in trained.roll_out(case)]
    np.testing.assert_array_equal(means[-1], mean)


def test_a_single_model_has_no_spread(trained, case):
    member = Run.open(trained.path / "member_0")
    assert all(std is None for _, _, std in member.roll_out_with_uncertainty(case))


def test_a_single_step_is_predicted_by_the_mean(trained, case):
    first, second = case.steps[0], case.steps[1]
    members = [Run.open(trained.path / f"member_{index}") for index in range(2)]
    each = [member.predict_step(second, first) for member in members]
    np.testing.assert_allclose(
        trained.predict_step(second, first), np.mean(each, axis=0), rtol=1e-4, atol=1e-5
    )


def test_the_uncertainty_of_steps_is_scored(trained, case, tmp_path, capsys):
    rows = pd.read_parquet(trained.path / "case_metrics.parquet").query("case_id == 'x1'")
    steps = rows[rows["region"] == "step"]
    ((step, mean, std), *_) = trained.roll_out_with_uncertainty(case)
    row = steps.query("step == 0 and mode == 'rolled_out' and target == 'von_mises_stress'").iloc[0]
    expected = calibration(mean[:, 1], std[:, 1], step.von_mises_stress, 2)
    assert {name: row[name] for name in NAMES} == pytest.approx(expected, rel=1e-4, nan_ok=True)
    of_steps = steps.query("mode == 'rolled_out' and target == 'von_mises_stress'")["spread_skill_ratio"]
    whole = rows.query("region == 'all' and target == 'von_mises_stress'")["spread_skill_ratio"]
    assert whole.item() == pytest.approx(of_steps.mean())
    assert steps.query("mode == 'unchanged'")["spread_skill_ratio"].isna().all()
    assert evaluate.run([str(trained.path), "-o", str(tmp_path), "--split=test"]) == 0
    assert "Uncertainty compared with the error" in capsys.readouterr().out


def test_an_example_holds_the_spread_of_the_last_step_on_the_plate(trained, case):
    *_, (step, _, std) = trained.roll_out_with_uncertainty(case)
    assert step.kind == "cooled"
    fields = meshio.read(trained.path / "predictions" / "x1.vtu").point_data
    np.testing.assert_allclose(fields["von_mises_stress_std"], std[:, 1], rtol=1e-5)
