"""The embedded solver against a measured part."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from lpbf_dataset.sources.base import Step

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nist_amb2018_01.py"


@pytest.fixture(scope="module")
def bridge():
    """Return the benchmark as a module."""
    spec = importlib.util.spec_from_file_location("nist_amb2018_01", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def block() -> Step:
    """Return a box of two cells that tilts and stretches linearly."""
    x, y, z = np.meshgrid([0.0, 1.0, 3.0], [0.0, 2.0], [0.0, 0.5], indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()]).astype(np.float32)
    first = [0, 4, 6, 2, 1, 5, 7, 3]
    cells = np.array([first, [node + 4 for node in first]], dtype=np.int32)
    displacement = 0.1 * points[:, [0, 0, 0]]
    return Step(1, "cut", 0.0, points, cells, {"displacement": displacement})


def test_sampling_is_exact_for_a_linear_field(bridge, block) -> None:
    values = block.points @ np.array([1.0, -2.0, 3.0])
    places = np.array([[0.3, 0.1, 0.4], [2.9, 1.0, 0.0], [1.0, 2.0, 0.5]])
    np.testing.assert_allclose(bridge.sample(block, values, places), places @ [1.0, -2.0, 3.0], rtol=1e-6)


def test_ridge_height_is_that_of_the_top_at_its_middle(bridge, block) -> None:
    assert bridge.ridge_height(block, np.array([0.5])) == pytest.approx(0.05, rel=1e-6)


def test_measurements_are_those_published(bridge, shared_data) -> None:
    at = bridge.Measured.read(shared_data / "nist_amb2018_01")
    assert (at.x[0], at.lift[0], at.deviation[0]) == (0.5, 1.276, 0.002)
    assert len(at.x) == 11
    np.testing.assert_allclose(1e6 * bridge.row_means(at.strain, at), [1175.0, 613.0, -8.0], atol=1.0)
    bend, misfit = bridge.curvature(at.x, at.lift)
    assert bend == pytest.approx(6.87e-4, rel=0.001)
    assert misfit < 0.0065


@pytest.mark.slow
def test_one_scalar_describes_the_lift_of_the_measured_bridge(bridge, shared_data) -> None:
    folder = shared_data / "nist_amb2018_01"
    at = bridge.Measured.read(folder)
    strain, ours, _thermal = bridge.calibrate(folder, bridge.Mesh(), at)
    assert -0.008 < strain < -0.004
    assert ours.lift[0] == pytest.approx(at.lift[0], abs=1e-9)
    rms, worst = bridge.shape_error(ours.lift, at)
    assert rms < 0.04 * at.lift[0]
    assert worst < 0.06 * at.lift[0]
    # What bends the bridge is right, though the mean tension is not: nothing yields.
    gradients = [np.polyfit(bridge.STRAIN_ROWS, bridge.row_means(r.strain, at), 1)[0] for r in (ours, at)]
    assert gradients[0] == pytest.approx(gradients[1], rel=0.25)
