from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lpbf_dataset as lpbf
from pipelines.runs.run import Run
from pipelines.scoring import error_plots, finishing
from pipelines.scoring.node_sample import MAX_NODES, NodeSample
from pipelines.scoring.plots import save_loss_plot


def assert_picture(path):
    pixels = np.asarray(Image.open(path).convert("L"))
    assert min(pixels.shape) > 400
    assert pixels.std() > 10


@pytest.mark.usefixtures("pictures")
def test_a_floor_is_looked_at_like_a_model(command, store, tmp_path):
    pytest.importorskip("pyvista")
    run = tmp_path / "run"
    outcome = command("knn", "--data", store, "-o", run, "--targets", "displacement_z", "temperature")
    assert outcome.code == 2  # a constant field
    outcome = command("knn", "--data", store, "-o", run, "--targets", "displacement_z", "von_mises_stress")
    assert outcome.code == 0, outcome.err
    assert f"open {run / 'report.html'}" in outcome.out
    for target in ("displacement_z", "von_mises_stress"):
        assert_picture(run / "plots" / f"{target}.png")
        assert_picture(run / "predictions" / f"e.{target}.png")
    page = (run / "report.html").read_text()
    assert page.count("<img") == 4
    assert "knn on displacement_z, von_mises_stress" in page
    assert 'id="losses"' not in page


def test_the_page_has_everything_and_loads_nothing(finished):
    page = (finished / "report.html").read_text()
    assert page.count('<img src="data:image/png') == 2  # losses and errors
    assert re.findall(r'(?:src|href)="(?!#|data:)', page) == []
    assert "<script" not in page
    for part in ("metrics", "losses", "errors", "configuration"):
        assert f'href="#{part}"' in page
        assert f'id="{part}"' in page
    assert 'id="examples"' not in page
    assert "learning_rate: 0.001" in page
    assert json.loads((finished / "environment.json").read_text())["store"]["fingerprint"] in page


def test_examples_may_be_asked_for_later(copied, command):
    (copied / "metrics.json").unlink()
    assert not (copied / "predictions").exists()
    assert command("flare", "-o", copied, "--resume", "--examples=1", "-q").code == 0
    assert [path.name for path in (copied / "predictions").iterdir()] == ["e.vtu"]


def test_what_was_interrupted_is_made_up_for(copied, command, monkeypatch):
    (copied / "metrics.json").unlink()
    (copied / "report.html").unlink()
    page = finishing.report

    def interrupted(*arguments):
        monkeypatch.setattr(finishing, "report", page)
        raise KeyboardInterrupt

    monkeypatch.setattr(finishing, "report", interrupted)
    assert command("flare", "-o", copied, "--resume", "-q").code == 130
    assert not (copied / "metrics.json").exists()
    assert command("flare", "-o", copied, "--resume", "-q").code == 0
    assert (copied / "report.html").exists()


@pytest.mark.parametrize("model", ["flare", "knn"])
def test_a_negative_number_of_examples(model, command, store, tmp_path):
    outcome = command(model, "--data", store, "-o", tmp_path / "run", "--examples=-1")
    assert outcome.code == 2
    assert "--examples must not be negative, it is -1" in outcome.err


def test_the_environment_states_the_machine(finished):
    machine = json.loads((finished / "environment.json").read_text())["machine"]
    assert machine["processor"]
    assert machine["threads"] > 0
    assert machine["float32_products"] == "highest"
    assert machine["dtype"] == "float32"


def test_a_sample_is_of_every_case(store):
    cases = lpbf.open_dataset(store)
    sample = NodeSample(("displacement_z",), len(cases))
    for case in cases:
        sample(case, 2 * case.displacement[:, 2:])
    nodes, peaks = sample.nodes("displacement_z"), sample.peaks("displacement_z")
    assert len(nodes) == sum(case.node_count for case in cases)
    np.testing.assert_allclose(nodes["predicted"], 2 * nodes["truth"])
    assert list(peaks["case_id"]) == list("abcde")
    np.testing.assert_allclose(peaks["truth"], [np.abs(case.displacement[:, 2]).max() for case in cases])


def test_a_sample_is_bounded(store):
    case = lpbf.open_dataset(store)["b"]
    sample = NodeSample(("temperature",), MAX_NODES // 5)
    sample(case, case.temperature[:, None])
    nodes = sample.nodes("temperature")
    assert len(nodes) == 5
    assert len(sample.peaks("temperature")) == 1


@pytest.mark.parametrize(
    "errors", [[0.1, 0.2, 0.3], [0.1], [0.0, 0.0], [np.nan, 0.5], [np.inf], [1e-9, 10.0]]
)
def test_errors_of_any_size_are_plotted(errors, tmp_path):
    count = len(errors)
    cases = {"case_id": [str(number) for number in range(count)], "split": ["train", "val", "test"][:count]}
    scores = pd.DataFrame(
        {**cases, "target": "temperature", "unit": "degC", "nodes": 8, "max_z": 1.0, "relative_l2": errors}
    )
    values = pd.DataFrame({**cases, "truth": 25.0, "predicted": np.nan if np.isinf(errors[0]) else 25.0})
    error_plots.save_error_plots(tmp_path / "plot.png", scores, values, values)
    assert_picture(tmp_path / "plot.png")


@pytest.mark.parametrize("losses", [[0.9, 0.8], [1.0, 1e-4], [np.nan], [0.5]])
def test_losses_of_any_size_are_plotted(losses, tmp_path):
    rows = [{"epoch": epoch, "train_loss": loss} for epoch, loss in enumerate(losses)]
    save_loss_plot(rows, tmp_path / "loss.png")
    assert_picture(tmp_path / "loss.png")


def test_the_steps_of_a_floor_are_none(finished, tmp_path):
    assert finishing._steps(Run.open(finished)) == 9
    (tmp_path / "metrics.csv").write_text("epoch,step\n")
    assert finishing._steps(Run(tmp_path, {}, None, None, None, None)) == 0
