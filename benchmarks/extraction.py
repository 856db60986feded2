"""Time per case of reading final states from Netfabb archives of growing size, beside the published way.

The published extractor (``am/dataset/extraction.py`` of github.com/vpuri3/FLARE.py) opens the archive anew
for the case and for each of its 14 result files, which reads the whole list of names each time, and
unpacks numbers with `struct`.  Here it is told again in a few lines, less its checks and the part surface.

    python benchmarks/extraction.py --entries 181 5000 20000 80000
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import zipfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from synthetic import machine

from lpbf_dataset.schema import VARIABLES, field_names
from lpbf_dataset.sources.base import Step
from lpbf_dataset.sources.netfabb import NetfabbCase, NetfabbSource, write_results
from lpbf_dataset.sources.netfabb.layout import RESULT_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

CASES = 3
LOG = b"END Autodesk AM Process Simulation\n"


def make_mesh(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and cells of a cube of side**3 unit cells."""
    index = np.arange((side + 1) ** 3).reshape((side + 1,) * 3)
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    cells = np.stack([index[i : side + i, j : side + j, k : side + k].ravel() for i, j, k in corners], axis=1)
    points = np.stack(np.unravel_index(index.ravel(), index.shape), axis=1)
    return points.astype(np.float32), cells.astype(np.int32)


def write_case(folder: Path, side: int) -> None:
    """Write a case of one layer group with every field."""
    rng = np.random.default_rng(0)
    points, cells = make_mesh(side)
    fields = {
        name: rng.normal(size=(len(points), *VARIABLES[name].row_shape)).astype(np.float32)
        for name in RESULT_NAMES
    }
    kinds = ("deposited", "dwelt", "cooled", "removed")
    write_results(folder, (Step(i, kind, float(i), points, cells, fields) for i, kind in enumerate(kinds)))
    (folder / "mechanical.out").write_bytes(LOG)


def make_archive(case: Path, path: Path, entries: int) -> None:
    """Zip copies of a case, and fill up with small files of other cases."""
    files = [file for file in sorted(case.rglob("*")) if file.is_file()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        copies = min(CASES, entries // len(files))
        for copy in range(copies):
            for file in files:
                archive.write(file, f"SandBox/real_{copy}/{file.relative_to(case).as_posix()}")
        for number in range(entries - copies * len(files)):
            archive.writestr(f"SandBox/other_{number // 200}/results/file_{number % 200}.ens", b"")


def read_as_published(path: Path, folder: str) -> dict[str, np.ndarray]:
    """Read mesh and fields of the final state the published way."""
    with zipfile.ZipFile(path) as archive:
        assert f"{folder}/results/mechanical.case" in archive.namelist()
        assert b"Analysis terminated" not in archive.read(f"{folder}/mechanical.out")
        lines = archive.read(f"{folder}/results/mechanical.case").decode().splitlines()
    results, geometries = [int(line.split()[-1]) for line in lines if "number of steps:" in line]
    read = {}
    with (
        zipfile.ZipFile(path) as archive,
        archive.open(f"{folder}/results/mechanical_{geometries}.geo") as file,
    ):
        read["points"], read["cells"] = unpack_geometry(file)
    for name, (extension, _) in RESULT_NAMES.items():
        member = f"{folder}/results/mechanical00_{results}.{extension}.ens"
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            file.read(80 * 2 + 4 + 80)
            shape = (*VARIABLES[name].row_shape, len(read["points"]))
            read[name] = unpack(file, "f", int(np.prod(shape))).reshape(shape).T.astype(np.float32)
    return read


def unpack_geometry(file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    """Read points and one-based cells of a geometry of one part."""
    file.read(80 * 6 + 4 + 80 * 2)
    count = int(unpack(file, "i", 1)[0])
    points = np.vstack([unpack(file, "f", count) for _ in range(3)]).T
    file.read(80)
    return points, unpack(file, "i", 8 * int(unpack(file, "i", 1)[0])).reshape(-1, 8)


def unpack(file: BinaryIO, kind: str, count: int) -> np.ndarray:
    """Read numbers as Python objects."""
    return np.array(struct.unpack(f"<{count}{kind}", file.read(4 * count)))


def as_for_a_build(case: NetfabbCase) -> None:
    """Read what a build with default options reads."""
    case.content_hash()
    case.final_step(field_names(include_optional=False))


def milliseconds(action: Callable[[], object]) -> float:
    """Return the time of a call."""
    start = perf_counter()
    action()
    return 1e3 * (perf_counter() - start)


def measure(case: Path, path: Path, entries: int, rounds: int) -> dict[str, float]:
    """Return milliseconds per case of each way, which take turns."""
    make_archive(case, path, entries)
    index = milliseconds(lambda: list(NetfabbSource(path).cases()))
    cases = [case for case in NetfabbSource(path).cases() if case.case_id.startswith("real_")]
    ways: dict[str, Callable[[NetfabbCase], object]] = {
        "all fields": NetfabbCase.final_step,
        "for a build": as_for_a_build,
        "published": lambda case: read_as_published(case.path, case.folder),
    }
    times = [
        {name: milliseconds(lambda way=way, case=case: way(case)) for name, way in ways.items()}
        for _ in range(rounds)
        for case in cases
    ]
    medians = {name: median(row[name] for row in times) for name in ways}
    return {
        "entries": entries,
        "index once": index,
        **medians,
        "published / all fields": medians["published"] / medians["all fields"],
        "published / for a build": medians["published"] / medians["for a build"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of milliseconds per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, nargs="+", default=[181, 5_000, 20_000])
    parser.add_argument("--side", type=int, default=27, help="cells along a cube; 27 give 21 952 nodes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        case = Path(scratch) / "case"
        write_case(case, options.side)
        rows = [
            measure(case, Path(scratch) / f"{entries}.zip", entries, options.rounds)
            for entries in options.entries
        ]
    print(f"milliseconds per case of {(options.side + 1) ** 3} nodes")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.1f}".format))


if __name__ == "__main__":
    main()
