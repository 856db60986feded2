from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.sources.npz import NpzSource
from pipelines import export

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def exit_code(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        export.main([str(argument) for argument in arguments])
    return stopped.value.code


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs the command with a mistake and gives the line that says so."""

    def run(*arguments: object) -> str:
        assert exit_code(*arguments) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert line.startswith("error: ")
        return line

    return run


def test_npz_is_a_source_again(store, tmp_path, capsys):
    assert exit_code(store, "-o", tmp_path / "out", "--format", "npz") == 0
    assert capsys.readouterr().out == f"wrote 5 files to {tmp_path / 'out'}\n"
    assert names(tmp_path / "out") == [
        "test/e.npz",
        "train/a.npz",
        "train/b.npz",
        "train/c.npz",
        "val/d.npz",
    ]
    dataset = lpbf.open_dataset(store)
    for raw in NpzSource(tmp_path / "out").cases():
        case = dataset[raw.case_id]
        assert raw.official_split == case.split
        np.testing.assert_array_equal(raw.final_step().fields["displacement"], case.displacement)


@pytest.mark.parametrize("kind", ["vtu", "vtkhdf"])
def test_a_file_for_paraview_per_case_of_a_split(store, tmp_path, kind, capsys):
    assert exit_code(store, "-o", tmp_path / "out", "--format", kind, "--split", "test", "-q") == 0
    assert names(tmp_path / "out") == [f"e.{kind}"]
    assert capsys.readouterr() == ("", "")


def test_single_cases(store, tmp_path):
    assert exit_code(store, "-o", tmp_path, "--format=vtu", "--case", "d", "a", "a", "-q") == 0
    assert names(tmp_path) == ["a.vtu", "d.vtu"]


def test_the_catalog(store, tmp_path, capsys):
    assert exit_code(store, "-o", tmp_path, "--format", "parquet") == 0
    assert capsys.readouterr().out == f"wrote 1 file to {tmp_path}\n"
    assert pd.read_parquet(tmp_path / "catalog.parquet")["case_id"].tolist() == list("abcde")


def test_the_steps_of_a_simulation(step2, tmp_path, capsys):
    assert exit_code(step2, "-o", tmp_path, "--format", "pvd") == 0
    assert capsys.readouterr().out == f"wrote 1 file to {tmp_path}\n"
    assert names(tmp_path)[0] == "step2.pvd"
    assert len(names(tmp_path / "step2")) == 8


def test_the_steps_of_a_simulation_in_one_file(step2, tmp_path, capsys):
    assert exit_code(step2, "-o", tmp_path, "--format", "vtkhdf-series", "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert names(tmp_path) == ["step2.series.vtkhdf"]


SERIES = pytest.mark.parametrize(
    ("kind", "suffix"), [("pvd", ".pvd"), ("vtkhdf-series", ".series.vtkhdf")], ids=["pvd", "vtkhdf"]
)


@SERIES
def test_a_simulation_that_failed_is_told(step2, tmp_path, capsys, kind, suffix):
    results = tmp_path / "results"
    for name in ("bad", "good", "holed"):
        (results / name).parent.mkdir(exist_ok=True)
        shutil.copytree(step2, results / name)
    for path in (results / "bad").rglob("*.case"):
        path.unlink()
    (results / "holed" / "results" / "step2_mechanical00_4.svm.ens").unlink()
    assert exit_code(results, "-o", tmp_path / "out", "--format", kind) == 1
    told = capsys.readouterr()
    assert told.out == f"wrote 2 files to {tmp_path / 'out'}\n"
    bad, holed = (line for line in told.err.splitlines() if line.startswith(("failed", "WARNING")))
    assert bad.startswith("failed: bad: ")
    assert bad.endswith("the simulation was not prepared")
    assert holed.startswith("WARNING: case holed: step 4 (dwelt) is missing and left out: missing_file: ")
    assert holed.endswith("mechanical00_4.svm.ens: no such file")
    written = [name for name in names(tmp_path / "out") if "/" not in name]
    assert written == [f"good{suffix}", f"holed{suffix}"]


@SERIES
def test_the_steps_of_a_store(builds, tmp_path, capsys, kind, suffix):
    assert exit_code(builds, "-o", tmp_path, "--format", kind, "--case", "t2", "x1") == 0
    assert capsys.readouterr().out == f"wrote 2 files to {tmp_path}\n"
    assert [name for name in names(tmp_path) if "/" not in name] == [f"t2{suffix}", f"x1{suffix}"]
    assert exit_code(builds, "-o", tmp_path / "val", "--format", kind, "--split", "val", "-q") == 0
    assert f"v1{suffix}" in names(tmp_path / "val")
    assert f"t2{suffix}" not in names(tmp_path / "val")


@SERIES
def test_a_case_of_a_store_without_steps_is_told(make_builds, make_bar, tmp_path, capsys, kind, suffix):
    bars = [make_bar("t1"), make_bar("t2", with_steps=False)]
    store = make_builds(tmp_path / "s.zarr", *bars)
    assert exit_code(store, "-o", tmp_path / "out", "--format", kind, "-q") == 1
    assert capsys.readouterr().err == "failed: t2: its source has its final state alone\n"
    assert f"t1{suffix}" in names(tmp_path / "out")


def test_files_that_are_there_are_replaced(store, tmp_path):
    (tmp_path / "e.vtu").write_text("old")
    assert exit_code(store, "-o", tmp_path, "--format", "vtu", "--case", "e", "-q") == 0
    assert "<VTKFile" in (tmp_path / "e.vtu").read_text()


def test_progress_is_shown(store, tmp_path, capsys):
    exit_code(store, "-o", tmp_path, "--format", "vtu")
    assert "cases" in capsys.readouterr().err


def test_options_from_a_file(store, tmp_path):
    (tmp_path / "options.yaml").write_text("format: vtu\nsplit: val\nquiet: true\n")
    assert exit_code(store, "-o", tmp_path / "out", "--config", tmp_path / "options.yaml") == 0
    assert names(tmp_path / "out") == ["d.vtu"]


def test_mistakes_are_one_line(store, train_only, step2, tmp_path, refusal):
    to_vtu = ("-o", tmp_path / "out", "--format", "vtu", "-q")
    assert "no case 'z'" in refusal(store, *to_vtu, "--case", "a", "z")
    assert "it is a train case" in refusal(store, *to_vtu, "--split", "test", "--case", "a")
    assert "no case to export" in refusal(train_only, *to_vtu, "--split", "val")
    assert "lpbf-build" in refusal(tmp_path / "absent.zarr", *to_vtu)
    assert "leave out" in refusal(store, "-o", tmp_path, "--format", "parquet", "--split", "test")
    assert not (tmp_path / "out").exists()
    for kind in ("pvd", "vtkhdf-series"):
        to_series = ("-o", tmp_path / "out", "--format", kind, "-q")
        assert "holds final states alone; build it with lpbf-build --steps all" in refusal(store, *to_series)
        assert "no such file or folder" in refusal(tmp_path / "absent", *to_series)
        assert "leave out --split" in refusal(step2, *to_series, "--split", "test")
        assert "has no case 'z'" in refusal(step2, *to_series, "--case", "z")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    assert "is no folder" in refusal(store, "-o", tmp_path / "file", "--format", "npz", "-q")
    assert "is no folder" in refusal(step2, "-o", tmp_path / "file", "--format", "vtkhdf-series", "-q")


def test_usage_errors(store, tmp_path):
    assert exit_code(store, "-o", tmp_path, "--format", "obj") == 2
    assert exit_code(store, "--format", "vtu") == 2


def test_unsafe_case_ids_write_nothing(make_store, tmp_path, refusal, monkeypatch):
    store = make_store(tmp_path / "s.zarr", {"a": "train"})
    opened = lpbf.open_dataset(store)
    opened._store.table["case_id"][:] = "../../evil"
    opened._store.row_of = {"../../evil": 0}
    monkeypatch.setattr(lpbf, "open_dataset", lambda _: opened)
    for kind in ("npz", "vtu", "vtkhdf"):
        line = refusal(store, "-o", tmp_path / "deep" / "out", "--format", kind, "-q")
        assert "'../../evil' cannot name a file" in line
    assert names(tmp_path / "deep") == []
