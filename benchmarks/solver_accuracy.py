"""Accuracy and speed of the embedded solver beside the one real Netfabb run.

    python benchmarks/solver_accuracy.py path/to/netfabb/step2 [PART.stl ...] [--picture FILE.png]

Prints how well every step of the run is reproduced from its STL alone, then the wall time of each
stage: of the run, and of each further part scaled to 60 mm with 0.03 mm layers.  ``--picture`` draws
the final z displacement, Netfabb's, ours and the difference.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from lpbf_dataset import Case
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import HasTriangles, Simulation, simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.netfabb import NetfabbCase, NetfabbSource
from lpbf_dataset.sources.part_files import place_on_plate

if TYPE_CHECKING:
    from lpbf_dataset.sources.base import Step

NETFABB_RMS = 0.07167099  # mm, "Optimized RMS displacement" in step2_mechanical.out
REPEATS = 5


def r_squared(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coefficient of determination, per component."""
    return 1.0 - ((found - truth) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)


def on_nodes_of(theirs: Step, ours: Step) -> dict[str, np.ndarray]:
    """Our fields in the order of their nodes, which lie in the same places."""
    nearest = cKDTree(ours.points).query(theirs.points)[1]
    return {name: values[nearest].astype(float) for name, values in ours.fields.items()}


def print_accuracy(build: Simulation, case: NetfabbCase) -> None:
    """Compare every step with Netfabb's, node by node."""
    print(f"voxels {build.voxel_count}")
    print("step          nodes  cells  R2 u_x    u_y      u_z      von Mises  T RMSE (K)")
    for ours, theirs in zip(build.steps, case.steps(), strict=True):
        mine = on_nodes_of(theirs, ours)
        u = r_squared(mine["displacement"], theirs.fields["displacement"].astype(float))
        stress = r_squared(mine["von_mises_stress"], theirs.fields["von_mises_stress"].astype(float))
        error = np.sqrt(((mine["temperature"] - theirs.fields["temperature"]) ** 2).mean())
        print(
            f"{ours.number} {ours.kind:10s}  {len(ours.points):5d}  {len(ours.cells):5d}  "
            f"{u[0]:.5f}  {u[1]:.5f}  {u[2]:.5f}  {stress:.4f}     {error:.2f}"
        )
    print("(Netfabb writes the last dwell at 25 degC, while its displacement is that of the hot part.)")
    print(f"RMS displacement after removal {build.log.rms_after:.7f} mm, Netfabb {NETFABB_RMS:.7f} mm\n")


def timed(name: str, surface: HasTriangles, settings: SimulationSettings, repeats: int = 1) -> Simulation:
    """Simulate a part and print the median wall time, and where it went in the last repeat."""
    walls = []
    for _ in range(repeats):
        start = time.perf_counter()
        build = simulate(surface, MATERIALS["inconel625"], settings)
        walls.append(time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    nodes, groups = len(build.steps[-2].points), (len(build.steps) - 2) // 2
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in build.log.seconds.items())
    print(
        f"{name}: {nodes} nodes, {groups} groups, {np.median(walls):.2f} s, peak {memory:.2f} GB ({stages})"
    )
    return build


def draw(build: Simulation, case: NetfabbCase, picture: Path) -> None:
    """Draw the final z displacement: Netfabb's, ours, the difference."""
    from viz.compare import comparison_scene
    from viz.rendering import prepare_offscreen, save_screenshot

    prepare_offscreen()
    theirs, ours = case.final_step(), build.steps[-1]
    mine = on_nodes_of(theirs, ours)["displacement"]
    part = Case(
        case.case_id,
        case.design_id,
        case.source,
        {"points": theirs.points, "cells": theirs.cells, "displacement": theirs.fields["displacement"]},
    )
    components = {f"displacement_{axis}": mine[:, i] for i, axis in enumerate("xyz")}
    scene = comparison_scene(part, "displacement_z", components, captions=("Netfabb", "embedded solver"))
    save_screenshot(scene, picture)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", type=Path)
    parser.add_argument("parts", nargs="*", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    (case,) = NetfabbSource(options.reference).cases()
    surface = case.surface()
    assert surface is not None
    simulate(surface, MATERIALS["inconel625"])  # loads the compiled kernels
    build = timed(case.case_id, surface, SimulationSettings(), REPEATS)
    print_accuracy(build, case)
    if options.picture:
        draw(build, case, options.picture)
    for path in options.parts:
        timed(path.stem, place_on_plate(trimesh.load(path), 60.0), SimulationSettings(layer_thickness=0.03))


if __name__ == "__main__":
    main()
