"""``lpbf-evaluate``: score runs, and predictions made elsewhere, and compare them in one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from jsonargparse import ActionConfigFile, ArgumentParser

from lpbf_dataset.schema import SPLITS
from pipelines.comparison.compare import compare, notes
from pipelines.comparison.entries import distinct_names, predictions_entry, run_entry
from pipelines.comparison.latex import latex
from pipelines.comparison.markdown import markdown
from pipelines.comparison.page import page
from pipelines.comparison.tables import (
    calibration_tables,
    console_lines,
    differences_tables,
    overview,
    split_method_tables,
)
from pipelines.console import (
    EXIT_INCOMPLETE,
    EXIT_USAGE,
    UserError,
    add_verbosity,
    is_user_error,
    run_command,
    set_verbosity,
)
from pipelines.runs import files
from pipelines.scoring.case_metrics import write_case_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpbf_dataset.schema import Split
    from pipelines.comparison.compare import Entry


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-evaluate",
        description="Score runs of lpbf-train, and predictions made elsewhere, on the cases of a store, and "
        "compare them: a table here, and comparison.html, .tex, .md and .csv and case_metrics.parquet in the "
        "output folder.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument(
        "runs",
        nargs="*",
        type=str,
        default=argparse.SUPPRESS,  # or none on the command line would override those of --config
        help="folders that lpbf-train wrote",
    )
    parser.add_argument("--data", type=str, help="store to score on (default: the one a run was trained on)")
    parser.add_argument("-o", "--output", type=Path, default=Path("comparison"), help="folder of the results")
    parser.add_argument("--split", choices=SPLITS, default="test", help="whose cases to score on")
    parser.add_argument(
        "--predictions",
        nargs="+",
        type=str,
        default=[],
        metavar="PATH",
        help="predictions for the store of --data, in its units: a Zarr group with arrays "
        "<case id>/<target>, a folder of <case id>.npz with arrays <target>, or one NPZ; beside each "
        "there may be its standard deviation, <target>_std",
    )
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    runs: list[str] = options.get("runs") or []
    if not runs and not options.predictions:
        raise UserError("name the folder of a run, or --predictions PATH; lpbf-evaluate --help tells more")
    if options.predictions and options.data is None:
        raise UserError("--predictions needs the store that they are for: --data STORE")
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"{options.output} is no folder; choose another one by -o")
    # Rather now than after hours of work.
    options.output.mkdir(parents=True, exist_ok=True)
    entries, failures = score_all(
        runs, options.predictions, data=options.data, split=options.split, quiet=options.quiet
    )
    if not entries:
        return EXIT_USAGE
    comparison = compare(entries)
    write_comparison(entries, comparison, options.output)
    if not options.quiet:
        print_comparison(entries, comparison)
        print(f"\nwrote comparison.html, .tex, .md, .csv and {files.CASE_METRICS} to {options.output}")
    return EXIT_INCOMPLETE if failures else 0


def score_all(
    runs: Sequence[str],
    predictions: Sequence[str] = (),
    *,
    data: str | None = None,
    split: Split = "test",
    quiet: bool = False,
) -> tuple[list[Entry], int]:
    """Score whatever can be scored, and tell of what cannot in a line each on standard error.

    Parameters
    ----------
    runs : sequence of str
        Folders of runs.
    predictions : sequence of str
        Files of predictions made elsewhere; they need `data`.
    data : str or None
        Store to score on; None for the one that each run was trained on.
    split : {"train", "val", "test"}
        Whose cases.
    quiet : bool
        Show no progress.

    Returns
    -------
    entries : list of Entry
        In the order given.
    failures : int
        How many could not be scored.

    Raises
    ------
    UserError
        If a path is given twice.
    """
    scorers: list[Callable[..., Entry]] = [run_entry] * len(runs) + [predictions_entry] * len(predictions)
    paths = [*runs, *predictions]
    entries: list[Entry] = []
    for path, name, score in zip(paths, distinct_names(paths), scorers, strict=True):
        try:
            entries.append(score(path, name, data, split, quiet=quiet))
        except (ValueError, OSError) as error:
            if not is_user_error(error):
                raise
            message = str(error) if path in str(error) else f"{path}: {error}"
            print(f"error: {message}", file=sys.stderr)
    return entries, len(paths) - len(entries)


def write_comparison(entries: Sequence[Entry], comparison: pd.DataFrame, folder: Path) -> None:
    """Write ``comparison.html``, ``.tex``, ``.md`` and ``.csv``, and the metrics of each case of each entry.

    Parameters
    ----------
    entries : sequence of Entry
        As `pipelines.comparison.entries` makes them.
    comparison : DataFrame
        As `compare` makes it of them.
    folder : Path
        Exists.
    """
    files.write_text(folder / "comparison.html", page(entries, comparison))
    files.write_text(folder / "comparison.tex", latex(comparison))
    files.write_text(folder / "comparison.md", markdown(comparison))
    files.write_text(folder / "comparison.csv", comparison.to_csv(index=False))
    scores = [entry.scores.assign(run=entry.name, data=entry.data) for entry in entries]
    write_case_metrics(folder / files.CASE_METRICS, pd.concat(scores))


def print_comparison(entries: Sequence[Entry], comparison: pd.DataFrame) -> None:
    """Print the table of each target, and what to know of it."""
    print("mean over cases [95 % confidence interval]")
    for target in comparison["target"].unique():
        for table in (
            overview(comparison, target),
            *differences_tables(comparison, target),
            *split_method_tables(comparison, target),
            *calibration_tables(comparison, target),
        ):
            print()
            print("\n".join(console_lines(table)))
    for note in notes(entries):
        print(f"note: {note}")


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-evaluate``."""
    run_command(run, arguments)
