"""Time from a click to the picture in the viewer: opening a case, changing field, warp and cut.

Writes a store of perforated blocks and asks a viewer for one after another, and for one field after another,
as the page and the window do; each time ends when the picture is in memory.  The start of the command is
measured apart, in processes of their own that write a picture.  Medians are printed.

    python benchmarks/viewer.py --nodes 50000 --rounds 15
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from random_access import write_store
from synthetic import FIELDS, SyntheticCase, machine

from lpbf_dataset import open_dataset
from lpbf_dataset.build import Extraction, read_case
from lpbf_dataset.store.layout import Encoding
from viz.live import LiveScene
from viz.rendering import prepare_offscreen
from viz.subjects import StoreSubject
from viz.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZE = (1080, 710)
"""Pixels of the picture beside the controls in a browser window of 1400 x 860."""

CASES = 4
STARTS = 3


def block_width(nodes: int) -> int:
    """Fine cells along a block of about so many nodes; odd, so that no cell is merged."""
    return round((nodes / 0.86) ** (1 / 3)) // 2 * 2 - 1


def interactions(viewer: Viewer) -> dict[str, Callable[[int], None]]:
    """Return what is timed: each is called with the number of the round."""
    fields = ("von_mises_stress", "displacement", "temperature")
    return {
        "open a case": lambda _: viewer.move_case(1),
        "change field": lambda turn: viewer.set_field(fields[turn % len(fields)]),
        "move the warp slider": lambda turn: viewer.set_warp(float(turn)),
        "move the cut": lambda turn: viewer.set_cut("x", turn / 20 % 1),
        "uncut": lambda _: viewer.set_cut("", 0.5),
        "turn": lambda _: viewer.scene.plotter.camera.Azimuth(5),
    }


def measure(viewer: Viewer, rounds: int) -> dict[str, float]:
    """Return the median seconds from asking to the drawn picture, of each interaction."""
    times: dict[str, list[float]] = {}
    for turn in range(-1, rounds):
        for name, act in interactions(viewer).items():
            start = perf_counter()
            act(turn)
            viewer.scene.window.Render()
            # The first round warms up.
            if turn >= 0:
                times.setdefault(name, []).append(perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def measure_start(store: Path, folder: Path) -> float:
    """Return the median seconds that the command takes from its start to a picture on disk."""
    call = "from pipelines.view import main; main()"
    command = [sys.executable, "-c", call, store, "-q", "--size", f"{SIZE[0]}x{SIZE[1]}"]
    times = []
    for _ in range(STARTS):
        start = perf_counter()
        subprocess.run(
            [*command, "--screenshot", folder / "picture.png"],
            check=True,
        )
        times.append(perf_counter() - start)
    return median(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a store, use the viewer, print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=50_000, help="of each case, about")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    prepare_offscreen()
    print(machine())
    width = block_width(options.nodes)
    cases = [read_case(SyntheticCase(seed, width), Extraction(FIELDS)) for seed in range(CASES)]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "blocks.zarr")
        write_store(store, cases, Encoding())
        viewer = Viewer(StoreSubject(str(store), open_dataset(store)), LiveScene(SIZE))
        print(f"{viewer.part.node_count} nodes, {viewer.part.mesh.n_cells} cells")
        for name, seconds in measure(viewer, options.rounds).items():
            print(f"{name:22} {seconds:.3f} s")
        print(f"{'start of the command':22} {measure_start(store, Path(folder)):.3f} s, its picture smoothed")


if __name__ == "__main__":
    main()
