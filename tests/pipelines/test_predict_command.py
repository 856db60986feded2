"""``lpbf-predict`` as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import re

import numpy as np
import pandas as pd
import pytest
import trimesh

import lpbf_dataset as lpbf
from pipelines import predict_command
from pipelines.prediction import job

NEEDS_VIZ = pytest.mark.skipif(importlib.util.find_spec("pyvista") is None, reason="needs PyVista")


@pytest.fixture
def predict(capsys):
    """Return the command in this process: (exit code, output, errors)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            predict_command.main([str(argument) for argument in arguments])
        return (int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Draw nothing, which takes seconds, and return what would have been drawn."""
    drawn = []
    monkeypatch.setattr(job, "draw", drawn.extend)
    return drawn


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return a folder of a block off the origin, a ring and a broken file."""
    folder = tmp_path_factory.mktemp("parts")
    trimesh.creation.box(extents=(14, 12, 8)).apply_translation([100, 50, -20]).export(folder / "block.stl")
    trimesh.creation.annulus(r_min=3, r_max=7, height=6).export(folder / "ring.ply")
    (folder / "broken.stl").write_bytes((folder / "block.stl").read_bytes()[:200])
    return folder


def figures(folder):
    return json.loads((folder / "prediction.json").read_text())


@NEEDS_VIZ
def test_a_batch_of_parts_leaves_files_figures_and_a_table(ensemble, parts, tmp_path, predict, undrawn):
    code, out, err = predict(ensemble, parts, "-o", tmp_path / "out", "--tolerance", "0.001")
    assert code == 1
    assert "failed: broken: truncated_file" in err
    assert "warning: block: size 14 x 12 x 8 mm: the training cases fill a box of" in err
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("part")
    assert table["status"].to_dict() == {"block": "predicted", "broken": "failed", "ring": "predicted"}
    assert "truncated_file" in table["detail"]["broken"]
    assert "ring" in out

    folder = tmp_path / "out" / "block"
    assert {path.name for path in folder.iterdir()} == {
        "block.vtu",
        "block_surface.ply",
        "block_surface.vtp",
        "block_compensated.stl",
        "prediction.json",
        "report.html",
    }
    values = figures(folder)
    moved = values["displacement"]
    assert 0.0 < moved["rms_mm"] <= moved["max_mm"]
    assert moved["p95_mm"] <= moved["max_mm"]
    assert table["max_mm"]["block"] == pytest.approx(moved["max_mm"])
    assert 0.0 <= moved["beyond_tolerance"] <= 1.0
    assert moved["std_at_max_mm"] > 0.0
    x, y, z = moved["at_mm"]
    assert abs(x) <= 7.001
    assert abs(y) <= 6.001
    assert -0.001 <= z <= 8.001
    assert values["compensation"]["after"]["rms_mm"] <= values["compensation"]["before"]["rms_mm"]
    assert {type(drawing).__name__ for drawing in undrawn} == {"SurfacePicture", "CompensationPicture"}


@NEEDS_VIZ
def test_files_open_in_the_programs_that_they_are_for(ensemble, parts, tmp_path, predict, undrawn):
    import pyvista as pv

    assert predict(ensemble, parts / "block.stl", "-o", tmp_path, "-q")[0] == 0
    folder = tmp_path / "block"
    mesh = pv.read(folder / "block.vtu")
    assert {"displacement", "displacement_z", "displacement_z_std"} <= set(mesh.point_data)
    np.testing.assert_array_equal(mesh["displacement"][:, 2], mesh["displacement_z"])
    assert mesh.bounds[4] == 0.0
    surface = pv.read(folder / "block_surface.vtp")
    assert surface.n_open_edges == 0
    assert surface["displacement"].shape == (surface.n_points, 3)
    assert np.abs(surface["displacement"]).max() <= 2.0 * np.abs(mesh["displacement"]).max()
    assert trimesh.load(folder / "block_surface.ply").visual.kind == "vertex"
    compensated = trimesh.load(folder / "block_compensated.stl")
    assert compensated.is_watertight
    # Back where the part lies in its file, and moved by no more than the model displaces anything.
    largest = figures(folder)["displacement"]["max_mm"]
    offset = np.abs(compensated.bounds - trimesh.load(parts / "block.stl").bounds).max()
    assert offset < 2.0 * largest


@NEEDS_VIZ
@pytest.mark.slow
def test_pictures_are_drawn_and_stand_in_the_report(finished, parts, tmp_path, predict):
    assert predict(finished, parts / "block.stl", "-o", tmp_path, "-q", "--simulate")[0] == 0
    folder = tmp_path / "block"
    page = (folder / "report.html").read_text()
    assert {path.name for path in folder.glob("*.png")} == {"picture.png", "truth.png", "compensation.png"}
    assert page.count("data:image/png;base64,") == 3
    assert "How the part moves along x and y" in page
    assert "is that of the embedded solver" in page
    assert not re.search(r"<script|https?://", page)


def test_the_error_and_the_speed_up_of_a_simulated_part(finished, parts, tmp_path, predict, undrawn):
    code, out, _ = predict(
        finished, parts / "block.stl", "-o", tmp_path, "--simulate", "--no_compensate", "-q"
    )
    assert code == 0
    values = figures(tmp_path / "block")
    truth = values["truth"]
    assert truth["origin"] == "solver"
    assert truth["solver_seconds"] > truth["surrogate_seconds"] > 0.0
    assert truth["scores"]["displacement_z"]["relative_l2"] > 0.0
    assert values["compensation"] is None
    assert not (tmp_path / "block" / "block_compensated.stl").exists()
    assert out == ""
    page = (tmp_path / "block" / "report.html").read_text()
    assert "times less" in page


def test_a_case_of_a_store_is_compared_with_its_truth(finished, store, tmp_path, predict, undrawn):
    assert predict(finished, f"{store}#e", f"{store}#a", "-o", tmp_path, "-q")[0] == 0
    values = figures(tmp_path / "e")
    case = lpbf.open_dataset(store)["e"]
    assert values["truth"]["origin"] == "store"
    assert values["mesh"]["nodes"] == case.node_count
    assert values["compensation"] is None
    assert not any("training case:" in warning for warning in values["warnings"])
    assert any("a is a training case" in warning for warning in figures(tmp_path / "a")["warnings"])


def test_what_is_done_is_not_done_again_unless_something_changed(finished, parts, tmp_path, predict, undrawn):
    out = tmp_path / "out"
    ring = tmp_path / "ring.ply"
    ring.write_bytes((parts / "ring.ply").read_bytes())

    def status(*options):
        assert predict(finished, ring, "-o", out, "--no_compensate", *options)[0] == 0
        return pd.read_csv(out / "predictions.csv")["status"].tolist()

    assert status() == ["predicted"]
    assert status() == ["reused"]
    assert status("--tolerance", "0.05") == ["predicted"]
    assert status("--tolerance", "0.05", "--simulation.finest_cell", "0.8") == ["predicted"]
    assert any("cells of 0.8 mm" in warning for warning in figures(out / "ring")["warnings"])
    trimesh.creation.annulus(r_min=4, r_max=7, height=6).export(ring)
    assert status() == ["predicted"]
    (out / "ring" / "ring.vtu").unlink()
    assert status() == ["predicted"]


def test_a_part_that_has_become_bad_loses_its_figures(finished, parts, tmp_path, predict, undrawn):
    part = tmp_path / "part.stl"
    part.write_bytes((parts / "block.stl").read_bytes())
    assert predict(finished, part, "-o", tmp_path / "out", "-q", "--no_compensate")[0] == 0
    part.write_bytes(b"solid nothing")
    code, _, err = predict(finished, part, "-o", tmp_path / "out", "-q", "--no_compensate")
    assert code == 1
    assert err.startswith("failed: part: ")
    assert not (tmp_path / "out" / "part" / "prediction.json").exists()


def test_parts_that_cannot_be_meshed_cost_their_row(finished, tmp_path, predict, undrawn):
    trimesh.creation.box(extents=(900, 900, 900)).export(tmp_path / "huge.stl")
    trimesh.creation.box(extents=(20, 20, 0.3)).export(tmp_path / "sheet.stl")
    box = trimesh.creation.box(extents=(9, 9, 9))
    trimesh.Trimesh(box.vertices, box.faces[2:]).export(tmp_path / "open.obj")
    code, _, err = predict(finished, tmp_path, "-o", tmp_path / "out", "-q")
    assert code == 1
    reasons = {line.split(": ")[1]: line.split(": ")[2] for line in err.splitlines()}
    assert reasons["open"] == "open_surface"
    assert reasons["huge"] == "too_large"
    assert reasons["sheet"] == "too_thin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{parts}", "{parts}/block.stl", "-o", "{out}"], "is not a run of lpbf-train"),
        (["{run}", "{out}/none.stl", "-o", "{out}"], "no such file or folder"),
        (["{run}", "{store}", "-o", "{out}"], "is a store: name the case, as in"),
        (["{run}", "{store}#f", "-o", "{out}"], "has no case 'f'"),
        (["{run}", "{parts}/block.stl", "{parts}/block.stl", "-o", "{out}"], "more than one part is called"),
        (["{run}", "{parts}/block.stl", "-o", "{parts}/block.stl"], "is no folder"),
        (
            ["{run}", "{parts}/block.stl", "-o", "{out}", "--tolerance", "0"],
            "expected a length in mm above 0",
        ),
        (["{run}", "{parts}/block.stl", "-o", "{out}", "--iterations", "0"], "expected at least 1"),
        (["{run}", "{parts}/block.stl", "-o", "{out}", "--simulation.orient", "up"], "orient is 'up'"),
        (["{run}", "{parts}/block.stl", "-o", "{out}", "--simulation.finest_cell", "0.5"], "whole number"),
        (["{run}", "{parts}/block.stl", "-o", "{out}", "--device", "tpu"], "device"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, finished, store, parts, tmp_path, predict):
    places = {"run": finished, "store": store, "parts": parts, "out": tmp_path / "out"}
    code, _, err = predict(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_run_without_displacement_is_reported_without_distortion(store, parts, tmp_path, predict, undrawn):
    from pipelines import train

    run = tmp_path / "run"
    arguments = ["flare", f"--data={store}", f"-o{run}", "--targets", "von_mises_stress", "--epochs=1"]
    model = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")
    assert train.run([*arguments, "--examples=0", "-q", *model]) == 0
    assert predict(run, parts / "block.stl", "-o", tmp_path / "out", "-q")[0] == 0
    values = figures(tmp_path / "out" / "block")
    assert values["displacement"] is None
    assert values["compensation"] is None
    assert values["fields"]["von_mises_stress"]["unit"] == "MPa"
    assert "predicts no displacement" in (tmp_path / "out" / "block" / "report.html").read_text()


@pytest.mark.slow
def test_two_parts_at_a_time_come_to_the_same(finished, parts, tmp_path, predict, undrawn):
    pytest.importorskip("distributed")
    for workers in (1, 2):
        out = tmp_path / str(workers)
        assert predict(finished, parts, "-o", out, "-q", "--no_compensate", "--workers", workers)[0] == 1
    one, two = (pd.read_csv(tmp_path / str(workers) / "predictions.csv") for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)
