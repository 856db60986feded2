"""The benchmark of the geometric features measures what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from lpbf_dataset.mesh import boundary, cell_volumes, node_distance

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "geometry.py"


@pytest.fixture(scope="module")
def geometry():
    """Return the benchmark as a module."""
    spec = importlib.util.spec_from_file_location("geometry", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_merged_cells_fill_the_same_block(geometry):
    points, cells = geometry.perforated_block(24)
    volumes = cell_volumes(points, cells)
    np.testing.assert_array_equal(np.unique(np.rint(np.cbrt(volumes) / 0.3)), [1, 2])
    surface = boundary(points, cells)
    a, b, c = np.moveaxis(surface.vertices[surface.triangles], 1, 0)
    assert (a * np.cross(b, c)).sum() / 6 == pytest.approx(volumes.sum(), rel=1e-6)


def test_naive_distance_is_the_distance(geometry):
    points, cells = geometry.perforated_block(8)
    surface = boundary(points, cells)
    naive = geometry.naive_nearest(points, surface.vertices[surface.triangles])
    np.testing.assert_allclose(naive, -node_distance(points, surface)[0], atol=1e-6)
