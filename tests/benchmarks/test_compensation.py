"""The benchmark of compensation measures what it says."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpbf_dataset.export.surface import write_surface
from lpbf_dataset.simulation.materials import MATERIALS


@pytest.fixture(scope="module")
def compensation(benchmark_module):
    return benchmark_module("compensation")


def test_a_written_surface_comes_back_with_its_vertices_in_order(compensation, tmp_path):
    ball = trimesh.creation.icosphere(2, radius=10)
    write_surface(tmp_path / "ball.stl", ball)
    np.testing.assert_allclose(
        compensation.read_back(tmp_path / "ball.stl", ball).vertices, ball.vertices, rtol=1e-6, atol=1e-6
    )


@pytest.mark.slow
def test_what_is_left_is_measured_by_the_solver_not_by_what_was_compensated(compensation):
    """A surrogate that knows nothing improves nothing, though it believes so."""
    part = compensation.ProceduralPart(1, 0, (20.0, 20.0))
    solver = compensation.simulated_displacement(MATERIALS["inconel625"])

    def ignorant(surface: trimesh.Trimesh) -> np.ndarray:
        return np.zeros(surface.vertices.shape)

    row = compensation.measure(part, ignorant, solver, 2, 1.6)
    assert row.predicted == pytest.approx(0, abs=1e-9)
    assert row.ratio == pytest.approx(1, abs=0.02)
    assert compensation.measure(part, solver, solver, 2, 1.6).ratio <= 0.2
