"""``lpbf-build``: raw simulations or parts in, one Zarr store out."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm

from lpbf_dataset.build import BuildOptions, StoreSource, build_store
from lpbf_dataset.build.catalog import summary
from lpbf_dataset.engine import open_engine
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.schema import FEATURE_VARIABLES
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.store.amend import replace_variables
from lpbf_dataset.store.reader import open_dataset
from lpbf_dataset.store.remote import check_target, is_remote, publish
from lpbf_dataset.store.replacement import restore
from pipelines.console import (
    EXIT_INCOMPLETE,
    UserError,
    add_verbosity,
    from_options,
    run_command,
    set_verbosity,
)
from pipelines.engine_options import add_engine_options, engine_options
from pipelines.simulate import SimulateOptions, run_simulations
from pipelines.sources import Sources, find_sources, procedural_parts
from pipelines.thumbnails import thumbnail_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from jsonargparse import Namespace
    from numpy.typing import NDArray

    from lpbf_dataset.build import BuildResult
    from lpbf_dataset.build.gather import Outcome
    from lpbf_dataset.case import Case


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-build",
        description="Build a dataset store from Netfabb results (archives, folders of cases, cases), "
        "from the published NPZ release (a folder or hf://OWNER/NAME), from earlier stores (paths or URLs), "
        "from parts (STL, OBJ, PLY, 3MF, STEP; folders of them; the Fusion 360 Gallery segmentation "
        "release), which the embedded solver simulates, or, without a source, from procedural parts.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument(
        "sources",
        nargs="*",
        type=str,
        default=argparse.SUPPRESS,  # or none on the command line would override those of --config
        help="results or parts; none for procedural parts",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=str,
        default="",
        help="the store to write: a path; or a URL, to which it is copied from NAME.upload in the working "
        "folder, which is removed when all is there",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="read the cases and tell what would be kept; write no store"
    )
    parser.add_argument(
        "--recompute",
        type=Literal["sdf"] | None,
        help="compute the geometry features (sdf, sdf_direction, axis_distance, on_surface) of an existing "
        "store anew, or for the first time, from its meshes, and leave the rest as it is",
    )
    parser.add_argument("--count", type=int, default=16, help="number of procedural parts")
    add_engine_options(parser, "case", "part")
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
    options.sources = options.get("sources") or []
    set_verbosity(options)
    if options.recompute:
        return recompute_features(options)
    if not options.output:
        raise UserError("-o STORE: say where to write the store")
    if is_remote(options.output):
        return build_remote(options)
    return build_local(options, Path(options.output))


def build_remote(options: Namespace) -> int:
    """Build a store in the working folder and publish it at a URL; return the exit code.

    The local copy has a name of its own, as a store that the user keeps here may well be named as that at
    the URL.  It stays only where the upload fails, for the next run to go on with.
    """
    check_target(options.output)
    name = options.output.rstrip("/").rpartition("/")[2]
    target = Path(f"{name}.upload")
    code = build_local(options, target)
    if not options.dry_run:
        publish(
            target,
            options.output,
            progress=lambda names: tqdm(names, desc="upload", unit="file", disable=options.quiet),
        )
        shutil.rmtree(target)
    return code


def build_local(options: Namespace, target: Path) -> int:
    """Find or simulate the cases, build a store of them and tell what came of it; return the exit code."""
    chosen = from_options(BuildOptions, options)
    downloads = target.with_suffix(".downloads")
    found = find_sources(options.sources, downloads, absolute=bool(options.scheduler), quiet=options.quiet)
    if not options.sources:
        found = Sources(parts=procedural_parts(options.count, options.seed))
    # Of stores the build asks themselves.
    simulated_here = bool(found.parts) and all(isinstance(each, StoreSource) for each in found.results)
    cases = simulated(found, options, target)
    result = build(cases, chosen, options, target, simulated_here=simulated_here)
    failed = result.catalog[result.catalog["status"] == "failed"]
    for case in failed.itertuples():
        print(f"failed: {case.case_id} at {case.location}: {case.reason}", file=sys.stderr)
    if not options.quiet:
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        lines = summary(result.catalog)
        print(f"{options.output}{' (dry run)' if options.dry_run else ''}: " + "\n".join(lines))
    return EXIT_INCOMPLETE if len(failed) else 0


def build(
    found: Sources, chosen: BuildOptions, options: Namespace, target: Path, *, simulated_here: bool
) -> BuildResult:
    """Read the cases and write the store; record how they were simulated if that was done here."""

    def progress(outcomes: Iterable[Outcome], count: int) -> Iterable[Outcome]:
        return tqdm(outcomes, desc="cases", unit="case", total=count, disable=options.quiet)

    with open_engine(**engine_options(options, "case")) as engine:
        return build_store(
            found.results,
            target,
            chosen,
            engine=engine,
            progress=progress,
            official=found.official,
            thumbnail=thumbnail_or_none(),
            dry_run=options.dry_run,
            simulation=from_options(SimulateOptions, options.simulation).setup() if simulated_here else None,
        )


def simulated(found: Sources, options: Namespace, target: Path) -> Sources:
    """Simulate the parts, and return the sources with results in their place."""
    if not found.parts:
        return found
    folder = options.simulations or target.with_suffix(".simulations")
    setup = from_options(SimulateOptions, options.simulation).setup()
    run_simulations(found.parts, setup, folder, quiet=options.quiet, **engine_options(options, "part"))
    results = [NetfabbSource(folder / part.name) for part in found.parts]
    return Sources([*found.results, *results], [], found.official)


def recompute_features(options: Namespace) -> int:
    """Fill or replace the geometry features of a store; return the exit code."""
    if len(options.sources) != 1 or options.output:
        raise UserError("--recompute changes a store in place: lpbf-build --recompute sdf STORE, without -o")
    store, threads = options.sources[0], os.cpu_count() or 1
    restore(store)

    def compute(case: Case) -> dict[str, NDArray[np.generic]]:
        try:
            surface = mesh_surface(case.points, case.cells)
            return geometry_features(case.points, case.cells, surface, threads=threads)
        except CaseError as error:
            raise UserError(f"{store}: case {case.case_id!r} has no features: {error.detail}") from error

    dataset = open_dataset(store)
    count = len(dataset)
    replace_variables(
        store,
        FEATURE_VARIABLES,
        compute,
        with_distances_to_mesh(dataset.attributes.get("build") or {}),
        progress=lambda cases: tqdm(cases, desc="cases", unit="case", total=count, disable=options.quiet),
    )
    if not options.quiet:
        print(f"{store}: {', '.join(FEATURE_VARIABLES)} of {count} cases")
    return 0


def with_distances_to_mesh(build: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a build configuration that say so, wherever it says to what distances were taken."""
    changed: dict[str, Any] = {"sdf_surface": "mesh"}
    if "extraction" in build:
        changed["extraction"] = {**build["extraction"], "sdf_surface": "mesh"}
    return changed


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-build``."""
    run_command(run, arguments)
