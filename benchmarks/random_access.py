"""Time of reading one case at random, by codec and by reader.

Writes stores of synthetic cases, one per codec, and the same cases as NPZ files of the published layout; then
reads random cases with each reader in turn: everything a store holds, or only what the published layout
holds too (mesh and simulated fields; its edges both ways and as int64, though).  The readers take turns, so
that whatever else the machine does falls on all alike, and medians are printed.  The files are warm in the
page cache, but every round reads each case once in another order, more than the readers' own caches
hold.  CPU time, of all threads together, tells what is left to gain from an idle machine.

    python benchmarks/random_access.py --cases 64 --nodes 20000 --rounds 10
    python benchmarks/random_access.py --codecs lz4 --chunk-rows 4096 8192 16384 32768
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from synthetic import FIELDS, SyntheticSource, machine

from lpbf_dataset import open_dataset
from lpbf_dataset.build import Extraction, read_case
from lpbf_dataset.export import export_npz
from lpbf_dataset.schema import MESH_VARIABLES
from lpbf_dataset.store import ragged_reader
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lpbf_dataset import Case

    Reader = Callable[[int], object]

CODECS = ("none", "lz4", "zstd")
PUBLISHED = (*MESH_VARIABLES, *FIELDS)
"""Variables of the published layout."""


def write_store(path: Path, cases: Sequence[Case], encoding: Encoding) -> None:
    """Write a store, all of one split."""
    with StoreWriter(path, Extraction(FIELDS).variables, encoding) as writer:
        for case in cases:
            writer.append(case)
        writer.finish({case.case_id: "train" for case in cases}, pd.DataFrame())


def read_npz(paths: Sequence[Path], index: int) -> None:
    """Read every array of a file; its metadata were pickled by this benchmark."""
    with np.load(paths[index], allow_pickle=True) as arrays:
        for name in arrays.files:
            arrays[name]


def zarr_reader(path: Path) -> Callable[[int], Case]:
    """Return a function that reads a case through zarr-python."""
    dataset = open_dataset(path)
    original = ragged_reader.MappedReader
    ragged_reader.MappedReader = ragged_reader.ZarrReader
    dataset[0]
    ragged_reader.MappedReader = original
    return dataset.__getitem__


def readers(
    folder: Path, cases: Sequence[Case], encodings: Sequence[Encoding]
) -> Iterator[tuple[str, Reader]]:
    """Yield each reader by name, with a line on the size of its files."""
    for encoding in encodings:
        name = f"{encoding.codec}, {encoding.chunk_rows} rows"
        path = folder / f"{encoding.codec}_{encoding.chunk_rows}.zarr"
        write_store(path, cases, encoding)
        print_size(name, path.rglob("*"))
        dataset = open_dataset(path)
        yield f"store, {name}: all", dataset.__getitem__
        yield f"store, {name}: as published", partial(dataset.read, variables=PUBLISHED)
        yield f"zarr-python, {name}: all", zarr_reader(path)
    paths = export_npz((dataset.read(case.case_id, PUBLISHED) for case in cases), folder)
    print_size("published NPZ", paths)
    yield "published NPZ", partial(read_npz, paths)


def print_size(name: str, paths: Iterator[Path] | Sequence[Path]) -> None:
    """Print how much is in how many files."""
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    print(f"{name:18} {sum(sizes) / 1e6:7.1f} MB in {len(sizes)} files")


def measure(contenders: dict[str, Reader], cases: int, rounds: int) -> pd.DataFrame:
    """Read each case once a round with each reader in turn; return milliseconds per case."""
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    busy: dict[str, list[float]] = {name: [] for name in contenders}
    random = np.random.default_rng(0)
    for _ in range(rounds):
        order = random.permutation(cases).tolist()
        for name, read in contenders.items():
            used = process_time()
            for index in order:
                start = perf_counter()
                read(index)
                wall[name].append(1e3 * (perf_counter() - start))
            busy[name].append(1e3 * (process_time() - used) / cases)
    columns = {
        "median": pd.DataFrame(wall).median(),
        "p10": pd.DataFrame(wall).quantile(0.1),
        "p90": pd.DataFrame(wall).quantile(0.9),
        "CPU": pd.DataFrame(busy).median(),
    }
    table = pd.DataFrame(columns)
    return table.assign(**{"NPZ / median": table.loc["published NPZ", "median"] / table["median"]})


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, read in turn, print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--nodes", type=int, default=20_000, help="of a case, on average")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS)
    parser.add_argument("--chunk-rows", type=int, nargs="+", default=[Encoding().chunk_rows])
    options = parser.parse_args(arguments)
    print(machine())
    source = SyntheticSource(options.cases, options.nodes)
    cases = [read_case(raw, Extraction(FIELDS)) for raw in source.cases()]
    encodings = [Encoding(rows, codec=codec) for codec in options.codecs for rows in options.chunk_rows]
    with tempfile.TemporaryDirectory() as folder:
        contenders = dict(readers(Path(folder), cases, encodings))
        table = measure(contenders, options.cases, options.rounds)
    nodes = np.mean([case.node_count for case in cases])
    print(f"\nmilliseconds per case of {nodes:.0f} nodes\n{table.to_string(float_format='{:.2f}'.format)}")


if __name__ == "__main__":
    main()
