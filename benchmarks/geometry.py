"""Time, memory and growth with the nodes of the geometric features of a mesh, beside the naive way.

The meshes are perforated blocks on an octree whose cells are fine at the surface; with `--rotate` also turned
so that nothing lies along the axes.  Each size runs in a process of its own, whose peak memory is read
afterwards (Linux with glibc).  Repeats alternate between ours on one thread, ours on several, and naive;
the medians are shown.  What the naive way does node by node is timed on a sample and scaled.

    python benchmarks/geometry.py --nodes 5000 20000 45000 80000 320000 --threads 2 --rotate
"""

from __future__ import annotations

import argparse
import multiprocessing
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import geometry_naive as naive
import numpy as np
import pandas as pd
from interpolation import peak_megabytes, reset_peak
from scipy.ndimage import binary_erosion

from lpbf_dataset.mesh import (
    Boundary,
    aspect_ratios,
    axis_distances,
    boundary,
    feature_size,
    node_distance,
    unique_edges,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])

MILLION = 1_000_000
"""Nodes of the mesh of `--million`: ours only, once."""

DISTANCES = ["boundary", "node distance", "axis distances"]
"""Together, the distance features of the published extractor."""

PUBLISHED = pd.DataFrame(
    [
        (20_000, "edges and graph", 1.8),
        (20_000, "aspect ratios", 0.39),
        (20_000, "distance features", 2.44),
        (45_000, "edges and graph", 3.4),
        (45_000, "aspect ratios", 0.98),
        (45_000, "distance features", 8.8),
    ],
    columns=["near", "feature", "published s"],
)
"""Seconds per case of the published extractor on two cores; the last with 1.4 GB."""


class Mesh(NamedTuple):
    """A mesh with its surface."""

    points: np.ndarray
    cells: np.ndarray
    surface: Boundary

    @property
    def corners(self) -> np.ndarray:
        """Corners of the triangles of the surface, (t, 3, 3)."""
        return self.surface.vertices[self.surface.triangles]


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


def block_mesh(node_count: int, *, turned: bool) -> Mesh:
    """Return a perforated block of about so many nodes."""
    # Between surface and volume: fitted to widths from 18 to 110, which have 6807 to 484 419 nodes.
    points, cells = perforated_block(2 * round((node_count / 8.9) ** (1 / 2.33) / 2))
    if turned:
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        points = (points @ (rotation * np.linalg.det(rotation))).astype(np.float32)
    return Mesh(points, cells, boundary(points, cells))


def edges_and_graph(mesh: Mesh, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the undirected edges, and the edges in both directions."""
    edges = unique_edges(mesh.cells, len(mesh.points), threads)
    return edges, np.concatenate([edges, edges[:, ::-1]])


OURS: dict[str, Callable[[Mesh, int], object]] = {
    "edges and graph": edges_and_graph,
    "aspect ratios": lambda mesh, threads: aspect_ratios(mesh.points, mesh.cells, threads),
    "boundary": lambda mesh, _threads: boundary(mesh.points, mesh.cells),
    "node distance": lambda mesh, threads: node_distance(mesh.points, mesh.surface, threads),
    "axis distances": lambda mesh, threads: axis_distances(mesh.points, mesh.cells, threads),
    "feature size": lambda mesh, threads: feature_size(mesh.points, mesh.cells, mesh.surface, threads),
}


def seconds(function: Callable[[], object]) -> float:
    """Return the median time of a call, repeated for at least 50 ms: short calls are easily disturbed."""
    times: list[float] = []
    while sum(times) < 0.05:
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return median(times)


def naive_seconds(feature: str, mesh: Mesh, sample: int) -> float:
    """Return the time of a feature found the naive way, scaled from so many nodes where it goes by nodes."""
    if feature == "edges and graph":
        return seconds(lambda: naive.edges_and_graph(mesh.cells))
    if feature == "aspect ratios":
        return seconds(lambda: naive.aspect_ratios(mesh.points, mesh.cells))
    if feature == "boundary":
        return seconds(lambda: naive.boundary_faces(mesh.cells))
    inner = mesh.points[~mesh.surface.is_surface_node]
    nodes = mesh.points[:: max(1, len(mesh.points) // sample)]
    if feature == "axis distances":
        return seconds(lambda: naive.axis_distances(nodes, mesh.corners)) * len(mesh.points) / len(nodes)
    one_nearest = seconds(lambda: naive.nearest(nodes, mesh.corners)) / len(nodes)
    if feature == "node distance":
        return one_nearest * len(inner)
    centres = mesh.points[mesh.cells].mean(axis=1)
    balls = np.concatenate([inner, centres])
    few = centres[:: max(1, len(centres) // sample)]
    query = partial(naive.feature_size, few, balls, np.full(len(balls), np.inf))
    return one_nearest * len(balls) + seconds(query) * len(centres) / len(few)


def measure(node_count: int, turned: bool, threads: int, sample: int, repeats: int) -> pd.DataFrame:
    """Return one row for each feature of a mesh; without naive times where the sample is 0."""
    small, mesh = block_mesh(500, turned=turned), block_mesh(node_count, turned=turned)
    rows = []
    for feature, ours in OURS.items():
        # Compile, and page in what every run shares.
        ours(small, threads)
        reset_peak()
        before = peak_megabytes()
        ours(mesh, threads)
        peak = peak_megabytes() - before
        times = [
            (
                naive_seconds(feature, mesh, sample) if sample else np.nan,
                seconds(partial(ours, mesh, 1)),
                seconds(partial(ours, mesh, threads)),
            )
            for _ in range(repeats)
        ]
        rows.append((len(mesh.points), turned, feature, *np.median(times, axis=0), peak))
    ways = ["naive s", "1 thread s", f"{threads} threads s"]
    return pd.DataFrame(rows, columns=["nodes", "turned", "feature", *ways, "peak MB"])


def in_own_process(*arguments: object) -> pd.DataFrame:
    """Call `measure` in a new process: the memory of the one before does not shrink."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def with_ratios(times: pd.DataFrame) -> pd.DataFrame:
    """Add how many times faster than the naive way each way is."""
    ways = [column for column in times if "thread" in column]
    return times.assign(
        **{f"naive / {way.removesuffix(' s')}": times["naive s"] / times[way] for way in ways}
    )


def exponents(times: pd.DataFrame) -> pd.DataFrame:
    """Return the exponents p of time ~ nodes^p, fitted over the sizes, for each feature."""
    ways = [column for column in times if column.endswith(" s") and times[column].notna().all()]

    def fit(group: pd.DataFrame) -> pd.Series:
        return pd.Series(np.polyfit(np.log(group["nodes"]), np.log(group[ways]), 1)[0], index=ways)

    return times.groupby(["turned", "feature"], sort=False)[["nodes", *ways]].apply(fit)


def beside_published(times: pd.DataFrame) -> pd.DataFrame:
    """Return the published figures beside ours on meshes of about as many nodes."""
    along_axes = times[~times["turned"]]
    distances = along_axes[along_axes["feature"].isin(DISTANCES)]
    ways = [column for column in times if "thread" in column]
    together = distances.groupby("nodes", as_index=False)[ways].sum().assign(feature="distance features")
    ours = pd.concat([along_axes, together])[["nodes", "feature", *ways]]
    pairs = PUBLISHED.merge(ours, on="feature")
    pairs = pairs[(pairs["nodes"] / pairs["near"] - 1).abs() < 0.15]
    return pairs.assign(
        **{f"published / {way.removesuffix(' s')}": pairs["published s"] / pairs[way] for way in ways}
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the times of every feature, their growth, and the published figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[5_000, 20_000, 45_000, 80_000, 320_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sample", type=int, default=20, help="nodes timed one against all triangles")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--million", action="store_true", help="ours on a million nodes, once")
    parser.add_argument("--rotate", action="store_true", help="turned meshes, too")
    options = parser.parse_args(arguments)
    pd.options.display.width = 200
    pd.options.display.max_columns = None

    turns = [False, True] if options.rotate else [False]
    sizes = [
        in_own_process(nodes, turned, options.threads, options.sample, options.repeats)
        for turned in turns
        for nodes in options.nodes
    ]
    times = pd.concat(sizes, ignore_index=True)
    print(with_ratios(times).to_string(index=False, float_format="{:.4g}".format))
    if len(options.nodes) > 1:
        print("\nexponents of the nodes\n", exponents(times).to_string(float_format="{:.2f}".format))
    if len(published := beside_published(times)):
        print("\npublished figures measured on another run")
        print(published.to_string(index=False, float_format="{:.4g}".format))
    if options.million:
        rows = [in_own_process(MILLION, turned, options.threads, 0, 1) for turned in turns]
        print("\na million nodes\n", pd.concat(rows).to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
