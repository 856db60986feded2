"""Time of the geometric features of a mesh, and how it grows with the nodes.

Builds perforated blocks on an octree whose cells are fine at the surface, and times the surface, the
distance to it and the axis distances; the smallest block also by testing every node against every
triangle, as a program without a search structure would.

    python benchmarks/geometry.py --nodes 5000 20000 80000 320000 --threads 2
"""

from __future__ import annotations

import argparse
import resource
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_erosion

from lpbf_dataset.mesh import axis_distances, boundary, node_distance

if TYPE_CHECKING:
    from collections.abc import Callable

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])


def perforated_block(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a block of width^3 fine cells, less holes along z, whose inner cells are merged by eights."""
    x, y, _ = np.indices((width,) * 3)
    pitch = width / 3
    solid = (x % pitch - pitch / 2) ** 2 + (y % pitch - pitch / 2) ** 2 > (pitch / 5) ** 2
    leaves, size = [], 1
    while not any(n % 2 for n in solid.shape):
        # What is left of the eights by erosion is nowhere at the surface.
        halves = [n for length in solid.shape for n in (length // 2, 2)]
        merged = binary_erosion(solid.reshape(halves).all(axis=(1, 3, 5)))
        fine = solid & ~merged.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        leaves.append((np.argwhere(fine)[:, None] + CORNERS) * size)
        solid, size = merged, 2 * size
    leaves.append((np.argwhere(solid)[:, None] + CORNERS) * size)
    corners = np.concatenate(leaves)
    lattice, cells = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return (0.3 * lattice).astype(np.float32), cells.reshape(-1, 8).astype(np.int32)


def naive_nearest(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest of triangles (t, 3, 3), one point at a time."""
    start, along = corners, np.roll(corners, -1, axis=1) - corners
    normal = np.cross(along[:, 0], along[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    nearest = np.empty(len(points))
    for i, point in enumerate(points.astype(np.float64)):
        height = ((point - start[:, 0]) * normal).sum(axis=1)
        foot = (point - height[:, None] * normal)[:, None] - start
        inside = ((np.cross(along, foot) * normal[:, None]).sum(axis=2) >= 0).all(axis=1)
        offset = point - start
        t = np.clip((offset * along).sum(axis=2) / (along**2).sum(axis=2), 0, 1)
        edge = np.linalg.norm(offset - t[..., None] * along, axis=2).min()
        nearest[i] = min(edge, np.abs(height[inside]).min(initial=np.inf))
    return nearest


def best_of(repeats: int, function: Callable[[], object]) -> float:
    """Return the shortest time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return min(times)


def main() -> None:
    """Print one line per mesh, then the exponents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[5_000, 20_000, 80_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sample", type=int, default=200, help="nodes timed one against all triangles")
    options = parser.parse_args()

    perforated = perforated_block(8)
    surface = boundary(*perforated)
    node_distance(perforated[0], surface, options.threads)
    axis_distances(*perforated, options.threads)

    counts, times = [], []
    print("   nodes triangles boundary_s distance_s axis_s naive_distance_s peak_MB")
    for wanted in options.nodes:
        points, cells = perforated_block(2 * round((wanted / 0.85) ** (1 / 3) / 2))
        surface = boundary(points, cells)
        sample = points[~surface.is_surface_node][:: max(1, len(points) // options.sample)]
        corners = surface.vertices[surface.triangles]
        naive = best_of(1, partial(naive_nearest, sample, corners)) * len(points) / len(sample)
        row = [
            best_of(3, partial(boundary, points, cells)),
            best_of(3, partial(node_distance, points, surface, options.threads)),
            best_of(3, partial(axis_distances, points, cells, options.threads)),
        ]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        counts.append(len(points))
        times.append(row)
        print(
            f"{len(points):8d} {len(corners):9d}", *(f"{t:10.3f}" for t in row), f"{naive:10.1f} {peak:8.0f}"
        )
    if len(counts) > 1:
        exponents = np.polyfit(np.log(counts), np.log(times), 1)[0]
        print("time ~ nodes^", *(f"{exponent:.2f}" for exponent in exponents))


if __name__ == "__main__":
    main()
