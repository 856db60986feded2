"""Time and size of the history of one case: writing it, reading one step, merging all, compression.

A block of 20 x 20 x 49 nodes (19 600) grows on a plate in 24 layer groups of two cells each, with two states
per group, the cooled and the removed one: 50 states, 0.5 million rows.  Writing is what a build does beyond
reading the files of the solver: leaving out the plate, sharing meshes, checking, laying the case ready, and
writing the shards.  Fields are smooth with noise of 1e-4 in them; with ``--case FOLDER`` sizes are those of
real results.

    python benchmarks/history.py --rounds 10
    python benchmarks/history.py --case step2
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np
import zarr
from synthetic import FIELDS, machine

from lpbf_dataset import open_dataset
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS
from lpbf_dataset.schema import history_variables
from lpbf_dataset.sources.base import Step
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.store.assemble import write_variables
from lpbf_dataset.store.case_rows import SpooledRows, spool_case
from lpbf_dataset.store.step_tables import write_step_tables
from lpbf_dataset.store.tables import Member
from lpbf_dataset.store.validate import check_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lpbf_dataset.sources.base import StepKind

WIDTH, GROUPS, CELLS_PER_GROUP = 19, 24, 2


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
    random = np.random.default_rng(number)
    wave = np.sin(points @ random.normal(scale=0.1, size=(3, 5)))
    wave *= 1 + 1e-4 * random.normal(size=wave.shape)
    values = {
        "displacement": 0.3 * wave[:, :3],
        "von_mises_stress": 900 + 600 * wave[:, 3],
        "temperature": 25 + wave[:, 4],
    }
    return Step(
        number=number,
        kind=kind,
        time=600.0 * number,
        points=points.astype(np.float32),
        cells=np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), shape).astype(np.int32),
        fields={name: field.astype(np.float32) for name, field in values.items()},
    )


def write_history(steps: Sequence[Step], folder: Path) -> None:
    """Do what a build does with the states of one case."""
    table, variables = lay_out_history(steps, FIELDS)
    check_history("block", table, variables)
    spool_case(folder / "block.safetensors", variables, {})
    group = zarr.create_group(folder / "history.zarr", overwrite=True)
    rows = SpooledRows(folder / "block.safetensors")
    member = Member("block", "block", "synthetic", table.counts, rows, history=table)
    write_variables(folder / "history.zarr", group, history_variables(FIELDS), [member], [False])
    write_step_tables(group, [member])


def report(name: str, function: Callable[[], object], rounds: int) -> None:
    """Print the medians of wall and CPU time."""
    function()
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = perf_counter(), process_time()
        function()
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    print(f"{name:<40}{1e3 * median(walls):>10.2f} ms wall{1e3 * median(cpus):>10.2f} ms CPU")


def print_sizes(store: Path) -> None:
    """Print the bytes of each variable of the history, as values and on disk."""
    for name in history_variables(FIELDS):
        array = zarr.open_array(store / name, mode="r")
        stored = sum(path.stat().st_size for path in (store / name).rglob("*") if path.is_file())
        sizes = f"{array.nbytes / 1e6:>8.2f} MB{stored / 1e6:>8.2f} MB"
        print(f"{name:<32}{sizes}{array.nbytes / stored:>7.2f} times")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--case", type=Path, help="folder of real results, for the sizes alone")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.case:
            build_store(
                [NetfabbSource(options.case)], folder / "s.zarr", BuildOptions(steps="all", rules="none")
            )
            print_sizes(folder / "s.zarr")
            return
        steps = GrowingBlock().steps()
        report("write the history", lambda: write_history(steps, folder), min(options.rounds, 5))
        print_sizes(folder / "history.zarr")
        read_back(folder, options.rounds)


def read_back(folder: Path, rounds: int) -> None:
    """Time reading from a whole store."""
    source = type("Source", (), {"cases": lambda _: iter([GrowingBlock()])})()
    build_store([source], folder / "s.zarr", BuildOptions(steps="all", rules="none"))
    case = open_dataset(folder / "s.zarr")[0]
    report("read the last step, 19 600 nodes", lambda: case.steps[-2], rounds)
    report("read the displacement of that step", lambda: case.steps.read(-2, ["displacement"]), rounds)
    report("read a step of half the height", lambda: case.steps[GROUPS], rounds)
    report("read all 50 steps", lambda: list(case.steps), min(rounds, 5))
    report("merge all 50 steps", case.series, min(rounds, 3))


if __name__ == "__main__":
    main()
