"""``lpbf-export``: cases of a store, or the steps of their builds, in the formats of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

import lpbf_dataset as lpbf
from lpbf_dataset.export import (
    check_case_id,
    export_catalog,
    export_npz,
    export_pvd,
    export_vtkhdf,
    export_vtkhdf_series,
    export_vtu,
)
from lpbf_dataset.schema import SPLITS
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.netfabb import NetfabbSource
from pipelines.console import EXIT_INCOMPLETE, UserError, add_verbosity, run_command, set_verbosity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jsonargparse import Namespace

    from lpbf_dataset.sources.base import RawCase
    from lpbf_dataset.store.reader import Dataset

CATALOG_FORMAT = "parquet"
CASE_FORMATS = {"npz": export_npz, "vtu": export_vtu, "vtkhdf": export_vtkhdf}
SERIES_FORMATS = {"pvd": export_pvd, "vtkhdf-series": export_vtkhdf_series}


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-export",
        description="Write the cases of a store as the published NPZ release has them, or one file a case "
        "for ParaView (vtu, vtkhdf), or the catalog as a Parquet table; or the steps of builds, from a "
        "store that holds them or from simulations, as series over time for ParaView (pvd, vtkhdf-series).",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument(
        "source",
        type=str,
        help="path or URL of the store; for a series, one of lpbf-build --steps all, or results of "
        "lpbf-simulate or Netfabb: a folder or an archive",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--format",
        choices=[*CASE_FORMATS, CATALOG_FORMAT, *SERIES_FORMATS],
        required=True,
        help="what to write",
    )
    parser.add_argument("--split", choices=SPLITS, help="only the cases of this split")
    parser.add_argument("--case", type=str, nargs="+", metavar="ID", help="only these cases")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Export; return the exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    if options.format in SERIES_FORMATS:
        paths, failures = export_series(options)
    else:
        paths, failures = export_store(options), 0
    if not options.quiet:
        print(f"wrote {len(paths)} {'file' if len(paths) == 1 else 'files'} to {options.output}")
    return EXIT_INCOMPLETE if failures else 0


def export_store(options: Namespace) -> list[Path]:
    """Export the catalog of a store, or its cases; return the files."""
    dataset = lpbf.open_dataset(options.source)
    if options.format == CATALOG_FORMAT:
        if options.split or options.case:
            raise UserError("parquet is the whole catalog of a store; leave out --split and --case")
        return export_catalog(dataset, options.output)
    view = dataset.split(options.split) if options.split else dataset
    case_ids = select_cases(view, options.case)
    shown = tqdm(case_ids, desc="cases", unit="case", disable=options.quiet)
    return CASE_FORMATS[options.format]((view[case_id] for case_id in shown), options.output)


def export_series(options: Namespace) -> tuple[list[Path], int]:
    """Export the steps of builds, and tell of those that cannot be had in a line each.

    Returns
    -------
    paths : list of Path
        The series that could be written.
    failures : int
        How many could not.
    """
    export = SERIES_FORMATS[options.format]
    case_ids, read = select_builds(options)
    paths = []
    with logging_redirect_tqdm(), tqdm(case_ids, desc="cases", unit="case", disable=options.quiet) as bar:
        for case_id in bar:
            case = read(case_id)
            if isinstance(case, lpbf.Case) and not case.steps:
                bar.write(f"failed: {case_id}: its source has its final state alone", file=sys.stderr)
                continue
            try:
                paths.append(export(case, options.output))
            except CaseError as error:
                bar.write(f"failed: {case_id}: {error.detail}", file=sys.stderr)
    return paths, len(case_ids) - len(paths)


def select_builds(options: Namespace) -> tuple[Sequence[str], Callable[[str], RawCase | lpbf.Case]]:
    """Find the builds to export: of a store with its history, or of results.

    Returns
    -------
    case_ids : sequence of str
        Their names.
    read : callable
        Gives what is known by a name.

    Raises
    ------
    UserError
        If the store holds final states alone, or what is wanted is not there.
    """
    path: str = options.source
    if "://" in path or Path(path, "zarr.json").is_file():
        dataset = lpbf.open_dataset(path)
        if not dataset.has_history:
            raise UserError(f"{path} holds final states alone; build it with lpbf-build --steps all")
        view = dataset.split(options.split) if options.split else dataset
        return select_cases(view, options.case), lambda case_id: view.read(case_id, ())
    if options.split:
        raise UserError("results of simulations are of no split; leave out --split")
    found = select_results(path, options.case)
    return tuple(found), found.__getitem__


def select_cases(view: Dataset, wanted: Sequence[str] | None) -> Sequence[str]:
    """Ids of the cases to export, checked before the first is written.

    Parameters
    ----------
    view : Dataset
        Cases to choose from.
    wanted : sequence of str or None
        Ids; None for all.

    Raises
    ------
    UserError
        If there is no case, or one that is wanted is not there.
    ExportError
        If an id cannot name a file.
    """
    case_ids = view.case_ids if wanted is None else tuple(dict.fromkeys(wanted))
    if not case_ids:
        raise UserError("there is no case to export; choose another --split, or leave it out")
    for case_id in case_ids:
        check_case_id(case_id)
        try:
            view.read(case_id, ())
        except KeyError as error:
            raise UserError(f"--case: {error.args[0]}") from None
    return case_ids


def select_results(path: str, wanted: Sequence[str] | None) -> dict[str, RawCase]:
    """Find the simulations to export by name; all if none is named.

    Raises
    ------
    SourceError
        If the path holds no results.
    UserError
        If one that is wanted is not there.
    ExportError
        If an id cannot name a file.
    """
    found: dict[str, RawCase] = {case.case_id: case for case in NetfabbSource(path).cases()}
    for case_id in wanted or found:
        check_case_id(case_id)
        if case_id not in found:
            raise UserError(f"--case: {path} has no case {case_id!r}")
    return {case_id: found[case_id] for case_id in wanted or found}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-export``."""
    run_command(run, arguments)
