from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from viz.statistics import DENSITY_FROM, dataset_figure, error_figure, family


def written(figure):
    figure.savefig(BytesIO())
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def rows(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("count", [1, 50, DENSITY_FROM])
def test_errors_of_few_nodes_and_of_many(count):
    truth = np.linspace(-0.1, 0.3, count, dtype=np.float32)
    figure = error_figure(truth, truth + np.float32(0.01), "displacement_z", "FLARE, case bar")
    texts = written(figure)
    assert {
        "true displacement z [mm]",
        "predicted displacement z [mm]",
        "error of displacement z [mm]",
    } <= set(texts)
    assert "FLARE, case bar" in texts
    assert any("mean 0.01, mean size 0.01" in text and "mm" in text for text in texts)
    assert ("nodes in a cell" in texts) == (count >= DENSITY_FROM)


def test_truth_and_prediction_have_one_scale():
    truth = np.array([0.0, 1.0])
    scatter = error_figure(truth, 3 * truth, "displacement_z").axes[0]
    assert scatter.get_xlim() == scatter.get_ylim() == pytest.approx((-0.09, 3.09))


@pytest.fixture
def cases():
    return pd.DataFrame(
        {
            "design_id": ["bracket_000001", "thin_wall_000002", "thin_wall_000003", "20163_3742f394"],
            "split": ["val", "train", "train", "train"],
            "case_nodes": [100, 200, 300, 400],
            "case_max_z": [1.0, 2.0, 3.0, np.nan],
            "case_max_displacement": [0.1, 0.2, 0.3, 0.4],
            "case_max_von_mises_stress": [100.0, 200.0, 300.0, 400.0],
        },
        index=pd.Index(["a", "b", "c", "d"], name="case_id"),
    )


def test_groups_come_in_order_with_their_numbers(cases):
    by_split, by_family = dataset_figure(cases, "split"), dataset_figure(cases, "family", title="the set")
    labels = [
        [label.get_text() for label in figure.axes[0].get_yticklabels()] for figure in (by_split, by_family)
    ]
    assert labels == [["train (3)", "val (1)"], ["bracket (1)", "thin wall (2)", "other (1)"]]
    texts = written(by_family)
    assert {"number of nodes", "height of the part above the plate [mm]", "the set"} <= set(texts)
    # The height of one case is not known.
    assert rows(by_split.axes[1]) == ["train (2)", "val (1)"]


def test_families():
    assert family("thin_wall_000012") == "thin wall"
    assert family("20163_3742f394") == "other"
