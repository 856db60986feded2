"""``lpbf-simulate``: parts in, result folders in Netfabb's layout out."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm

from lpbf_dataset.engine import open_engine
from lpbf_dataset.simulation.job import Outcome, PartSetup, share_cores, simulate_parts
from lpbf_dataset.simulation.materials import MATERIALS, load_material
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.part_files import discover_parts
from pipelines.console import (
    EXIT_INCOMPLETE,
    UserError,
    add_verbosity,
    from_options,
    run_command,
    set_verbosity,
)
from pipelines.engine_options import add_engine_options, engine_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpbf_dataset.simulation.job import PartSource

PUBLISHED: dict[str, Any] = {
    "material": "ti6al4v",
    "layer_thickness": 0.03,
    "finest_cell": 0.6,
    "scale_to": 60.0,
}
"""Set-up of the published LPBF set, inferred from its statistics (FLARE, arXiv 2508.12594)."""


@dataclass(frozen=True)
class SimulateOptions:
    """How parts are placed, of what and how they are printed.

    Parameters
    ----------
    preset : {"default", "published"} or None
        "published" is the set-up of the published dataset: Ti-6Al-4V, 0.03 mm layers, 0.6 mm cells,
        longest edge 60 mm.  Other options override it.
    material : str or None
        Name of a material, or a file written by ``lpbf-simulate calibrate``; by default inconel625.
    layer_thickness : float or None
        mm; by default 0.04.
    finest_cell : float or None
        Height of the finest cells in mm; by default 20 layers.
    scale_to : float or None
        Scale each part so that its longest edge has this length in mm; by default it keeps its size.
    orient : str
        Which axis of the part points up: as-is, x, y, -x, -y, -z, or three angles in degrees
        about x, y and z, as in "90,0,45".
    """

    preset: Literal["default", "published"] = "default"
    material: str | None = None
    layer_thickness: float | None = None
    finest_cell: float | None = None
    scale_to: float | None = None
    orient: str = "as-is"

    def setup(self) -> PartSetup:
        """Return what the solver takes.

        Raises
        ------
        UserError
            If an option has no sensible value.
        """
        base = PUBLISHED if self.preset == "published" else {}
        chosen = {name: getattr(self, name) for name in PUBLISHED if getattr(self, name) is not None}
        values = {**base, **chosen}
        layer = values.get("layer_thickness", SimulationSettings.layer_thickness)
        cell = values.get("finest_cell", layer * SimulationSettings.layers_per_cell)
        try:
            settings = SimulationSettings(layer_thickness=layer, layers_per_cell=_whole_layers(cell, layer))
            material = load_material(values.get("material", next(iter(MATERIALS))))
        except ValueError as error:
            raise UserError(str(error)) from error
        return PartSetup(material, settings, values.get("scale_to"), _orientation(self.orient))


def _whole_layers(cell: float, layer: float) -> int:
    layers = round(cell / layer) if layer > 0 else 0
    if layers < 1 or abs(layers * layer - cell) > 1e-6 * cell:
        raise UserError(
            f"--finest_cell {cell:g} mm is not a whole number of layers of {layer:g} mm; "
            f"{max(layers, 1) * layer:g} mm is"
        )
    return layers


def _orientation(text: str) -> str | tuple[float, float, float]:
    if "," not in text:
        return text
    try:
        about_x, about_y, about_z = map(float, text.split(","))
    except ValueError:
        raise UserError(f"--orient {text}: three angles in degrees are wanted, as in 90,0,45") from None
    return about_x, about_y, about_z


def run_simulations(
    parts: Sequence[PartSource],
    setup: PartSetup,
    output: Path,
    workers: int = 1,
    *,
    quiet: bool,
    scheduler: str = "",
    timeout: float | None = None,
    memory_limit: str = "",
) -> list[Outcome]:
    """Simulate parts with a progress bar, reporting warnings as they come.

    Parameters
    ----------
    parts, setup, output
        As `simulate_parts` takes them.
    workers, scheduler, timeout, memory_limit
        As `open_engine` takes them; no more workers are started than there are parts.
    quiet : bool
        No progress, no warnings.

    Returns
    -------
    list of Outcome
        In order of completion.

    Raises
    ------
    EngineError
        If the workers cannot be started, or go away for good.
    """
    outcomes = []
    workers = max(1, min(workers, len(parts)))
    with (
        share_cores(workers),
        open_engine(workers, scheduler, timeout, memory_limit) as engine,
        tqdm(total=len(parts), desc="parts", unit="part", disable=quiet) as bar,
    ):
        for outcome in simulate_parts(parts, setup, output, engine):
            outcomes.append(outcome)
            bar.update()
            if not quiet:
                for warning in outcome.warnings:
                    bar.write(f"warning: {outcome.name}: {warning}", file=sys.stderr)
    return outcomes


def find_parts(paths: Sequence[Path]) -> list[PartSource]:
    """Find the parts of some files and folders.

    Raises
    ------
    SourceError
        If a path holds no part.
    UserError
        If two parts have the same name.
    """
    # Workers of a cluster may have been started in another folder.
    parts = [part for path in paths for part in discover_parts(path.absolute())]
    require_unique_names(parts)
    return list(parts)


def require_unique_names(parts: Sequence[PartSource]) -> None:
    """Raise `UserError` if two parts have the same name, and so the same result folder."""
    if repeated := [name for name, count in Counter(part.name for part in parts).items() if count > 1]:
        raise UserError(f"more than one part is called {repeated[0]}; rename one or simulate them apart")


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-simulate",
        description="Simulate the printing of parts (STL, OBJ, PLY, 3MF, STEP) with the embedded solver. "
        "lpbf-simulate calibrate --help tells how to fit a material to results.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument("parts", nargs="+", type=Path, help="part files, or folders of them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for one folder per part")
    add_engine_options(parser, "part")
    parser.add_class_arguments(SimulateOptions)
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Simulate parts, or calibrate a material; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["calibrate"]:
        from pipelines.calibrate import run as run_calibration

        return run_calibration(arguments[1:])
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    outcomes = run_simulations(
        find_parts(options.parts),
        from_options(SimulateOptions, options).setup(),
        options.output,
        quiet=options.quiet,
        **engine_options(options, "part"),
    )
    counts = Counter(outcome.status for outcome in outcomes)
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"failed: {outcome.name}: {outcome.detail}", file=sys.stderr)
    if not options.quiet:
        print(
            f"{options.output}: {counts['simulated']} simulated, {counts['reused']} done before, "
            f"{counts['failed']} failed"
        )
    return EXIT_INCOMPLETE if counts["failed"] else 0


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-simulate``."""
    run_command(run, arguments)
