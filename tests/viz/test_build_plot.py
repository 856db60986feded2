from __future__ import annotations

import re
from io import BytesIO

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset import Case
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.steps import CaseStep
from tests.builds import RATE, GrowingBar, write_builds
from viz.build_plot import build_figure
from viz.checks import SceneError


def written(figure):
    figure.savefig(BytesIO())
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def curves(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def step(index, kind, height, distortion, clearance=None, group=1):
    """Return a step of two nodes, of which one moves."""
    variables = {"displacement": np.array([[0, 0, 0], [0, 0.6, 0.8]], np.float32) * np.float32(distortion)}
    if clearance is not None:
        variables["recoater_clearance"] = np.array([100.0, clearance], np.float32)
    return CaseStep(
        "bar",
        "bar",
        "synthetic",
        {} if kind == "lost" else variables,
        index=index,
        kind="deposited" if kind == "lost" else kind,
        time=float(index),
        height=height,
        group=group,
        fault="lost" if kind == "lost" else "",
    )


def test_distortion_over_the_build():
    steps = [
        step(0, "deposited", 2.0, 0.1, 70.0),
        step(1, "dwelt", 2.0, 0.2, 70.0),
        step(2, "lost", np.nan, 0.0),
        step(3, "deposited", 4.0, 0.3, 50.0, group=2),
        step(4, "removed", 4.0, 0.5, 100.0, group=2),
    ]
    figure = build_figure(Case("bar", "bar", "synthetic", {}, split="test", steps=steps))
    assert {
        "build height [mm]",
        "largest distortion [mm]",
        "smallest recoater clearance [%]",
        "case bar (test split), 1 of 5 steps missing",
    } <= set(written(figure))
    distortion, clearance = figure.axes
    lines = curves(distortion)
    assert set(lines) == {"deposited", "dwelt", "removed"}
    np.testing.assert_allclose(lines["deposited"], [(2, 0.1), (4, 0.3)], rtol=1e-6)
    np.testing.assert_allclose(clearance.lines[0].get_xydata(), [(2, 70), (4, 50)])


def test_a_build_needs_steps_with_numbers():
    without = Case("bar", "bar", "synthetic", {})
    with pytest.raises(SceneError, match=r"case bar holds its final state alone.*lpbf-build --steps all"):
        build_figure(without)
    figure = build_figure(Case("bar", "bar", "synthetic", {}, steps=[step(0, "removed", 2.0, 0.1)]))
    assert len(figure.axes) == 1
    with pytest.raises(SceneError, match="not finite"):
        build_figure(Case("bar", "bar", "synthetic", {}, steps=[step(0, "removed", 2.0, np.nan)]))


@pytest.fixture(scope="module")
def bar(tmp_path_factory):
    """Return a bar of 3 mm length in a store; a step adds 4 RATE mm to its largest distortion."""
    path = write_builds(tmp_path_factory.mktemp("plot") / "s.zarr", GrowingBar("t", layers=2))
    return lpbf.open_dataset(path)["t"]


def half(case, *names):
    """Predict half of what is true, up to the removal."""
    return [(step.index, {name: 0.5 * step.scalar(name) for name in names}) for step in case.steps[:-1]]


def test_predicted_curves_stand_beside_the_true_ones(bar):
    vector = [f"displacement_{axis}" for axis in "xyz"]
    [axes] = build_figure(bar, predictions=half(bar, *vector)).axes
    lines = curves(axes)
    grown = np.array([(1, 4 * RATE), (2, 12 * RATE)])
    np.testing.assert_allclose(lines["deposited"], grown, rtol=1e-6)
    np.testing.assert_allclose(lines["deposited, predicted"], grown * [1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(lines["removed"], [(2, 1)])
    assert "removed, predicted" not in lines


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("displacement_z", "largest |displacement z| [mm]"),
        ("von_mises_stress", "largest von Mises stress [MPa]"),
    ],
)
def test_other_fields_are_drawn_too(bar, field, label):
    figure = build_figure(bar, field, half(bar, field))
    assert label in written(figure)
    lines = curves(figure.axes[0])
    np.testing.assert_allclose(lines["dwelt, predicted"][:, 1], 0.5 * lines["dwelt"][:, 1], rtol=1e-6)


def test_what_steps_lack_or_is_not_finite_is_named(bar):
    with pytest.raises(SceneError, match="the steps of case t have no sdf; they have displacement"):
        build_figure(bar, "sdf")
    with pytest.raises(SceneError, match="the predicted displacement_z cannot be drawn"):
        build_figure(bar, "displacement_z", [(0, {"displacement_z": np.array([np.inf])})])


def test_the_recoater_clearance_is_what_netfabb_tells(step2, tmp_path):
    options = BuildOptions(rules="none", fields="all", steps="all")
    build_store([NetfabbSource(step2)], tmp_path / "s.zarr", options)
    _, axes = build_figure(lpbf.open_dataset(tmp_path / "s.zarr")[0]).axes
    places = axes.lines[0].get_xydata()
    log = (step2 / "step2_mechanical.out").read_text(errors="replace")
    told = re.findall(r"Recoater clearance =\s+(\d+)\.%", log)
    # No recoater passes over the last layer group.
    assert [f"{clearance:.0f}" for clearance in places[:, 1]] == told == ["70", "104"]
    least = re.search(r"Minimum clearance of ([\d.]+) percent at height ([\d.]+) mm", log)
    assert places[0] == pytest.approx([float(least[2]), float(least[1])], abs=1e-3)
