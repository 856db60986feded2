"""Time of reading one case at random, by codec and by reader.

Writes stores of synthetic cases of about 25 000 nodes, one per codec, and the same cases as
compressed NPZ files; then reads all variables of random cases with each reader in turn.  The readers
take turns, so that whatever else the machine does falls on all alike, and medians are printed.  The
files are warm in the page cache, but there are more cases than the readers' own caches hold.

    python benchmarks/random_access.py --cases 64 --rounds 10 --reads 20
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lpbf_dataset import Case, open_dataset
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import field_names
from lpbf_dataset.store import ragged_reader
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CODECS = ("none", "lz4", "zstd")
FIELDS = field_names(include_optional=False)


def block(index: int) -> Case:
    """Return a block of 42 x 32 x 17 cells with smooth fields and noise in their last digits."""
    random = np.random.default_rng(index)
    shape = np.array([43, 33, 18])
    node = np.arange(shape.prod(), dtype=np.int32).reshape(shape)
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    size = shape - 1
    cells = np.stack(
        [node[i : i + size[0], j : j + size[1], k : k + size[2]].ravel() for i, j, k in corners], axis=1
    )
    points = (np.argwhere(node >= 0) * random.uniform(0.5, 1.5, 3)).astype(np.float32)
    wave = np.sin(points @ random.normal(scale=0.05, size=(3, 5)))
    fields = (wave * (1 + 1e-4 * random.normal(size=wave.shape))).astype(np.float32)
    variables = {
        "points": points,
        "cells": cells,
        "edges": unique_edges(cells, node.size),
        "displacement": np.ascontiguousarray(fields[:, :3]),
        "von_mises_stress": 400 + 300 * fields[:, 3],
        "temperature": 25 + fields[:, 4],
    }
    return Case(f"case_{index}", f"design_{index}", "benchmark", variables)


def write_store(path: Path, cases: int, encoding: Encoding) -> None:
    """Write a store of blocks."""
    with StoreWriter(path, FIELDS, encoding) as writer:
        for index in range(cases):
            writer.append(block(index))
        writer.finish({f"case_{index}": "train" for index in range(cases)}, pd.DataFrame())


def read_npz(folder: Path, index: int) -> None:
    """Read every array of a compressed NPZ file."""
    with np.load(folder / f"case_{index}.npz") as arrays:
        for name in arrays.files:
            arrays[name]


def zarr_reader(path: Path) -> Callable[[int], Case]:
    """Return a function that reads a case through zarr-python."""
    dataset = open_dataset(path)
    original = ragged_reader.tensorstore_usable
    ragged_reader.tensorstore_usable = lambda: False
    dataset[0]
    ragged_reader.tensorstore_usable = original
    return dataset.__getitem__


def readers(folder: Path, cases: int) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Yield each reader by name, with a line on the size of its files."""
    for codec in CODECS:
        path = folder / f"{codec}.zarr"
        start = perf_counter()
        write_store(path, cases, Encoding(codec=codec))
        files = [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"{path.name:12} {size:7.1f} MB in {len(files)} files, {perf_counter() - start:.1f} s to write")
        yield f"tensorstore, {codec}", open_dataset(path).__getitem__
        yield f"zarr-python, {codec}", zarr_reader(path)
    for index in range(cases):
        np.savez_compressed(folder / f"case_{index}.npz", **block(index).variables)
    size = sum(file.stat().st_size for file in folder.glob("*.npz")) / 1e6
    print(f"{'*.npz':12} {size:7.1f} MB in {cases} files")
    yield "compressed NPZ", partial(read_npz, folder)


def milliseconds(read: Callable[[int], object], index: int) -> float:
    """Return the time of one read."""
    start = perf_counter()
    read(index)
    return 1e3 * (perf_counter() - start)


def main() -> None:
    """Write, read in turn, print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--reads", type=int, default=20, help="reads of each reader in a round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contenders = dict(readers(Path(folder), arguments.cases))
        times: dict[str, list[float]] = {name: [] for name in contenders}
        random = np.random.default_rng(0)
        for _ in range(arguments.rounds):
            indices = random.integers(arguments.cases, size=arguments.reads).tolist()
            for name, read in contenders.items():
                times[name] += [milliseconds(read, index) for index in indices]
    print(f"{'reader':20} {'median':>8} {'p90':>8}  ms per case of {block(0).node_count} nodes")
    for name, values in times.items():
        print(f"{name:20} {np.median(values):8.2f} {np.percentile(values, 90):8.2f}")


if __name__ == "__main__":
    main()
