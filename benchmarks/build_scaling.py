"""Builds of growing size with one and two workers: rate, memory, and what opening and reading then cost.

Every build runs in a process of its own, whose peak memory is read at its end beside that of its
workers (Linux).  Its time is told by phase: warming up (imports of the workers, compiled code from its
cache), extracting the cases, writing the shards, and the rest: catalog, split, tables, report and other
documents, most of which does not grow with the cases.  The CPU time of all its processes together hardly
depends on what else runs.  The builds of one size alternate between the numbers of workers; medians are
shown.

    python benchmarks/build_scaling.py                                # within minutes
    python benchmarks/build_scaling.py --cases 100 1000 5000          # many small cases
    python benchmarks/build_scaling.py --cases 40 --nodes 15000 --rounds 5  # cases of usual size
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import psutil
from interpolation import peak_megabytes, reset_peak
from synthetic import FIELDS, SIZES, SyntheticSource, machine

from lpbf_dataset import open_dataset
from lpbf_dataset.build import BuildOptions, Extraction, build_store, read_case
from lpbf_dataset.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from lpbf_dataset.engine import Engine

PHASES = {"extract": "extract s", "write_shard": "shards s"}
"""Columns of the functions that a build hands to its engine."""

READS = 30
OPENINGS = 7


class Stopwatch:
    """An engine that times another one by what it is given to do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Do what the other engine does."""
        start = perf_counter()
        yield from self._engine.map(function, items)
        self.seconds[function.__name__] += perf_counter() - start


def workers_megabytes() -> float:
    """Return the largest peak of the memory of the child processes; 0 without any."""
    peaks = []
    for child in psutil.Process().children(recursive=True):
        status = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        peaks += [int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")]
    return max(peaks, default=0.0)


def cpu_seconds() -> float:
    """Return the CPU time of this process and its children, which tells less of how busy the machine is."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)


def warm_up(source: SyntheticSource) -> None:
    """Compile, and make the few meshes that all cases share."""
    for case in source.cases():
        read_case(case, Extraction(FIELDS))


def opening_and_reading(path: Path) -> dict[str, float]:
    """Return the median times of opening a store and of reading all of a case at random."""
    store = open_dataset(path)
    rows = np.random.default_rng(0).integers(len(store), size=READS)
    return {
        "open ms": median_milliseconds([partial(open_dataset, path)] * OPENINGS),
        "read ms": median_milliseconds([partial(store.__getitem__, row) for row in rows]),
    }


def median_milliseconds(calls: Sequence[Callable[[], object]]) -> float:
    """Return the median time of calls, of which the first does not count."""
    times = []
    for call in calls:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return 1e3 * median(times[1:])


def measure(cases: int, nodes: int, workers: int) -> dict[str, float]:
    """Build a store, then open and read it."""
    source = SyntheticSource(cases, nodes)
    few = replace(source, count=SIZES)
    with tempfile.TemporaryDirectory() as folder, open_engine(workers) as engine:
        path = Path(folder) / "store.zarr"
        start = perf_counter()
        for _ in engine.map(warm_up, [few] * workers):
            pass
        warm = perf_counter() - start
        reset_peak()
        stopwatch = Stopwatch(engine)
        start, used = perf_counter(), cpu_seconds()
        build_store([source], path, BuildOptions(rules="none"), stopwatch)
        seconds, used = perf_counter() - start, cpu_seconds() - used
        memory = {"parent MB": peak_megabytes(), "worker MB": workers_megabytes() if workers > 1 else 0.0}
        reading = opening_and_reading(path)
    phases = {column: stopwatch.seconds[name] for name, column in PHASES.items()}
    rest = seconds - sum(phases.values())
    return {"warm s": warm, **phases, "rest s": rest, "build s": seconds, "CPU s": used, **memory, **reading}


def in_own_process(*arguments: int) -> dict[str, float]:
    """Call `measure` in a new process: the memory of the one before does not shrink."""
    # Not a pool, whose daemons may not start workers of their own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(measure, *arguments).result()


def scaling(cases: Sequence[int], nodes: int, workers: Sequence[int], rounds: int) -> pd.DataFrame:
    """Return one row of medians for each number of cases and of workers."""
    rows = []
    for count in cases:
        runs = [
            {"cases": count, "workers": number, **in_own_process(count, nodes, number)}
            for _ in range(rounds)
            for number in workers
        ]
        rows.append(pd.DataFrame(runs).groupby(["cases", "workers"], as_index=False).median())
    return with_rates(pd.concat(rows, ignore_index=True))


def with_rates(times: pd.DataFrame) -> pd.DataFrame:
    """Add the cases per second, and how many times those of the fewest workers the others do."""
    work = times[list(PHASES.values())].sum(axis=1)
    times = times.assign(
        **{"cases/s": times["cases"] / times["build s"], "work cases/s": times["cases"] / work}
    )
    first = times.groupby("cases")[["extract s"]].transform("first")["extract s"]
    alone = work.groupby(times["cases"]).transform("first")
    return times.assign(**{"extract ratio": first / times["extract s"], "work ratio": alone / work})


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--nodes", type=int, default=1000, help="of a case, on average")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    print(machine())
    table = scaling(options.cases, options.nodes, options.workers, options.rounds)
    print(table.to_string(index=False, float_format="{:.2f}".format, line_width=120))


if __name__ == "__main__":
    main()
