"""``lpbf-evaluate`` as a user runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.store.writer import StoreWriter
from pipelines import evaluate, train
from pipelines.comparison.entries import distinct_names
from pipelines.runs.run import Run
from pipelines.scoring.evaluation import Predictor, case_scores
from pipelines.scoring.metrics import score

FILES = {"comparison.html", "comparison.tex", "comparison.md", "comparison.csv", "case_metrics.parquet"}


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def evaluated(capsys, tmp_path, monkeypatch):
    """Return the command in this process; it writes to ``out``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main([*map(str, arguments), "-o", str(tmp_path / "out")])
        return Outcome(int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def floor(store, tmp_path_factory):
    """Return a finished run of nearest neighbours on `store`, of two targets."""
    folder = tmp_path_factory.mktemp("floor") / "knn"
    targets = ["--targets", "displacement_z", "von_mises_stress"]
    assert train.run(["knn", f"--data={store}", f"-o{folder}", *targets, "-q"]) == 0
    return folder


@pytest.fixture
def floor_copy(floor, tmp_path):
    return Path(shutil.copytree(floor, tmp_path / "floor"))


@pytest.fixture(scope="module")
def surfaced(store, tmp_path_factory):
    """Return a store of the same bars that says which nodes are on the surface: on two bars all."""
    path = tmp_path_factory.mktemp("surfaced") / "surfaced.zarr"
    bars = lpbf.open_dataset(store)
    with StoreWriter(path, ("displacement", "on_surface")) as writer:
        for bar in bars:
            on_surface = (bar.points[:, 0] < 3) | (bar.case_id in "ad")
            writer.append(replace(bar, variables={**bar.variables, "on_surface": on_surface}))
        attributes = {"build": {"split": "design"}}
        splits = dict.fromkeys(bars.case_ids, "test")
        writer.finish(splits, pd.DataFrame({"case_id": list(bars.case_ids)}), attributes=attributes)
    return path


def comparison(folder, metric="relative_l2"):
    table = pd.read_csv(folder / "out" / "comparison.csv")
    return table[(table["metric"] == metric) & (table["target"] == "displacement_z")]


def test_scores_are_the_metrics_of_each_region(surfaced):
    cases = lpbf.open_dataset(surfaced)
    predictor = Predictor(("displacement_z",), (), lambda case: (1.1 * case.displacement[:, 2:] + 0.01, None))
    scores = case_scores(predictor, cases, quiet=True)
    assert scores["region"].value_counts().to_dict() == {"all": 5, "surface": 5, "interior": 3}
    for row in scores.to_dict("records"):
        case = cases[row["case_id"]]
        nodes = {"all": slice(None), "surface": case.on_surface, "interior": ~case.on_surface}[row["region"]]
        truth = case.displacement[nodes, 2]
        expected = score((1.1 * case.displacement[:, 2] + 0.01)[nodes], truth, "displacement_z")
        assert {name: row[name] for name in expected} == pytest.approx(expected)
        assert (row["nodes"], row["max_z"], row["unit"]) == (case.node_count, 1.0, "mm")


def test_runs_are_compared_in_one_table(evaluated, copied, floor_copy, tmp_path):
    outcome = evaluated(copied, floor_copy, "--split=train")
    assert outcome.code == 0, outcome.err
    assert "displacement_z [mm], train cases" in outcome.out
    assert "von_mises_stress [MPa], train cases" in outcome.out
    assert "published_relative_l2" in outcome.out
    rows = [line.split()[:3] for line in outcome.out.splitlines() if line.startswith(("run ", "floor "))]
    # The floor knows its training cases by heart, so it comes first.
    assert rows[:3] == [["run", "model", "split"], ["floor", "knn", "3"], ["run", "flare", "3"]]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES

    overall = comparison(tmp_path).query("group == 'overall'").set_index("run")
    trained = Run.open(copied)
    expected = trained.metrics["targets"]["displacement_z"]["train"]
    assert overall.loc["run", "mean"] == pytest.approx(expected["mean"]["relative_l2"])
    assert overall.loc["run", "median"] == pytest.approx(expected["median"]["relative_l2"])
    assert overall.loc["run", "low"] < overall.loc["run", "mean"] < overall.loc["run", "high"]
    cases = pd.read_parquet(tmp_path / "out" / "case_metrics.parquet")
    assert cases[["run", "target"]].value_counts().to_dict() == {
        ("run", "displacement_z"): 3,
        ("floor", "displacement_z"): 3,
        ("floor", "von_mises_stress"): 3,
    }


def test_the_same_comparison_gives_the_same_files(evaluated, copied, tmp_path):
    assert evaluated(copied, "-q", "--split=train") == (0, "", "")
    first = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    assert evaluated(copied, "-q", "--split=train") == (0, "", "")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == first


def test_metrics_are_kept_in_the_run_and_not_computed_twice(evaluated, copied, monkeypatch):
    (copied / "case_metrics.parquet").unlink(missing_ok=True)
    assert evaluated(copied).code == 0
    assert evaluated(copied, "--split=val").code == 0
    kept = pd.read_parquet(copied / "case_metrics.parquet")
    assert kept[["case_id", "split"]].to_numpy().tolist() == [["e", "test"], ["d", "val"]]
    monkeypatch.setattr(Run, "predict", None)
    assert evaluated(copied).code == 0
    assert evaluated(copied, "--split=val").code == 0


def test_metrics_of_other_weights_are_not_taken(evaluated, copied, finished, tmp_path):
    assert evaluated(copied, "-q").code == 0
    before = comparison(tmp_path)["mean"].iloc[0]
    # The weights of the last epoch in the place of the best.
    shutil.copy(finished / "checkpoints" / "last.ckpt", copied / "checkpoints" / "best.ckpt")
    kept = pd.read_parquet(copied / "case_metrics.parquet").query("split == 'test'")
    assert evaluated(copied, "-q").code == 0
    run = Run.open(copied)
    expected = case_scores(Predictor.of_run(run, run.dataset()), run.dataset().test, quiet=True)[
        "relative_l2"
    ].item()
    assert comparison(tmp_path)["mean"].iloc[0] == pytest.approx(expected)
    assert before == pytest.approx(kept["relative_l2"].item())


def test_another_store_has_its_own_leakage_and_regions(evaluated, copied, surfaced, tmp_path):
    (copied / "case_metrics.parquet").unlink(missing_ok=True)
    outcome = evaluated(copied, "--data", surfaced)
    assert outcome.code == 0, outcome.err
    found = comparison(tmp_path).set_index(["group", "level"])
    # The run was trained on a, b and c of the other store.
    assert found["cases"].loc["leakage"].to_dict() == {"sibling or duplicate in train": 3, "neither": 2}
    assert found["cases"].loc["region"].to_dict() == {"surface nodes": 5, "interior nodes": 3}
    assert set(found["split_method"]) == {"design"}
    assert " design " in outcome.out
    assert not (copied / "case_metrics.parquet").exists()


def test_leakage_that_is_not_known_is_said(evaluated, copied, surfaced, store, tmp_path):
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace(str(store), str(tmp_path / "gone.zarr")))
    outcome = evaluated(copied, "--data", surfaced)
    assert outcome.code == 0, outcome.err
    assert "note: Whether run was trained on parts like those it is scored on is not known: there is no" in (
        outcome.out
    )
    assert "leakage" not in set(comparison(tmp_path)["group"])


def test_the_same_store_elsewhere_is_its_own(evaluated, copied, store, tmp_path):
    moved = shutil.copytree(store, tmp_path / "moved.zarr")
    assert evaluated(copied, "--data", moved).code == 0
    assert (copied / "case_metrics.parquet").exists()


def test_predictions_of_a_run_score_as_the_run(evaluated, copied, store, tmp_path):
    run = Run.open(copied)
    training = run.dataset().train
    np.savez(
        tmp_path / "elsewhere.npz",
        **{f"{case.case_id}/displacement_z": run.predict(case)[:, 0] for case in training},
    )
    options = ("--data", store, "--split=train")
    outcome = evaluated(copied, "--predictions", tmp_path / "elsewhere.npz", *options)
    assert outcome.code == 0, outcome.err
    cases = pd.read_parquet(tmp_path / "out" / "case_metrics.parquet").drop(columns="run")
    own, elsewhere = cases.iloc[:3], cases.iloc[3:].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, elsewhere)
    table = pd.read_csv(tmp_path / "out" / "comparison.csv").drop(columns=["run", "model"])
    assert table[table["group"] == "difference"][["mean", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]]
    table = table[table["group"] != "difference"]
    half = len(table) // 2
    pd.testing.assert_frame_equal(table[:half], table[half:].reset_index(drop=True))


def test_uncertainty_of_predictions_made_elsewhere(evaluated, store, tmp_path):
    truth = {case.case_id: case.displacement[:, 2] for case in lpbf.open_dataset(store).train}
    arrays = {f"{name}/displacement_z": values + 0.01 for name, values in truth.items()}
    arrays |= {f"{name}/displacement_z_std": np.full(len(values), 0.005) for name, values in truth.items()}
    np.savez(tmp_path / "p.npz", **arrays)
    outcome = evaluated("--predictions", tmp_path / "p.npz", "--data", store, "--split=train")
    assert outcome.code == 0, outcome.err
    # Every error is two claimed standard deviations, and 95 % are within 1.96.
    row = next(line.split() for line in reversed(outcome.out.splitlines()) if line.startswith("p.npz"))
    assert row[1:7] == ["0.500", "0.557", "0.00", "0.00", "0.00", "0.00"]
    ratio = comparison(tmp_path, "spread_skill_ratio").query("group == 'overall'")["mean"].item()
    assert ratio == pytest.approx(0.5, rel=1e-5)
    assert "Uncertainty compared with the error" in (tmp_path / "out" / "comparison.tex").read_text()


def test_predictions_are_scored_without_torch(store, tmp_path):
    np.savez(tmp_path / "zero.npz", **{"e/displacement_z": np.zeros(16)})
    code = (
        "import sys; sys.modules['torch'] = None; from pipelines import evaluate; "
        f"evaluate.main(['--predictions', {str(tmp_path / 'zero.npz')!r}, '--data', {str(store)!r}, "
        f"'-o', {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert comparison(tmp_path)["mean"].iloc[0] == 1.0
    assert "note: There are cases of one design only: no confidence interval can be given." in done.stdout


def test_options_may_be_in_a_file(evaluated, copied, store, tmp_path):
    for name in ("one", "two"):
        np.savez(tmp_path / f"{name}.npz", **{"e/displacement_z": np.zeros(16)})
    config = f"runs: [{copied}]\ndata: {store}\npredictions: [one.npz, two.npz]\n"
    (tmp_path / "options.yaml").write_text(config)
    outcome = evaluated("--config", "options.yaml")
    assert outcome.code == 0, outcome.err
    assert set(comparison(tmp_path)["run"]) == {"run", "one.npz", "two.npz"}
    assert evaluated(copied, "--data", store, "--predictions", "one.npz", "two.npz").out == outcome.out


def test_what_fails_does_not_stop_the_others(evaluated, copied, floor_copy, tmp_path):
    shutil.rmtree(floor_copy / "checkpoints")
    outcome = evaluated(floor_copy, tmp_path / "nothing", copied)
    assert outcome.code == 1
    assert outcome.err.splitlines()[:2] == [
        f"error: {floor_copy} has no checkpoint yet; train it with lpbf-train ... --resume",
        f"error: {tmp_path / 'nothing'} is not a run of lpbf-train: it has no config.yaml",
    ]
    assert set(comparison(tmp_path)["run"]) == {"run"}


def test_when_all_fails_nothing_is_written(evaluated, tmp_path):
    outcome = evaluated(tmp_path / "nothing")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {tmp_path / 'nothing'} is not a run of lpbf-train: it has no config.yaml\n"
    assert not list((tmp_path / "out").iterdir())


def test_a_store_that_lacks_a_field(evaluated, floor_copy, surfaced):
    outcome = evaluated(floor_copy, "--data", surfaced, "-q")
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert "has no variable 'von_mises_stress'" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of a run, or --predictions PATH"),
        (["--predictions", "p.npz"], "--predictions needs the store that they are for: --data STORE"),
        (["RUN", "--split=test", "--data=missing.zarr"], "missing.zarr"),
        (["RUN", "RUN"], "is named twice"),
        (["--predictions", "missing.npz", "--data=STORE"], "there is no missing.npz"),
        (["RUN", "--split=val", "--data=TRAIN_ONLY"], "has no val cases (1 train, 0 val, 0 test); choose"),
    ],
)
def test_mistakes_are_one_line(arguments, message, evaluated, copied, store, train_only):
    names = {"RUN": copied, "STORE": store, "TRAIN_ONLY": train_only}
    for name in ("TRAIN_ONLY", "STORE", "RUN"):
        arguments = [argument.replace(name, str(names[name])) for argument in arguments]
    outcome = evaluated(*arguments, "-q")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1


def test_the_output_must_be_a_folder(evaluated, copied, tmp_path):
    (tmp_path / "out").write_text("in the way")
    outcome = evaluated(copied)
    assert outcome.code == 2
    assert outcome.err == f"error: {tmp_path / 'out'} is no folder; choose another one by -o\n"


def test_names_are_short_where_they_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert distinct_names(["runs/a", "b/"]) == ["a", "b"]
    assert distinct_names(["x/run", "y/run", "other"]) == ["x/run", "y/run", "other"]
    assert distinct_names(["."]) == [tmp_path.name]
    assert distinct_names(["s3://bucket/p.zarr"]) == ["p.zarr"]
    assert distinct_names(["two\nlines", "\udcff"]) == ["two lines", "\\udcff"]
