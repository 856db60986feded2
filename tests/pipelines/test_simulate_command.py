from __future__ import annotations

import json

import pytest
import trimesh

import lpbf_dataset as lpbf
from lpbf_dataset.simulation.materials import load_material
from lpbf_dataset.sources.base import FailureReason
from pipelines import build, simulate
from pipelines.sources import procedural_parts

COARSE = ("--layer_thickness", "0.05")


def exit_code(main, *arguments) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return a folder of two sound parts and one with a wall missing."""
    folder = tmp_path_factory.mktemp("parts")
    trimesh.creation.box(extents=(14, 12, 8)).export(folder / "block.stl")
    trimesh.creation.cylinder(radius=7, height=6).export(folder / "disc.ply")
    box = trimesh.creation.box(extents=(14, 12, 8))
    trimesh.Trimesh(box.vertices, box.faces[2:]).export(folder / "open.obj")
    return folder


def test_parts_become_result_folders_and_are_not_done_twice(parts, tmp_path, capsys):
    assert exit_code(simulate.main, parts, "-o", tmp_path, *COARSE) == 1
    streams = capsys.readouterr()
    assert "2 simulated, 0 done before, 1 failed" in streams.out
    assert "failed: open: open_surface" in streams.err
    assert {path.name for path in tmp_path.iterdir()} == {"block", "disc", "open"}
    assert exit_code(simulate.main, parts, "-o", tmp_path, *COARSE) == 1
    assert "0 simulated, 2 done before, 1 failed" in capsys.readouterr().out


def test_options_reach_the_solver(parts, tmp_path):
    options = ("--preset", "published", "--scale_to", "15", "--material", "316l", "--orient", "0,0,90")
    assert exit_code(simulate.main, parts / "block.stl", "-o", tmp_path, "-q", *options) == 0
    provenance = json.loads((tmp_path / "block" / "provenance.json").read_text())
    assert provenance["material"]["name"] == "316l"
    assert provenance["settings"]["layer_thickness"] == 0.03
    assert provenance["scale_to"] == 15.0
    assert provenance["orient"] == [0.0, 0.0, 90.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--material", "unobtainium"], "no material named 'unobtainium'"),
        (["--finest_cell", "0.5"], "0.48 mm is"),
        (["--layer_thickness", "-1"], "whole number of layers"),
        (["--orient", "1,2"], "three angles"),
        (["--preset", "mine"], "preset"),
        (["--workers", "0"], "PositiveInt"),
        (["--part-timeout", "60", "--memory-limit", "four"], "memory limit 'four'"),
        (["--scheduler", "nonsense"], "no Dask scheduler answers at nonsense"),
    ],
)
def test_mistakes_are_told(options, message, parts, tmp_path, capsys):
    assert exit_code(simulate.main, parts / "block.stl", "-o", tmp_path, *options) == 2
    assert message in capsys.readouterr().err


def test_a_part_that_takes_too_long_fails(parts, tmp_path, capsys):
    pytest.importorskip("distributed")
    assert exit_code(simulate.main, parts / "block.stl", "-o", tmp_path, "--part-timeout", "0.001") == 1
    streams = capsys.readouterr()
    assert "failed: block: timed_out: it ran for longer than 0.001 s" in streams.err
    assert "0 simulated, 0 done before, 1 failed" in streams.out
    assert (tmp_path / "block" / "mechanical.out").is_file()


@pytest.mark.slow
def test_procedural_parts_are_simulated_two_at_a_time(tmp_path):
    pytest.importorskip("manifold3d")
    pytest.importorskip("distributed")
    setup = simulate.SimulateOptions(layer_thickness=0.05, scale_to=15).setup()
    two = procedural_parts(2, seed=0)
    for status in ("simulated", "reused"):
        outcomes = simulate.run_simulations(two, setup, tmp_path, workers=2, quiet=True)
        assert {(outcome.name, outcome.status) for outcome in outcomes} == {
            (part.name, status) for part in two
        }


def test_a_place_without_parts_is_told(tmp_path, capsys):
    assert exit_code(simulate.main, tmp_path, "-o", tmp_path / "out") == 2
    assert "holds no part files" in capsys.readouterr().err


def test_two_parts_of_one_name_are_told(parts, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "block.stl").write_bytes((parts / "block.stl").read_bytes())
    assert exit_code(simulate.main, parts / "block.stl", other, "-o", tmp_path / "out") == 2
    assert "more than one part is called block" in capsys.readouterr().err


def test_a_folder_of_parts_becomes_a_store(parts, tmp_path, capsys):
    store = tmp_path / "parts.zarr"
    options = ("--simulation.layer_thickness", "0.05", "--simulation.scale_to", "15")
    assert exit_code(build.main, parts, "-o", store, *options) == 1
    streams = capsys.readouterr()
    assert "kept 2 of 3 cases, 1 failed" in streams.out
    assert streams.err.count("failed: open") == 1
    ds = lpbf.open_dataset(store)
    assert {case.source for case in ds} == {"lpbf-solver"}
    assert ds["block"].points.max(axis=0)[0] == pytest.approx(7.5)
    failed = ds.catalog().set_index("case_id").loc["open"]
    assert failed["reason"].startswith(FailureReason.ANALYSIS_TERMINATED)
    assert "open_surface" in failed["reason"]
    assert (tmp_path / "parts.simulations" / "disc").is_dir()


def test_results_of_the_solver_are_a_source_too(parts, tmp_path):
    exit_code(simulate.main, parts / "block.stl", "-o", tmp_path / "results", "-q", *COARSE)
    store = tmp_path / "s.zarr"
    assert exit_code(build.main, tmp_path / "results", "-o", store, "-q", "--fields", "all") == 0
    case = lpbf.open_dataset(store)["block"]
    assert case.source == "lpbf-solver"
    assert case.cauchy_stress.shape == (case.node_count, 6)


def test_the_official_split_of_the_gallery_is_followed(tmp_path):
    release = tmp_path / "s2.0.0"
    (release / "meshes").mkdir(parents=True)
    for name, height in (("100_aaaaaaaa_0", 8), ("100_aaaaaaaa_1", 7)):
        trimesh.creation.box(extents=(14, 12, height)).export(release / "meshes" / f"{name}.obj")
    split = {"train": ["100_aaaaaaaa_0"], "test": ["100_aaaaaaaa_1"]}
    (release / "train_test.json").write_text(json.dumps(split))
    options = ("--split", "official", "--simulation.layer_thickness", "0.05")
    assert exit_code(build.main, release, "-o", tmp_path / "s.zarr", "-q", *options) == 0
    table = lpbf.open_dataset(tmp_path / "s.zarr").case_table
    assert table["split"].to_dict() == {"100_aaaaaaaa_0": "train", "100_aaaaaaaa_1": "test"}


def test_without_a_source_bundled_parts_are_built(tmp_path):
    pytest.importorskip("manifold3d")
    options = ("--count", "2", "--simulation.layer_thickness", "0.05", "--simulation.scale_to", "15")
    assert exit_code(build.main, "-o", tmp_path / "demo.zarr", "-q", "--rules", "none", *options) == 0
    ds = lpbf.open_dataset(tmp_path / "demo.zarr")
    assert len(ds) == 2
    assert ds.attributes["licence"] == "MIT"


def test_a_calibrated_material_simulates(parts, tmp_path, capsys):
    block, material = parts / "block.stl", tmp_path / "mine.yaml"
    exit_code(simulate.main, block, "-o", tmp_path / "results", "-q", *COARSE)
    reference = ("--reference", tmp_path / "results", "-o", material)
    assert exit_code(simulate.main, "calibrate", *reference, *COARSE) == 0
    assert "displacement R2 0.9" in capsys.readouterr().out
    assert load_material(str(material)).calibration == "displacement of block.stl"
    again = ("-o", tmp_path / "again", "--material", material, "-q")
    assert exit_code(simulate.main, block, *again, *COARSE) == 0
