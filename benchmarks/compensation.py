"""What compensation leaves of the distortion: parts are compensated, written, read back and printed again.

    python benchmarks/compensation.py [--parts 1 4 ...] [--longest_edge 30] [--finest_cell 0.8]
        [--evaluations 5] [--run RUN]

Each part is a procedural one named by its place in the sequence of seed 0.  Its surface is refined,
compensated against the displacement that the embedded solver predicts, and written to an STL file.  The
solver then runs anew on the triangles of that file.  Printed are the RMS deviations of the surface from the
nominal one after the best rigid fit.  ``--run`` does the same with the displacement that a trained run
predicts in place of the solver's; components that it does not predict are not compensated.  Choose the
cells that it was trained with, and parts that it was not trained on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.distortion import (
    compensate,
    deviation,
    displacement_at,
    moved,
    refined,
    simulated_displacement,
)
from lpbf_dataset.export.surface import write_surface
from lpbf_dataset.parts import ProceduralPart
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.part_case import mesh_part
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.part_files import read_part
from lpbf_dataset.sources.stl import parse_stl

if TYPE_CHECKING:
    from trimesh import Trimesh

    from lpbf_dataset.distortion import DisplacementSource

PARTS = (1, 3, 4, 5, 9)
"""A bracket, a bridge, a ring, an overhang and a gear."""

COMPONENTS = ("displacement_x", "displacement_y", "displacement_z")
SEED = 0
EDGE_IN_CELLS = 2.0
"""Longest edge of the refined surface, in finest cells of the solver."""


@dataclass(frozen=True)
class Row:
    """What became of one part.

    Parameters
    ----------
    name : str
        Of the part.
    triangles : int
        Of its refined surface.
    before : float
        RMS deviation from nominal when printed as it is, mm.
    predicted : float
        What should be left by the displacement that was compensated, mm.
    after : float
        What the solver leaves of it, run on the compensated file, mm.
    evaluations : int
        Calls of the displacement.
    seconds : float
        To compensate.
    """

    name: str
    triangles: int
    before: float
    predicted: float
    after: float
    evaluations: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Share of the deviation that is left, 1."""
        return self.after / self.before


def measure(
    part: ProceduralPart,
    displacement: DisplacementSource,
    solver: DisplacementSource,
    evaluations: int,
    longest_edge: float,
) -> Row:
    """Compensate a part against one displacement, and print the result by the solver.

    Parameters
    ----------
    part : ProceduralPart
    displacement : callable
        What is compensated: that of the solver, or of a surrogate.
    solver : callable
        What really happens.
    evaluations : int
        Most calls of `displacement`.
    longest_edge : float
        Of the refined surface, mm.
    """
    nominal = refined(part.read().mesh, longest_edge)
    start = time.perf_counter()
    result = compensate(nominal, displacement, evaluations=evaluations)
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{part.name}.stl")
        write_surface(path, result.surface)
        compensated = read_back(path, nominal)
    return Row(
        part.name,
        len(nominal.faces),
        deviation(nominal, nominal.vertices + solver(nominal)).rms,
        result.after.rms,
        deviation(nominal, compensated.vertices + solver(compensated)).rms,
        len(result.iterates),
        seconds,
    )


def read_back(path: Path, nominal: Trimesh) -> Trimesh:
    """Read a written surface with the vertices in the order of the nominal one, and check that it is whole.

    The file holds the triangles in order, so that the corners tell the vertices.
    """
    whole = read_part(path)
    assert whole.mesh.is_watertight
    for warning in whole.warnings:
        print(f"{path.name}: {warning}")
    vertices = np.array(nominal.vertices)
    vertices[nominal.faces.ravel()] = parse_stl(path.read_bytes()).reshape(-1, 3)
    return moved(nominal, vertices)


def predicted_displacement(run: Path, settings: SimulationSettings) -> DisplacementSource:
    """Displacement that a trained run predicts; zero where it predicts no such component."""
    from pipelines.runs.run import Run

    model = Run.open(run)
    known = [(name, axis) for axis, name in enumerate(COMPONENTS) if name in model.targets]
    if not known:
        raise SystemExit(f"{run} predicts {', '.join(model.targets)}, no component of the displacement")
    print(f"{run} predicts {', '.join(name for name, _ in known)}: only these are compensated")

    def displacement(surface: Trimesh) -> np.ndarray:
        case = mesh_part("part", surface, settings).case
        prediction = model.predict(case)
        vectors = np.zeros((case.node_count, 3))
        for name, axis in known:
            vectors[:, axis] = prediction[:, model.targets.index(name)]
        return displacement_at(surface, case.points, case.cells, vectors)

    return displacement


def print_table(rows: list[Row]) -> None:
    """Print the rows as a Markdown table."""
    print("| part | triangles | before (mm) | predicted (mm) | after (mm) | left | evaluations | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.name} | {row.triangles} | {row.before:.4f} | {row.predicted:.4f} | {row.after:.4f} "
            f"| {row.ratio:.1%} | {row.evaluations} | {row.seconds:.1f} |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, nargs="+", default=PARTS, help="places in the sequence")
    parser.add_argument("--longest_edge", type=float, default=30.0, help="of each part, mm")
    parser.add_argument("--finest_cell", type=float, default=0.8, help="height of the finest cells, mm")
    parser.add_argument("--evaluations", type=int, default=5, help="most runs of the solver to compensate")
    parser.add_argument("--run", type=Path, help="folder of a trained run, to compensate with it as well")
    options = parser.parse_args()
    layers = round(options.finest_cell / SimulationSettings.layer_thickness)
    settings = SimulationSettings(layers_per_cell=layers)
    solver = simulated_displacement(MATERIALS["inconel625"], settings)
    sources = [solver]
    if options.run:
        sources.append(predicted_displacement(options.run, settings))
    size = (options.longest_edge, options.longest_edge)
    parts = [ProceduralPart(index, SEED, size) for index in options.parts]
    edge = EDGE_IN_CELLS * settings.cell_height
    for source in sources:
        print_table([measure(part, source, solver, options.evaluations, edge) for part in parts])


if __name__ == "__main__":
    main()
