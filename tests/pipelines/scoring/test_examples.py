from __future__ import annotations

import logging

import meshio
import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from pipelines.runs.run import Run
from pipelines.scoring import pictures
from pipelines.scoring.examples import choose_examples, compared, write_examples


def scores(errors, split="test"):
    return pd.DataFrame(
        {
            "case_id": list(errors),
            "split": split,
            "region": "all",
            "target": "displacement_z",
            "relative_l2": list(errors.values()),
        }
    )


ERRORS = {"a": 0.3, "b": 0.1, "c": 0.5, "d": 0.2, "e": 0.4}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [("a", "median")]),
        (2, [("b", "best"), ("c", "worst")]),
        (3, [("b", "best"), ("a", "median"), ("c", "worst")]),
        (
            9,
            [
                ("b", "best"),
                ("d", "better than 75%"),
                ("a", "median"),
                ("e", "better than 25%"),
                ("c", "worst"),
            ],
        ),
    ],
)
def test_examples_are_at_even_ranks(count, expected):
    chosen = choose_examples(scores(ERRORS), count)
    assert [(example.case_id, example.standing) for example in chosen] == expected
    assert all(example.error == ERRORS[example.case_id] for example in chosen)


def test_the_only_case_is_neither_best_nor_worst():
    (example,) = choose_examples(scores({"a": 0.5}), 3)
    assert example.standing == "only case"


def test_a_case_that_cannot_be_scored_is_the_worst():
    assert choose_examples(scores({"a": np.nan, "b": 0.5}), 2)[-1].case_id == "a"


def test_test_cases_come_before_others():
    table = pd.concat([scores({"a": 0.1}, "train"), scores({"b": 0.2}, "val")])
    assert [example.case_id for example in choose_examples(table, 3)] == ["b"]
    table = pd.concat([table, scores({"c": 0.3}, "test")])
    assert [example.case_id for example in choose_examples(table, 3)] == ["c"]


def test_targets_count_alike():
    other = scores({"a": 0.9, "b": 0.2}).assign(target="temperature")
    best, _ = choose_examples(pd.concat([scores({"a": 0.1, "b": 0.4}), other]), 2)
    assert best.case_id == "b"
    assert best.error == pytest.approx(0.3)


def test_vectors_are_put_together_only_when_they_are_whole(store):
    case = lpbf.open_dataset(store)["a"]
    whole = {f"displacement_{axis}": case.displacement[:, index] + 1 for index, axis in enumerate("xyz")}
    arrays = compared(case, whole)
    assert list(arrays) == ["displacement", "displacement_predicted", "displacement_error"]
    np.testing.assert_allclose(arrays["displacement_error"], 1, rtol=1e-6)
    part = {name: whole[name] for name in ("displacement_x", "displacement_z")}
    assert list(compared(case, part))[::3] == ["displacement_x", "displacement_z"]


def test_other_programs_read_the_files(finished, tmp_path):
    run = Run.open(finished)
    store = run.dataset()
    run = Run(
        tmp_path, *(getattr(run, name) for name in ("config", "description", "model", "epoch", "device"))
    )
    old = tmp_path / "predictions" / "old.vtu"
    old.parent.mkdir()
    old.touch()
    (picture,) = write_examples(run, store, choose_examples(scores({"e": 0.1}), 3))
    assert not old.exists()
    assert picture.path == tmp_path / "predictions" / "e.displacement_z.png"

    case = store["e"]
    truth, predicted = case.displacement[:, 2], run.predict(case)[:, 0]
    path = tmp_path / "predictions" / "e.vtu"
    mesh = meshio.read(path)
    np.testing.assert_array_equal(mesh.points, case.points)
    np.testing.assert_array_equal(mesh.cells_dict["hexahedron"], case.cells)
    pv = pytest.importorskip("pyvista")
    grid = pv.read(path)
    assert grid.volume == pytest.approx(case.cell_count)
    for fields in (mesh.point_data, grid.point_data):
        assert set(fields) == {
            "displacement",
            *(f"displacement_z{kind}" for kind in ("", "_predicted", "_error")),
        }
        np.testing.assert_array_equal(fields["displacement"], case.displacement)
        np.testing.assert_array_equal(fields["displacement_z"], truth)
        np.testing.assert_array_equal(fields["displacement_z_predicted"], predicted)
        np.testing.assert_array_equal(fields["displacement_z_error"], predicted - truth)
    assert ">mm</InformationKey>" in path.read_text()


def test_a_case_that_cannot_name_a_file_is_left_out(finished, caplog):
    run = Run.open(finished)
    assert write_examples(run, run.dataset(), choose_examples(scores({"../e": 0.1}), 1)) == []
    assert "case id '../e' cannot name a file" in caplog.text


@pytest.fixture
def picture(store, tmp_path):
    case = lpbf.open_dataset(store)["e"]
    return pictures.Picture(case, "temperature", {"temperature": case.temperature + 1}, tmp_path / "e.png")


def test_a_picture_is_drawn(picture, caplog):
    pytest.importorskip("pyvista")
    pictures.draw([picture])
    assert caplog.text == ""
    assert picture.path.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_does_not_keep_the_others_from_it(picture, caplog):
    pytest.importorskip("pyvista")
    broken = picture._replace(prediction={"temperature": picture.case.temperature * np.nan})
    pictures.draw([broken, picture])
    assert "the predicted temperature of case e" in caplog.text
    assert len(caplog.records) == 1
    assert picture.path.exists()


def test_without_pyvista_one_line_tells(picture, caplog, monkeypatch):
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None)
    pictures.draw([picture])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "PyVista is missing (pip install 'lpbf-toolkit[viz]')" in record.message
    caplog.clear()
    pictures.draw([])
    assert not caplog.records


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "the process that draws ended with code -6"),
        ("raise SystemExit('no OpenGL')", "no OpenGL"),
        ("import time; time.sleep(60)", "drawing took more than"),
    ],
)
def test_a_driver_that_fails_is_survived(program, reason, picture, caplog, monkeypatch):
    monkeypatch.setattr(pictures, "COMMAND", (pictures.sys.executable, "-c", program))
    monkeypatch.setattr(pictures, "SECONDS_TO_START", 1.0 if "sleep" in program else 30.0)
    monkeypatch.setattr(pictures, "SECONDS_PER_PICTURE", 0.0)
    pictures.draw([picture])
    (record,) = caplog.records
    assert reason in record.message
