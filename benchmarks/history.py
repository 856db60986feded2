"""Time and size of the history of one case: writing it, reading one step, merging all, compression, rounding.

A block of 20 x 20 x 49 nodes (19 600) grows on a plate in 24 layer groups of two cells each, with two states
per group, the cooled and the removed one: 50 states, 0.5 million rows.  Writing is what a build does beyond
reading the files of the solver: leaving out the plate, sharing meshes, checking, laying the case ready, and
writing the shards.  Fields are smooth with noise of 1e-4 in them; with ``--case FOLDER`` sizes are those of
real results.  Written once more with the fields rounded to fewer bits, in turns with all bits, sizes stand
beside the largest relative error found and its bound.

    python benchmarks/history.py --rounds 10
    python benchmarks/history.py --case step2
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np
import zarr
from synthetic import FIELDS, machine, smooth_fields

from lpbf_dataset import open_dataset
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS
from lpbf_dataset.schema import STORED_VARIABLES, history_variables
from lpbf_dataset.sources.base import Step
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.store.assemble import write_variables
from lpbf_dataset.store.case_rows import SpooledRows, spool_case
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.rounding import relative_error
from lpbf_dataset.store.step_tables import write_step_tables
from lpbf_dataset.store.tables import Member
from lpbf_dataset.store.validate import check_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.sources.base import DamagedStep, StepKind

WIDTH, GROUPS, CELLS_PER_GROUP = 19, 24, 2
PRECISIONS = (None, 12, 10, 7)
"""Bits to which fields are rounded; None for as they are."""


@dataclass(frozen=True)
class GrowingBlock:
    """A block on a plate of one layer of cells."""

    case_id: str = "block"
    design_id: str = "block"
    source: str = "synthetic"
    location: str = "memory"

    def content_hash(self) -> str:
        """Return a name for the one content there is."""
        return "block"

    def field_names(self) -> Sequence[str]:
        """Name the fields that are not optional."""
        return FIELDS

    def final_step(self, fields: object = None) -> Step:  # noqa: ARG002
        """Return the block without the plate."""
        return state(2 * GROUPS + 2, "removed", GROUPS, plate=False)

    def steps(self, fields: object = None) -> list[Step]:
        """Return every state."""
        return list(self.history(fields))

    def history(self, fields: object = None) -> Iterator[Step]:  # noqa: ARG002
        """Yield every state."""
        for group in range(1, GROUPS + 1):
            yield state(2 * group - 1, "deposited", group)
            yield state(2 * group, "dwelt", group)
        yield state(2 * GROUPS + 1, "cooled", GROUPS)
        yield self.final_step()

    def surface(self) -> None:
        """Return None."""


def state(number: int, kind: StepKind, group: int, *, plate: bool = True) -> Step:
    """One state of the block."""
    cells = (WIDTH, WIDTH, CELLS_PER_GROUP * group + plate)
    shape = tuple(count + 1 for count in cells)
    corners = np.argwhere(np.ones(cells, bool))[:, None, :] + HEXAHEDRON_CORNERS.astype(int)
    points = 0.6 * (np.argwhere(np.ones(shape, bool)) - [0, 0, int(plate)])
    return Step(
        number=number,
        kind=kind,
        time=600.0 * number,
        points=points.astype(np.float32),
        cells=np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), shape).astype(np.int32),
        fields=smooth_fields(points, np.random.default_rng(number)),
    )


def store_of(folder: Path, bits: int | None) -> Path:
    """Return where the history of so many bits is."""
    return folder / f"{bits or 'all'}.zarr"


def write_history(steps: Sequence[Step | DamagedStep], folder: Path, bits: int | None) -> None:
    """Do what a build does with the states of one case, with fields rounded to so many bits if any."""
    table, variables = lay_out_history(steps, FIELDS)
    check_history("block", table, variables)
    spool_case(folder / "block.safetensors", variables, {})
    store = store_of(folder, bits)
    group = zarr.create_group(store, overwrite=True)
    rows = SpooledRows(folder / "block.safetensors")
    member = Member("block", "block", "synthetic", table.counts, rows, history=table)
    encoding = Encoding(history_bits=bits)
    write_variables(store, group, history_variables(FIELDS), [member], [False], encoding)
    write_step_tables(group, [member])


def report(functions: Mapping[str, Callable[[], object]], rounds: int) -> None:
    """Print the medians of wall and CPU time of functions that are called in turns."""
    walls: dict[str, list[float]] = {name: [] for name in functions}
    cpus: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            wall, cpu = perf_counter(), process_time()
            function()
            walls[name].append(perf_counter() - wall)
            cpus[name].append(process_time() - cpu)
    for name in functions:
        # The first call compiles and fills caches.
        wall, cpu = (1e3 * median(times[name][1:]) for times in (walls, cpus))
        print(f"{name:<40}{wall:>10.2f} ms wall{cpu:>10.2f} ms CPU")


def compare_precisions(steps: Sequence[Step | DamagedStep], folder: Path, rounds: int) -> None:
    """Write a history with all bits and with fewer; print times, then sizes and errors of each variable."""
    report(
        {
            f"write the history, {f'{bits} bits' if bits else 'all bits'}": partial(
                write_history, steps, folder, bits
            )
            for bits in PRECISIONS
        },
        rounds,
    )
    for name in history_variables(FIELDS):
        exact = zarr.open_array(store_of(folder, None) / name, mode="r")[:]
        is_field = STORED_VARIABLES[name].dim == "step_node"
        for bits in PRECISIONS if is_field else (None,):
            print_size(store_of(folder, bits) / name, exact, bits)


def print_size(folder: Path, exact: NDArray[np.generic], bits: int | None) -> None:
    """Print the bytes of a variable, as values and on disk, and if rounded its largest relative error."""
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    sizes = f"{exact.nbytes / 1e6:>8.2f} MB{stored / 1e6:>8.2f} MB{exact.nbytes / stored:>7.2f} times"
    error = ""
    if bits:
        values = exact[exact != 0].astype(np.float64)
        rounded = zarr.open_array(folder, mode="r")[:][exact != 0]
        largest = np.abs(rounded / values - 1).max()
        error = f"   error {largest:.3e} of at most {relative_error(bits):.3e}"
    print(f"{folder.name:<32}{bits or 'all':>4} bits{sizes}{error}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--case", type=Path, help="folder of real results, which are written alone")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.case:
            (case,) = NetfabbSource(options.case).cases()
            compare_precisions(list(case.history(FIELDS)), folder, options.rounds)
            return
        compare_precisions(GrowingBlock().steps(), folder, min(options.rounds, 5))
        read_back(folder, options.rounds)


def read_back(folder: Path, rounds: int) -> None:
    """Time reading from a whole store."""
    source = type("Source", (), {"cases": lambda _: iter([GrowingBlock()])})()
    build_store([source], folder / "s.zarr", BuildOptions(steps="all", rules="none"))
    case = open_dataset(folder / "s.zarr")[0]
    report(
        {
            "read the last step, 19 600 nodes": lambda: case.steps[-2],
            "read the displacement of that step": lambda: case.steps.read(-2, ["displacement"]),
            "read a step of half the height": lambda: case.steps[GROUPS],
        },
        rounds,
    )
    report({"read all 50 steps": lambda: list(case.steps)}, min(rounds, 5))
    report({"merge all 50 steps": case.series}, min(rounds, 3))


if __name__ == "__main__":
    main()
