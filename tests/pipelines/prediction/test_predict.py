"""A run on part files, surfaces and cases: what `pipelines.predict` gives."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import trimesh

import lpbf_dataset as lpbf
import pipelines
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.sources.base import CaseError
from pipelines.prediction.assessment import AssessmentOptions, assess
from pipelines.prediction.part_setup import chosen_setup, setup_remarks, training_setup
from pipelines.prediction.predict import Predictor
from pipelines.prediction.prediction import displacement_of, known_axes
from pipelines.prediction.truth import simulated_truth
from pipelines.runs.run import Run, RunError
from pipelines.runs.training_set import TrainingSet
from pipelines.simulate import SimulateOptions


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """Return a part file of a block, off the origin."""
    path = tmp_path_factory.mktemp("parts") / "block.stl"
    trimesh.creation.box(extents=(14.0, 12.0, 8.0)).apply_translation([100.0, 50.0, -20.0]).export(path)
    return path


def test_a_case_of_a_store_is_predicted_as_by_the_run_bit_by_bit(finished, store):
    case = lpbf.open_dataset(store)["e"]
    prediction = pipelines.predict(finished, case)
    np.testing.assert_array_equal(prediction.fields["displacement_z"], Run.open(finished).predict(case)[:, 0])
    assert prediction.fields["displacement_z"].dtype == np.float32
    assert prediction.placed is None
    assert prediction.std == {}


def test_a_part_is_meshed_like_the_training_cases(finished, block):
    prediction = pipelines.predict(Run.open(finished), block)
    solved = simulate(prediction.placed.surface, *_default_solver(finished))
    np.testing.assert_array_equal(prediction.case.points, solved.steps[-1].points)
    expected = Run.open(finished).predict(prediction.case)[:, 0]
    np.testing.assert_array_equal(prediction.fields["displacement_z"], expected)
    assert prediction.axes == "z"
    assert not prediction.displacement[:, :2].any()
    assert any("size 14 x 12 x 8 mm" in warning for warning in prediction.warnings)


def _default_solver(run):
    setup = training_setup(TrainingSet.of_run(Run.open(run)))
    return setup.material, setup.settings


def test_surfaces_in_memory_and_files_come_to_the_same(finished, block):
    from_file = pipelines.predict(finished, block)
    from_memory = pipelines.predict(finished, trimesh.load(block))
    np.testing.assert_array_equal(from_file.displacement, from_memory.displacement)


def test_an_open_surface_cannot_be_predicted(finished):
    box = trimesh.creation.box(extents=(9, 9, 9))
    with pytest.raises(CaseError, match="open"):
        pipelines.predict(finished, trimesh.Trimesh(box.vertices, box.faces[2:]))


def test_an_ensemble_tells_its_spread(ensemble, block):
    prediction = pipelines.predict(ensemble, block)
    assert prediction.axes == "xyz"
    members = [Run.open(ensemble / f"member_{index}").predict(prediction.case) for index in (0, 1)]
    spread = np.std(members, axis=0, ddof=1)
    np.testing.assert_allclose(prediction.std["displacement_y"], spread[:, 1], rtol=1e-4, atol=1e-7)
    assert prediction.on_surface(prediction.displacement).shape == prediction.surface.vertices.shape


def test_a_damaged_model_is_told(finished, block, monkeypatch):
    predictor = Predictor.open(finished)
    monkeypatch.setattr(
        Run,
        "predict_with_uncertainty",
        lambda _, case: (np.full((case.node_count, 1), np.nan, np.float32), None),
    )
    with pytest.raises(RunError, match="not finite"):
        predictor.of_part(lpbf_part(block))


def lpbf_part(path):
    from lpbf_dataset.sources.part_files import read_part

    return read_part(path)


def test_components_side_by_side():
    z = np.array([1.0, 2.0], np.float32)
    assert known_axes({"von_mises_stress": z, "displacement_z": z, "displacement_x": z}) == "xz"
    assert displacement_of({"displacement_z": z}, 2).tolist() == [[0, 0, 1], [0, 0, 2]]


def test_the_solver_tells_the_error_and_the_speed_up(finished, block):
    predictor = Predictor.open(finished)
    prediction = predictor.of_part(lpbf_part(block))
    truth = simulated_truth(prediction, predictor, predictor.setup)
    error = np.linalg.norm(prediction.fields["displacement_z"] - truth.fields["displacement"][:, 2])
    expected = error / np.linalg.norm(truth.fields["displacement"][:, 2])
    assert truth.scores["displacement_z"]["relative_l2"] == pytest.approx(expected, rel=1e-5)
    assert truth.speed_up == pytest.approx(truth.solver_seconds / truth.surrogate_seconds)
    assert truth.speed_up > 1.0


def test_a_perfect_model_leaves_nothing_after_compensation(finished, block, monkeypatch):
    """A field that is the same whatever is printed is undone to the last digit."""
    predictor = Predictor.open(finished)

    def bow(_, case):
        x = case.points[:, :1]
        return (0.002 * x**2).astype(np.float32), None

    monkeypatch.setattr(Run, "predict_with_uncertainty", bow)
    monkeypatch.setattr(Run, "predict", lambda run, case: bow(run, case)[0])
    prediction = predictor.of_part(lpbf_part(block))
    assessed = assess(predictor, prediction, AssessmentOptions(iterations=2))
    assert assessed.magnitude.maximum == pytest.approx(0.002 * 49, rel=0.05)
    assert abs(assessed.place[0]) == pytest.approx(7.0)
    moves = assessed.compensation.surface.vertices - assessed.compensation.nominal.vertices
    assert np.abs(moves[:, :2]).max() == 0.0, "only z is known, so only z is compensated"
    assert assessed.compensation.after.rms < 0.1 * assessed.compensation.before.rms
    assert assessed.compensation.surface.is_watertight


def test_without_the_store_the_run_remembers_the_training_cases(copied, finished, store, block, tmp_path):
    assert TrainingSet.of_run(Run.open(finished)).cell_height == 1.0
    config = (copied / "config.yaml").read_text().replace(str(store), str(tmp_path / "gone.zarr"))
    (copied / "config.yaml").write_text(config)
    remembered = TrainingSet.of_run(Run.open(copied)).applicability
    assert remembered.extent == TrainingSet.of_store(lpbf.open_dataset(store)).applicability.extent
    (copied / "training_set.json").unlink()
    assert TrainingSet.of_run(Run.open(copied)) is None
    prediction = pipelines.predict(copied, block)
    assert any("store that the model was trained on is not where it was" in w for w in prediction.warnings)
    (copied / "training_set.json").write_text("{}")
    with pytest.raises(RunError, match=r"training_set.json is damaged"):
        TrainingSet.of_run(Run.open(copied))


def test_runs_without_the_file_look_into_their_store(copied):
    (copied / "training_set.json").unlink()
    assert TrainingSet.of_run(Run.open(copied)).cell_height == 1.0


def test_the_setup_is_that_of_the_training_cases_unless_chosen_otherwise(store):
    training = TrainingSet.of_store(lpbf.open_dataset(store))
    setup = training_setup(training)
    assert (setup.settings.cell_height, setup.material.name) == (1.0, "inconel625")
    recorded = replace(setup, scale_to=60.0, orient="x", material=replace(setup.material, name="mine"))
    told = replace(training, simulation=recorded)
    assert chosen_setup(SimulateOptions(), told) == replace(recorded, scale_to=None, orient="as-is")
    chosen = chosen_setup(SimulateOptions(finest_cell=0.8, scale_to=30.0), told)
    assert (chosen.settings.cell_height, chosen.scale_to, chosen.material.name) == (0.8, 30.0, "mine")
    assert chosen_setup(SimulateOptions(material="316l"), told).material.name == "316l"
    assert chosen_setup(SimulateOptions(preset="published"), told).settings.cell_height == pytest.approx(0.6)
    assert training_setup(None).settings.cell_height == 0.8
    odd = training_setup(replace(training, cell_height=0.73))
    assert odd.settings.cell_height == pytest.approx(0.73)
    (finer, unknown) = setup_remarks(replace(setup, settings=chosen.settings), training, simulates=True)
    assert "cells of 0.8 mm, where the training cases have 1 mm" in finer
    assert "simulated with inconel625" in unknown


def test_the_function_needs_no_import_of_its_module_and_the_package_stays_light():
    program = (
        "import sys, pipelines; assert 'torch' not in sys.modules; "
        "from pipelines import predict_command; assert callable(pipelines.predict)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'foretell'"):
        _ = pipelines.foretell
