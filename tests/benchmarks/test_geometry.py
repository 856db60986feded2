"""The benchmark of the geometric features measures what it says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lpbf_dataset.mesh import aspect_ratios, axis_distances, cell_volumes, feature_size, node_distance

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def geometry():
    """Return the benchmark as a module, which finds its neighbours as a script does."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("geometry")
    sys.path.remove(str(BENCHMARKS))


def test_merged_cells_fill_the_same_block(geometry):
    mesh = geometry.block_mesh(12_000, turned=False)
    volumes = cell_volumes(mesh.points, mesh.cells)
    np.testing.assert_array_equal(np.unique(np.rint(np.cbrt(volumes) / 0.3)), [1, 2])
    a, b, c = np.moveaxis(mesh.corners, 1, 0)
    assert (a * np.cross(b, c)).sum() / 6 == pytest.approx(volumes.sum(), rel=1e-6)


def test_naive_loops_over_cells_give_the_same(geometry):
    mesh = geometry.block_mesh(1000, turned=True)
    edges, graph = geometry.edges_and_graph(mesh, 1)
    naive_edges, naive_graph = geometry.naive.edges_and_graph(mesh.cells)
    np.testing.assert_array_equal(edges, naive_edges)
    np.testing.assert_array_equal(np.unique(graph, axis=0), np.unique(naive_graph, axis=0))
    ratios = geometry.naive.aspect_ratios(mesh.points, mesh.cells)
    np.testing.assert_allclose(aspect_ratios(mesh.points, mesh.cells), ratios, rtol=1e-5)
    # Beside the surface, faces between coarse and fine cells occur once.
    faces = {tuple(face) for face in np.sort(geometry.naive.boundary_faces(mesh.cells))}
    quads = {tuple(quad) for quad in np.sort(mesh.surface.quads)}
    assert quads < faces


def test_naive_distances_are_the_distances(geometry):
    mesh = geometry.block_mesh(1000, turned=True)
    nearest = geometry.naive.nearest(mesh.points, mesh.corners)
    np.testing.assert_allclose(nearest, -node_distance(mesh.points, mesh.surface)[0], atol=1e-5)
    inner = ~mesh.surface.is_surface_node
    along_axes = geometry.naive.axis_distances(mesh.points[inner], mesh.corners)
    np.testing.assert_allclose(along_axes, axis_distances(mesh.points, mesh.cells)[inner], atol=1e-4)


def test_naive_feature_size_is_no_larger(geometry):
    mesh = geometry.block_mesh(1000, turned=True)
    balls = mesh.points[mesh.cells].mean(axis=1)
    radii = geometry.naive.nearest(balls, mesh.corners)
    naive = geometry.naive.feature_size(balls, balls, radii)
    thickness = feature_size(mesh.points, mesh.cells)
    assert (naive <= thickness * (1 + 1e-5)).all()
    assert np.median(naive / thickness) > 0.5


def test_every_feature_is_timed_and_compared(geometry):
    times = pd.concat([geometry.measure(nodes, False, 2, 2, 1) for nodes in (1000, 2000)])
    assert list(times["feature"]) == 2 * list(geometry.OURS)
    ways = ["naive s", "1 thread s", "2 threads s"]
    assert (times[ways] > 0).all(axis=None)
    assert (geometry.with_ratios(times)["naive / 1 thread"] > 0).all()
    assert geometry.exponents(times).shape == (len(geometry.OURS), len(ways))


def test_published_figures_stand_beside_meshes_of_their_size(geometry):
    times = pd.DataFrame(
        [(nodes, False, feature, 0.1) for nodes in (20_000, 80_000) for feature in geometry.OURS],
        columns=["nodes", "turned", "feature", "1 thread s"],
    )
    pairs = geometry.beside_published(times).set_index("feature")["published / 1 thread"]
    assert pairs.to_dict() == pytest.approx(
        {"edges and graph": 18, "aspect ratios": 3.9, "distance features": 2.44 / 0.3}
    )
