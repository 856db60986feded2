"""Time per case of reading Netfabb archives of growing size, beside the straightforward way.

The straightforward way does for each case what extraction scripts do: open the archive, search its
list of names for the files of the case, extract them to a temporary folder and read them there.

Run as ``python benchmarks/extraction.py``; takes less than a minute and needs no data.
"""

from __future__ import annotations

import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from lpbf_dataset.schema import VARIABLES
from lpbf_dataset.sources.base import Step
from lpbf_dataset.sources.netfabb import NetfabbCase, NetfabbSource, write_results
from lpbf_dataset.sources.netfabb.layout import RESULT_NAMES

ENTRIES = (181, 5_000, 80_000)
CASES = 3
REPEATS = 5
CELLS_PER_SIDE = 27  # 21 952 nodes; kept cases of the published set have 20 972 on average
LOG = b"END Autodesk AM Process Simulation\n"


def make_mesh(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and cells of a cube of side**3 unit cells."""
    index = np.arange((side + 1) ** 3).reshape((side + 1,) * 3)
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    cells = np.stack([index[i : side + i, j : side + j, k : side + k].ravel() for i, j, k in corners], axis=1)
    points = np.stack(np.unravel_index(index.ravel(), index.shape), axis=1)
    return points.astype(np.float32), cells.astype(np.int32)


def write_case(folder: Path) -> None:
    """Write a case of one layer group with every field."""
    rng = np.random.default_rng(0)
    points, cells = make_mesh(CELLS_PER_SIDE)
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


def read_by_extraction(path: Path, folder: str) -> Step:
    """Read the final step of a case the straightforward way."""
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.startswith(f"{folder}/"):
                    archive.extract(name, scratch)
        return NetfabbCase(Path(scratch) / folder, "", "case").final_step()


def mean_seconds(action, cases: list[NetfabbCase], repeats: int) -> float:
    """Mean time of an action over cases."""
    start = time.perf_counter()
    for _ in range(repeats):
        for case in cases:
            action(case)
    return (time.perf_counter() - start) / (repeats * len(cases))


def main() -> None:
    """Print a table of milliseconds per case."""
    print(f"{'entries':>8} {'index once':>12} {'in place':>10} {'displacement only':>18} {'extracting':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        case = Path(scratch) / "case"
        write_case(case)
        for entries in ENTRIES:
            path = Path(scratch) / f"{entries}.zip"
            make_archive(case, path, entries)
            start = time.perf_counter()
            cases = [case for case in NetfabbSource(path).cases() if case.case_id.startswith("real_")]
            index = time.perf_counter() - start
            in_place = mean_seconds(NetfabbCase.final_step, cases, REPEATS)
            one_field = mean_seconds(lambda case: case.final_step(["displacement"]), cases, REPEATS)
            extracting = mean_seconds(lambda case: read_by_extraction(case.path, case.folder), cases, 1)
            row = (1e3 * seconds for seconds in (index, in_place, one_field, extracting))
            print("{:8d} {:9.0f} ms {:7.1f} ms {:15.1f} ms {:9.1f} ms".format(entries, *row))


if __name__ == "__main__":
    main()
