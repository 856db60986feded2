"""``lpbf-benchmark`` as a user runs it, and the leaderboard by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml

import lpbf_dataset as lpbf
from pipelines import benchmark, train
from pipelines.comparison.benchmark_plan import BenchmarkOptions, plan
from pipelines.comparison.leaderboard import leaderboard, standing
from pipelines.console import UserError
from pipelines.runs import files
from pipelines.scoring.case_metrics import pq

TINY = {"recipe": "tiny", "training": {"min_steps": 0, "num_workers": 0}}


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def benchmarked(capsys, tmp_path):
    """Return the command in this process; it writes to ``out``."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            benchmark.main([*map(str, arguments), "-o", str(tmp_path / "out")])
        return Outcome(int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def trained_here(monkeypatch):
    """Train in this process, which need not import everything anew; returns the models in order."""
    trained = []

    def start(planned, options, *, quiet):
        assert quiet
        if (planned.folder / files.METRICS).is_file():
            return 0
        trained.append(planned.folder.name)
        return train.run([*planned.arguments(options), "-q"])

    monkeypatch.setattr(benchmark, "train_in_own_process", start)
    return trained


def table_rows(text):
    """Rows of the first Markdown table, a list of cells each."""
    lines = [line.replace("\\", "") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_it_trains_each_model_and_ranks_them(benchmarked, store, tmp_path):
    config = tmp_path / "benchmark.yaml"
    config.write_text(yaml.safe_dump({**TINY, "models": ["pointnet", "mean_field"], "steps": 2}))
    outcome = benchmarked(store, "--config", config)
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out"
    head, _, *rows = table_rows((out / "leaderboard.md").read_text())
    assert {row[head.index("model")] for row in rows} == {"pointnet", "mean_field"}
    (pointnet,) = (row for row in rows if row[0] == "pointnet")
    assert pointnet[head.index("steps")] == "2"
    assert int(pointnet[head.index("parameters")].replace(",", "")) > 1000
    assert (out / "bars" / "comparison.html").is_file()
    assert "leaderboard.md" in outcome.out

    again = benchmarked(store, "--config", config)
    assert again.code == 0
    assert "training" not in again.err, "finished runs are not trained again"
    assert "displacement_z" in again.out

    other = benchmarked(store, "--config", config, "--steps", 3)
    assert other.code == 2
    assert "other steps" in other.err


def test_a_failed_run_costs_its_model_alone(benchmarked, trained_here, store, tmp_path, monkeypatch):
    start = benchmark.train_in_own_process

    def fail_on_knn(planned, options, *, quiet):
        return 1 if planned.model == "knn" else start(planned, options, quiet=quiet)

    monkeypatch.setattr(benchmark, "train_in_own_process", fail_on_knn)
    outcome = benchmarked(store, "--models", "mean_field", "knn", "--steps", 2, "-q")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "knn_0 was not finished" in outcome.err
    _, _, *rows = table_rows((tmp_path / "out" / "leaderboard.md").read_text())
    assert [row[0] for row in rows] == ["mean_field"]
    assert trained_here == ["mean_field_0"]


def test_ctrl_c_says_how_to_go_on(benchmarked, store, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "train_in_own_process", interrupted)
    outcome = benchmarked(store, "--models", "mean_field", "--steps", 2, "-q")
    assert (outcome.code, outcome.err) == (1, "interrupted; run the same command again to go on\n")


def test_seeds_are_averaged_case_by_case(store, tmp_path):
    # A floor that is fitted to a few random nodes depends on its seed.
    options = BenchmarkOptions(models=["knn"], steps=1, seeds=[1, 2])
    runs = plan([str(store)], options, tmp_path)
    for planned in runs:
        assert train.run([*planned.arguments(options), "--max_nodes", "20", "-q"]) == 0
    errors = []
    for planned in runs:
        scores = pq.read_table(planned.folder / files.CASE_METRICS).to_pandas()
        errors.append(scores.query("split == 'test' and region == 'all'")["relative_l2"].item())
    assert errors[0] != errors[1]
    ranked = standing(runs, quiet=True)
    assert ranked.seeds == pytest.approx(errors)
    whole = ranked.entry.scores.query("region == 'all'")
    assert whole["relative_l2"].item() == pytest.approx(np.mean(errors))
    assert whole["nodes"].item() == lpbf.open_dataset(store).test[0].node_count
    table = leaderboard([ranked], "displacement_z")
    assert "over seeds" in table.headers
    assert table.rows[0][-3:] == ("", "", "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "one budget"),
        ({"steps": 5, "minutes": 1.0}, "one budget"),
        ({"steps": -1}, "negative"),
        ({"models": []}, "--models is empty"),
        ({"models": ["flare", "flare"]}, "flare is named twice"),
        ({"models": ["flair"]}, "flare"),
        ({"seeds": []}, "--seeds is empty"),
        ({"training": {"max_steps": 4}}, "max_steps is decided"),
    ],
)
def test_bad_options_are_told(values, message):
    with pytest.raises(UserError, match=message):
        BenchmarkOptions(**{"models": ["flare"], "steps": 5, **values})


def test_bad_stores_are_told_before_anything_is_trained(benchmarked, store, train_only, tmp_path):
    assert "name a store" in benchmarked("--models", "knn", "--steps", 1).err
    assert "lacks training or test cases" in benchmarked(train_only, "--models", "knn", "--steps", 1).err
    copy = shutil.copytree(store, tmp_path / "other" / Path(store).name)
    assert "two stores of the same name" in benchmarked(store, copy, "--models", "knn", "--steps", 1).err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(benchmarked, store, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    outcome = benchmarked(store, "--models", "knn", "--steps", 1)
    assert outcome.code == 2
    assert "holds no benchmark" in outcome.err
