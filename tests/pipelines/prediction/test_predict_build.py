"""Runs of the steps of a build on parts of one's own: what `pipelines.predict` and ``lpbf-predict`` give."""

from __future__ import annotations

import importlib.util
import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import trimesh

import lpbf_dataset as lpbf
import pipelines
from lpbf_dataset.distortion import CompensationError
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.sources.part_files import read_part
from lpbf_dataset.sources.steps import part_at_step
from pipelines import predict_command, train
from pipelines.prediction import job
from pipelines.prediction.build import step_errors, whole_fields
from pipelines.prediction.predict import Predictor
from pipelines.runs.run import Run, RunError

NEEDS_VIZ = pytest.mark.skipif(importlib.util.find_spec("pyvista") is None, reason="needs PyVista")
TINY = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def trained(builds, folder, *options):
    arguments = ("flare", f"--data={builds}", f"-o{folder}", "-q", "--max_steps=2", "--examples=0")
    assert train.run([*arguments, *options, *TINY]) == 0
    return folder


@pytest.fixture(scope="module")
def on_plate(builds, tmp_path_factory):
    """Return a run that sees a feature and the state before, and knows the part on the plate alone."""
    targets = ("--targets", "displacement_z", "von_mises_stress", "--features", "sdf")
    return trained(builds, tmp_path_factory.mktemp("runs") / "on_plate", "--task=next-step", *targets)


@pytest.fixture(scope="module")
def across(builds, tmp_path_factory):
    """Return a run that knows how the part comes off the plate."""
    options = ("--task=any-step", "--across_removal", "--targets", "displacement_z")
    return trained(builds, tmp_path_factory.mktemp("runs") / "across", *options)


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "block.stl"
    trimesh.creation.box(extents=(9.0, 8.0, 8.0)).export(path)
    return path


@pytest.fixture
def predict(capsys, monkeypatch):
    """Return the command in this process, which draws no scenes: (exit code, output, errors)."""
    monkeypatch.setattr(job, "draw", lambda drawings: None)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            predict_command.main([str(argument) for argument in arguments])
        return (int(stopped.value.code or 0), *capsys.readouterr())

    return run


def figures(folder):
    return json.loads((folder / "prediction.json").read_text())


def test_every_step_of_a_part_is_predicted_on_the_mesh_of_the_solver(on_plate, block):
    predictor = Predictor.open(on_plate)
    prediction = predictor.of_part(read_part(block))
    solved = simulate(prediction.placed.surface, predictor.setup.material, predictor.setup.settings).steps
    assert [step.kind for step in prediction.build] == [step.kind for step in solved[:-1]]
    for predicted, step in zip(prediction.build, solved, strict=False):
        assert predicted.time == step.time
        np.testing.assert_array_equal(predicted.points, part_at_step(step).points)
        assert predicted.field_names == ("displacement", "von_mises_stress")
        assert not predicted.displacement[:, :2].any(), "only z is predicted"
    last = prediction.build[-1]
    np.testing.assert_array_equal(prediction.fields["displacement_z"], last.scalar("displacement_z"))
    np.testing.assert_array_equal(prediction.case.points, solved[-1].points)
    assert len(prediction.case.steps) == len(solved)


def test_a_part_on_the_plate_says_so_and_is_not_compensated(on_plate, block):
    predictor = Predictor.open(on_plate)
    prediction = predictor.of_part(read_part(block))
    assert prediction.is_on_plate
    assert "figures are of the part on the plate" in prediction.warnings[0]
    assert any("size 9 x 8 x 8 mm" in warning for warning in prediction.warnings)
    with pytest.raises(CompensationError, match="springs back"):
        predictor.compensated(prediction, 1)


def test_a_run_that_knows_the_removal_predicts_the_final_state(across, block):
    predictor = Predictor.open(across)
    prediction = predictor.of_part(read_part(block))
    assert not prediction.is_on_plate
    assert prediction.build[-1].kind == "removed"
    assert prediction.last_on_plate.kind == "cooled"
    displacement = predictor.displacement_source()(prediction.surface)
    np.testing.assert_allclose(displacement, prediction.on_surface(prediction.displacement), atol=1e-6)


def test_a_stored_case_is_rolled_out_as_by_the_run(on_plate, builds):
    case = lpbf.open_dataset(builds)["x1"]
    prediction = pipelines.predict(on_plate, case)
    run = Run.open(on_plate)
    for predicted, (step, state) in zip(prediction.build, run.roll_out(case), strict=True):
        np.testing.assert_array_equal(run.scaling.truth(predicted), state)
        assert predicted.index == step.index
    np.testing.assert_array_equal(prediction.case.displacement, case.steps[4].displacement)


def test_an_ensemble_of_builds_tells_its_spread(builds, block, tmp_path):
    run = trained(builds, tmp_path / "run", "--task=next-step", "--members=2", "--max_steps=1")
    prediction = pipelines.predict(run, block)
    assert set(prediction.std) == set(prediction.fields)
    assert prediction.std["displacement_z"].max() > 0
    assert prediction.build[-1].field_names == ("displacement",)


def test_components_that_are_not_predicted_are_no_numbers():
    z = np.array([1.0, 2.0], np.float32)
    fields = whole_fields({"displacement_z": z, "cauchy_stress_yy": z, "temperature": z})
    assert fields["displacement"].tolist() == [[0, 0, 1], [0, 0, 2]]
    assert np.isfinite(fields["cauchy_stress"][0]).tolist() == [False, True, False, False, False, False]
    np.testing.assert_array_equal(fields["temperature"], z)


def test_the_error_of_a_step_is_relative_to_the_true_field(on_plate, builds):
    case = lpbf.open_dataset(builds)["x1"]
    first = pipelines.predict(on_plate, case).build[0]
    errors = step_errors([first], [case.steps[0]], ["displacement_z"])
    true, predicted = case.steps[0].scalar("displacement_z"), first.scalar("displacement_z")
    expected = np.linalg.norm(true - predicted) / np.linalg.norm(true)
    assert errors["displacement_z"] == [pytest.approx(expected)]


def test_a_case_without_steps_is_one_line(on_plate, store, tmp_path, predict):
    with pytest.raises(RunError, match="lpbf-build --steps all"):
        pipelines.predict(on_plate, lpbf.open_dataset(store)["e"])
    code, _, err = predict(on_plate, f"{store}#e", "-o", tmp_path, "-q")
    assert code == 1
    assert err.splitlines() == [
        "failed: e: case 'e' has no steps; build its store with lpbf-build --steps all"
    ]


def test_a_diverging_model_is_told(on_plate, block, monkeypatch):
    def diverging(run, case):
        for step in case.steps[:2]:
            yield step, np.full((step.node_count, 2), np.inf, np.float32), None

    monkeypatch.setattr(Run, "roll_out_with_uncertainty", diverging)
    with pytest.raises(RunError, match="not finite"):
        pipelines.predict(on_plate, block)


@NEEDS_VIZ
def test_the_command_writes_the_series_and_its_section(on_plate, block, tmp_path, predict):
    code, _, err = predict(on_plate, block, "-o", tmp_path, "--simulate")
    assert code == 0
    assert "warning: block: the run does not know how the part comes off the plate" in err
    assert "warning: block: not compensated: " in err
    folder = tmp_path / "block"
    entries = ET.fromstring((folder / "block.pvd").read_text()).findall(".//DataSet")  # noqa: S314
    values = figures(folder)
    steps = values["build"]["steps"]
    assert [float(entry.get("timestep")) for entry in entries] == [step["time_s"] for step in steps]
    assert all((folder / entry.get("file")).is_file() for entry in entries)
    assert steps[-1]["kind"] == "cooled"
    assert values["build"]["on_plate"]["displacement"]["max_mm"] == values["displacement"]["max_mm"]
    assert values["truth"]["origin"] == "solver"
    errors = values["truth"]["step_errors"]["displacement_z"]
    assert len(errors) == len(steps)
    assert errors[-1] == pytest.approx(values["truth"]["scores"]["displacement_z"]["relative_l2"])
    assert not (folder / "block_compensated.stl").exists()
    assert (folder / "build.png").is_file()
    page = (folder / "report.html").read_text()
    assert "Over the build" in page
    assert "the springback when it comes off is not predicted" in page
    assert "rigid motion of the whole part" not in page
    assert page.count("<svg") == 1


@NEEDS_VIZ
def test_the_final_part_is_compensated_and_beside_it_on_the_plate(across, block, tmp_path, predict):
    assert predict(across, block, "-o", tmp_path, "-q", "--iterations=1")[0] == 0
    values = figures(tmp_path / "block")
    assert values["build"]["steps"][-1]["kind"] == "removed"
    assert values["build"]["on_plate"]["step"] == len(values["build"]["steps"]) - 2
    assert values["build"]["on_plate"]["displacement"] != values["displacement"]
    assert (tmp_path / "block" / "block_compensated.stl").is_file()
    page = (tmp_path / "block" / "report.html").read_text()
    assert "off the plate" in page
    assert "rigid motion of the whole part" in page


@NEEDS_VIZ
def test_a_lost_step_is_predicted_again_and_an_old_series_goes(on_plate, finished, block, tmp_path, predict):
    def status(run):
        assert predict(run, block, "-o", tmp_path, "-q")[0] == 0
        return (tmp_path / "predictions.csv").read_text().splitlines()[1].split(",")[1]

    assert [status(on_plate), status(on_plate)] == ["predicted", "reused"]
    (tmp_path / "block" / "block" / "0001_deposited.vtu").unlink()
    assert status(on_plate) == "predicted"
    assert status(finished) == "predicted"
    assert not (tmp_path / "block" / "block").exists()
    assert not (tmp_path / "block" / "block.pvd").exists()
    assert not (tmp_path / "block" / "build.png").exists()
