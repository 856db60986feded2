"""Kernels are compiled once for an installation, not once for a process."""

from __future__ import annotations

import json
import subprocess
import sys

CALL_EVERYTHING = """
import json, sys

import numpy as np
from numba.core.dispatcher import Dispatcher

from lpbf_dataset.mesh import *

# A plate of two layers, of which one half is refined, turned so that its cells are not along the axes.
corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
boxes = [((2 * x, y, z), 2) for x in range(2) for y in (0, 2) for z in (0, 2)]
boxes += [((4 + x, y, z), 1) for x in range(2) for y in range(4) for z in range(4)]
lattice, cells = np.unique(
    np.concatenate([np.array(low) + np.array(corners) * size for low, size in boxes]),
    axis=0, return_inverse=True,
)
cells = cells.reshape(-1, 8).astype(np.int32)
rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
rotation *= np.linalg.det(rotation)
for points in (lattice.astype(np.float32), (lattice @ rotation.T).astype(np.float32)):
    surface = boundary(points, cells)
    unique_edges(cells, len(points))
    aspect_ratios(points, cells)
    cell_to_node(node_to_cell(points, cells), cells, len(points), cell_volumes(points, cells))
    node_components(cells, len(points))
    face_components(points, cells)
    node_distance(points, surface)
    signed_distance(points, surface.vertices, surface.triangles)
    axis_distances(points, cells)
    surface_axis_distances(points, surface.vertices, surface.triangles)
    feature_size(points, cells, surface)
    interpolate(points, cells, points, points)

kernels = {
    f"{name}.{attribute}": kernel
    for name, module in list(sys.modules.items()) if name.startswith("lpbf_dataset.mesh")
    for attribute, kernel in vars(module).items() if isinstance(kernel, Dispatcher)
}
print(json.dumps({
    name: [sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())]
    for name, kernel in kernels.items()
}))
"""


def cache_statistics() -> dict[str, list[int]]:
    """Return the hits and misses of the cache of every kernel, after calling all in a new process."""
    run = subprocess.run([sys.executable, "-c", CALL_EVERYTHING], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def test_a_second_process_compiles_nothing():
    cache_statistics()
    again = cache_statistics()
    assert {name for name, (_, misses) in again.items() if misses} == set()
    hit = {name for name, (hits, _) in again.items() if hits}
    assert {name.split(".")[2] for name in hit} >= {"averages", "boundary", "distance", "locate", "topology"}
