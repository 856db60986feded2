"""``lpbf-build``: raw simulations or parts in, one Zarr store out."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.schema import FEATURE_VARIABLES
from lpbf_dataset.sources.base import CaseError, SourceError
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.part_files import discover_parts
from lpbf_dataset.store.amend import replace_variables
from lpbf_dataset.store.reader import open_dataset
from pipelines.console import EXIT_INCOMPLETE, UserError, add_verbosity, run_command, set_verbosity
from pipelines.simulate import SimulateOptions, require_unique_names, run_simulations

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from jsonargparse import Namespace
    from numpy.typing import NDArray

    from lpbf_dataset.case import Case
    from lpbf_dataset.simulation.job import PartSource

DEMO_EDGE = 30.0
"""Longest edge of procedural parts in mm: seconds a part, where the published 60 mm take half a minute."""


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-build",
        description="Build a dataset store from Netfabb results (archives, folders of cases, cases), "
        "from parts (STL, OBJ, PLY, 3MF, STEP; folders of them; the Fusion 360 Gallery segmentation "
        "release), which the embedded solver simulates, or, without a source, from procedural parts.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument("sources", nargs="*", type=Path, help="results or parts; none for procedural parts")
    parser.add_argument("-o", "--output", type=Path | None, help="the store to write")
    parser.add_argument(
        "--recompute",
        type=Literal["sdf"] | None,
        help="compute the geometry features (sdf, sdf_direction, axis_distance, on_surface) of an existing "
        "store anew, or for the first time, from its meshes, and leave the rest as it is",
    )
    parser.add_argument("--count", type=int, default=16, help="number of procedural parts")
    parser.add_argument("--workers", type=int, default=1, help="parts simulated at a time")
    parser.add_argument(
        "--simulations",
        type=Path | None,
        help="folder that keeps simulation results, for a later build; by default beside the store",
    )
    parser.add_class_arguments(BuildOptions)
    parser.add_class_arguments(SimulateOptions, "simulation")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Build a store; return the exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    if options.recompute:
        return recompute_features(options)
    if options.output is None:
        raise UserError("-o STORE: say where to write the store")
    results, parts = find_sources(options.sources)
    if not options.sources:
        parts = procedural_parts(options.count, options.seed)
    if parts:
        folder = options.simulations or options.output.with_suffix(".simulations")
        _simulate(parts, folder, options)
        results += [NetfabbSource(folder / part.name) for part in parts]
    catalog = build_store(
        results,
        options.output,
        BuildOptions(**{name: options[name] for name in BuildOptions.__dataclass_fields__}),
        progress=lambda found: tqdm(found, desc="cases", unit="case", disable=options.quiet),
        official={part.name: split for part in parts if (split := getattr(part, "official_split", None))},
    )
    failed = catalog[catalog["status"] == "failed"]
    for case in failed.itertuples():
        print(f"failed: {case.case_id} at {case.location}: {case.reason}", file=sys.stderr)
    if not options.quiet:
        print(summary(catalog, options.output))
    return EXIT_INCOMPLETE if len(failed) else 0


def recompute_features(options: Namespace) -> int:
    """Fill or replace the geometry features of a store; return the exit code."""
    if len(options.sources) != 1 or options.output is not None:
        raise UserError("--recompute changes a store in place: lpbf-build --recompute sdf STORE, without -o")
    store, threads = options.sources[0], os.cpu_count() or 1

    def compute(case: Case) -> dict[str, NDArray[np.generic]]:
        try:
            surface = mesh_surface(case.points, case.cells)
            return geometry_features(case.points, case.cells, surface, threads=threads)
        except CaseError as error:
            raise UserError(f"{store}: case {case.case_id!r} has no features: {error.detail}") from error

    count = len(open_dataset(store))
    replace_variables(
        store,
        FEATURE_VARIABLES,
        compute,
        {"sdf_surface": "mesh"},
        progress=lambda cases: tqdm(cases, desc="cases", unit="case", total=count, disable=options.quiet),
    )
    if not options.quiet:
        print(f"{store}: {', '.join(FEATURE_VARIABLES)} of {count} cases")
    return 0


def find_sources(paths: Sequence[Path]) -> tuple[list[NetfabbSource], list[PartSource]]:
    """Tell results from parts by looking.

    Raises
    ------
    SourceError
        If a path holds neither.
    UserError
        If two parts have the same name.
    """
    results: list[NetfabbSource] = []
    parts: list[PartSource] = []
    for path in paths:
        try:
            results.append(NetfabbSource(path))
        except SourceError as no_results:
            if not path.exists():
                raise
            try:
                parts += discover_parts(path)
            except SourceError:
                raise no_results from None
    require_unique_names(parts)
    return results, parts


def procedural_parts(count: int, seed: int) -> list[PartSource]:
    """Return the first parts of the sequence named by a seed."""
    from lpbf_dataset.parts import ProceduralPart

    return [ProceduralPart(index, seed, (DEMO_EDGE, DEMO_EDGE)) for index in range(count)]


def _simulate(parts: Sequence[PartSource], folder: Path, options: Namespace) -> None:
    names = SimulateOptions.__dataclass_fields__
    setup = SimulateOptions(**{name: options.simulation[name] for name in names}).setup()
    run_simulations(parts, setup, folder, options.workers, quiet=options.quiet)


def summary(catalog: pd.DataFrame, output: Path) -> str:
    """One line on what was kept, and one for each rule that rejected cases."""
    counts = Counter(catalog["status"])
    lines = [f"{output}: kept {counts['kept']} of {len(catalog)} cases, {counts['failed']} failed"]
    rejected = Counter(catalog.loc[catalog["status"] == "rejected", "reason"])
    lines += [f"  {count} rejected by {rule}" for rule, count in rejected.most_common()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-build``."""
    run_command(run, arguments)
