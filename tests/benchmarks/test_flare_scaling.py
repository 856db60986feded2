"""The benchmark of scaling times the layers that it names, and fits what it says."""

from __future__ import annotations

import importlib
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scaling():
    """Return the benchmark as a module, which finds its neighbours as a script does."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("flare_scaling")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def layers(scaling):
    torch.manual_seed(0)
    return importlib.import_module("scaling_layers")


def test_layers_keep_the_shape_ignore_the_order_of_nodes_and_differentiate(layers):
    x_BNC = torch.randn(1, 9, layers.CHANNELS, requires_grad=True)
    order = torch.randperm(9)
    for entry in layers.LAYERS.values():
        layer = entry.build(4)
        y_BNC = layer(x_BNC)
        assert_close(layer(x_BNC[:, order]), y_BNC[:, order], rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(y_BNC.sum(), x_BNC)
        assert gradient.abs().sum() > 0
        assert all(parameter.requires_grad for parameter in layer.parameters())


def power_law(layer: str, latents: int, power: float, scaling) -> list[dict[str, object]]:
    return [
        {
            "layer": layer,
            "latents": latents,
            "nodes": nodes,
            # Fixed costs below the meshes that are fitted to.
            "forward_s": 1e-6 * max(nodes, scaling.FIT_FROM) ** power,
            "backward_s": 2e-6 * max(nodes, scaling.FIT_FROM) ** power,
            "peak_bytes": 1e3 * nodes,
        }
        for nodes in scaling.FULL_NODES
    ]


@pytest.fixture
def table(scaling) -> pd.DataFrame:
    rows = [
        *power_law("FLARE", 64, 1.0, scaling),
        *power_law("FLARE", 128, 1.1, scaling),
        *power_law("softmax", 0, 2.0, scaling)[:3],
    ]
    return pd.DataFrame(rows)


def test_exponents_of_power_laws(scaling, table):
    fitted = scaling.exponents(table)
    assert fitted["FLARE"].to_dict() == pytest.approx({64: 1.0, 128: 1.1})
    assert np.isnan(fitted["softmax"][0])


def test_the_figure_has_a_line_for_each_series(scaling, table):
    figure = scaling.figure_of(table, "a machine")
    for axes in figure.axes:
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert len(axes.get_lines()) == 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["FLARE, 64 ($N^{1.00}$)", "FLARE, 128 ($N^{1.10}$)", "softmax"]
    figure.savefig(buffer := BytesIO(), format="png")
    assert buffer.getvalue()


@pytest.mark.parametrize("processor_time", [False, True])
def test_a_measurement_counts_time_and_memory(scaling, processor_time):
    measured = importlib.import_module("scaling_measure")
    setting = measured.Setting("cpu", "float32", repeats=1, processor_time=processor_time)
    result = measured.measure("linear", 0, 20_000, setting)
    assert result.nodes == 20_000
    assert result.forward_s > 0
    assert result.backward_s > 0


def test_a_series_ends_before_what_would_take_too_long(scaling, tmp_path, capsys):
    small = ["-o", str(tmp_path), "--device", "cpu", "--layers", "linear", "--repeats", "1"]
    options = scaling.parse_options([*small, "--nodes", "20000", "100", "--longest-step", "1e-6"])
    table = scaling.measure_all(options)
    assert list(table["nodes"]) == [100]
    assert "20000  left out" in capsys.readouterr().out
    assert (table["peak_bytes"] >= 0).all()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scaling.csv"), table)


def test_memory_is_that_of_one_measurement(scaling, tmp_path):
    small = [
        "-o",
        str(tmp_path),
        "--device",
        "cpu",
        "--layers",
        "linear",
        "--repeats",
        "1",
        "--nodes",
        "20000",
    ]
    table = scaling.measure_all(scaling.parse_options(small))
    input_bytes = 20_000 * 128 * 4
    assert (table["peak_bytes"] > 4 * input_bytes).all()


def test_the_cpu_gets_smaller_defaults_unless_told_otherwise(scaling):
    assert max(scaling.parse_options(["--device", "cpu"]).nodes) == 100_000
    assert max(scaling.parse_options(["--device", "cpu", "--full"]).nodes) == 1_000_000
    assert max(scaling.parse_options(["--device", "cuda"]).latents) == 2048
