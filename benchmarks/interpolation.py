"""Time, memory and error of interpolating a nodal field between two meshes of one part.

The source is a block of which one octant is refined once, so that hanging nodes occur; the targets are the
centres of as many cells of a shifted, uniform block.  Three ways run in processes of their own, whose
peak memory is read afterwards (Linux with glibc):

- trilinear: `lpbf_dataset.mesh.interpolate`;
- nearest 8: the 8 nearest nodes by inverse distance, found with a k-d tree;
- all pairs: nearest 8, with every pair of a target and a cell tested for overlap of their boxes at once, to
  tell which targets lie inside.  Its memory grows with the square of the cells: small meshes only.

    python benchmarks/interpolation.py --cells 2000 20000 160000
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.spatial import cKDTree

from lpbf_dataset.mesh import interpolate

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])
ALL_PAIRS_LIMIT = 5_000
WAYS = ("trilinear", "nearest 8", "all pairs")


def source_mesh(cell_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and cells of a block of side 100 mm, one octant of it refined, of about so many cells."""
    # An octant has an eighth of the cells; refined it has as many as the block had.
    side = 2 * round((cell_count / (15 / 8)) ** (1 / 3) / 2)
    corner = 2 * np.argwhere(np.ones((side,) * 3))
    coarse = (corner >= side).any(axis=1)
    fine = (corner[~coarse, None] + CORNERS).reshape(-1, 3)
    size = np.concatenate([np.full(coarse.sum(), 2), np.ones(len(fine), dtype=int)])
    corners = np.concatenate([corner[coarse], fine])[:, None] + CORNERS * size[:, None, None]
    key = (corners * np.array([(2 * side + 1) ** 2, 2 * side + 1, 1])).sum(axis=2)
    nodes, inverse = np.unique(key, return_inverse=True)
    points = np.stack(np.unravel_index(nodes, (2 * side + 1,) * 3), axis=1) * (50.0 / side)
    return points.astype(np.float32), inverse.reshape(-1, 8).astype(np.int32)


def target_points(cell_count: int) -> np.ndarray:
    """Return the centres of a uniform grid of about so many cells over the block."""
    side = round(cell_count ** (1 / 3))
    return (np.argwhere(np.ones((side,) * 3)) + 0.5) * (100.0 / side)


def field(points: np.ndarray) -> np.ndarray:
    """Return a smooth field of size one."""
    return np.sin(points / 20.0).prod(axis=1)


def nearest_eight(points: np.ndarray, values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Average the 8 nearest nodes by inverse distance."""
    distance, node = cKDTree(points).query(targets, k=8)
    weight = 1 / np.maximum(distance, 1e-12)
    return (weight * values[node]).sum(axis=1) / weight.sum(axis=1)


def overlap_of_all_pairs(points: np.ndarray, cells: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Tell which targets lie in the box of any cell, from the matrix of all pairs."""
    corners = points[cells]
    low, high = corners.min(axis=1), corners.max(axis=1)
    return ((targets[:, None] >= low) & (targets[:, None] <= high)).all(axis=2).any(axis=1)


def run(way: str, points: np.ndarray, cells: np.ndarray, targets: np.ndarray, threads: int) -> np.ndarray:
    """Interpolate the field one way."""
    values = field(points)
    if way == "trilinear":
        return interpolate(points, cells, values, targets, threads).values
    if way == "all pairs":
        assert overlap_of_all_pairs(points, cells, targets).all()
    return nearest_eight(points, values, targets)


def reset_peak() -> None:
    """Hand free memory back, and let the peak of this process start anew (Linux with glibc)."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """Return the peak of the memory of this process since the last reset."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def measure(way: str, cell_count: int, threads: int) -> tuple[int, float, float, float]:
    """Return the number of cells, seconds, megabytes beyond the meshes, and the largest error."""
    points, cells = source_mesh(cell_count)
    targets = target_points(cell_count)
    # Compile, and page in what every run shares.
    run(way, *source_mesh(15), target_points(8), threads)
    reset_peak()
    before = peak_megabytes()
    start = perf_counter()
    values = run(way, points, cells, targets, threads)
    seconds = perf_counter() - start
    return len(cells), seconds, peak_megabytes() - before, float(np.abs(values - field(targets)).max())


def main() -> None:
    """Measure each way in processes of their own, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[2_000, 20_000, 160_000])
    parser.add_argument("--threads", type=int, default=1, help="threads of the trilinear way")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{'cells':>8} {'way':10} {'ms':>9} {'MB':>8} {'error':>9}")
    for cell_count in arguments.cells:
        ways = WAYS if cell_count <= ALL_PAIRS_LIMIT else WAYS[:2]
        for way in ways:
            # One task a process: the peak of a process never falls.
            with context.Pool(1, maxtasksperchild=1) as pool:
                task = (way, cell_count, arguments.threads)
                results = [pool.apply(measure, task) for _ in range(arguments.rounds)]
            cells, seconds, megabytes, error = np.median(results, axis=0)
            print(f"{cells:8.0f} {way:10} {1e3 * seconds:9.1f} {megabytes:8.1f} {error:9.1e}")


if __name__ == "__main__":
    main()
