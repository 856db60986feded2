"""``lpbf-export``: cases of a store in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm

import lpbf_dataset as lpbf
from lpbf_dataset.export import check_case_id, export_catalog, export_npz, export_vtkhdf, export_vtu
from lpbf_dataset.schema import SPLITS
from pipelines.console import UserError, add_verbosity, run_command, set_verbosity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpbf_dataset.store.reader import Dataset

CATALOG_FORMAT = "parquet"
CASE_FORMATS = {"npz": export_npz, "vtu": export_vtu, "vtkhdf": export_vtkhdf}


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-export",
        description="Write the cases of a store as the published NPZ release has them, or one file a case "
        "for ParaView (vtu, vtkhdf), or the catalog as a Parquet table.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument("store", type=str, help="path or URL of the store")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--format", choices=[*CASE_FORMATS, CATALOG_FORMAT], required=True, help="what to write"
    )
    parser.add_argument("--split", choices=SPLITS, help="only the cases of this split")
    parser.add_argument("--case", type=str, nargs="+", metavar="ID", help="only these cases")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Export; return the exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    dataset = lpbf.open_dataset(options.store)
    if options.format == CATALOG_FORMAT:
        if options.split or options.case:
            raise UserError("parquet is the whole catalog of a store; leave out --split and --case")
        paths = export_catalog(dataset, options.output)
    else:
        view = dataset.split(options.split) if options.split else dataset
        case_ids = select_cases(view, options.case)
        shown = tqdm(case_ids, desc="cases", unit="case", disable=options.quiet)
        paths = CASE_FORMATS[options.format]((view[case_id] for case_id in shown), options.output)
    if not options.quiet:
        print(f"wrote {len(paths)} {'file' if len(paths) == 1 else 'files'} to {options.output}")
    return 0


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


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-export``."""
    run_command(run, arguments)
