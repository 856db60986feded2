"""Accuracy and speed of the embedded solver beside the one real Netfabb run.

    python benchmarks/solver_accuracy.py path/to/netfabb/step2 [PART.stl ...]

Prints how well every step of the run is reproduced from its STL alone, then the wall time of each
stage: of the run, and of each further part scaled to 60 mm with the published settings.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyvista as pv
import trimesh
from scipy.spatial import cKDTree

from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import Simulation, simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.part_files import place_on_plate

NETFABB_RMS = 0.07167099  # mm, "Optimized RMS displacement" in step2_mechanical.out


def r_squared(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coefficient of determination, per component."""
    return 1.0 - ((found - truth) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)


def print_accuracy(build: Simulation, case: Path) -> None:
    """Compare every step with Netfabb's, node by node."""
    reader = pv.get_reader(case)
    print(f"voxels {build.voxel_count}")
    print("step          nodes  cells  R2 u_x    u_y      u_z      von Mises  T RMSE (K)")
    for step, at in zip(build.steps, reader.time_values, strict=True):
        reader.set_active_time_value(at)
        mesh = reader.read()[0]
        nearest = cKDTree(mesh.points).query(step.points)[1]
        truth = {name: np.asarray(mesh.point_data[name], dtype=float)[nearest] for name in mesh.point_data}
        u = r_squared(step.fields["displacement"], truth["Displacement"])
        stress = r_squared(step.fields["von_mises_stress"], truth["von_Mises_stress"])
        error = np.sqrt(((step.fields["temperature"] - truth["Temperature"]) ** 2).mean())
        print(
            f"{step.number} {step.kind:10s}  {len(step.points):5d}  {len(step.cells):5d}  "
            f"{u[0]:.5f}  {u[1]:.5f}  {u[2]:.5f}  {stress:.4f}     {error:.2f}"
        )
    print("(Netfabb writes the last dwell at 25 degC, while its displacement is that of the hot part.)")
    print(f"RMS displacement after removal {build.log.rms_after:.7f} mm, Netfabb {NETFABB_RMS:.7f} mm\n")


def timed(path: Path, settings: SimulationSettings, longest_edge: float | None = None) -> Simulation:
    """Simulate a part and print where the time went."""
    surface = place_on_plate(trimesh.load(path), longest_edge)
    start = time.perf_counter()
    build = simulate(surface, MATERIALS["inconel625"], settings)
    wall = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    nodes, groups = len(build.steps[-2].points), (len(build.steps) - 2) // 2
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in build.log.seconds.items())
    print(f"{path.stem}: {nodes} nodes, {groups} groups, {wall:.2f} s, peak {memory:.2f} GB ({stages})")
    return build


def main(folder: Path, parts: list[Path]) -> None:
    """Print both tables."""
    stl = next(folder.glob("*.stl"))
    timed(stl, SimulationSettings())  # the first run loads the compiled kernels
    print_accuracy(timed(stl, SimulationSettings()), folder / "results" / "step2_mechanical.case")
    for part in parts:
        timed(part, SimulationSettings(layer_thickness=0.03), 60.0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} path/to/netfabb/step2 [PART.stl ...]")
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
