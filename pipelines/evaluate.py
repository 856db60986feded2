"""``lpbf-evaluate``: score runs, and predictions made elsewhere, and compare them in one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from jsonargparse import ActionConfigFile, ArgumentParser

from lpbf_dataset.schema import SPLITS
from pipelines import files
from pipelines.case_metrics import write_case_metrics
from pipelines.comparison import compare, notes
from pipelines.comparison_latex import latex
from pipelines.comparison_page import page
from pipelines.comparison_tables import console_lines, overview
from pipelines.console import (
    EXIT_INCOMPLETE,
    EXIT_USAGE,
    UserError,
    add_verbosity,
    is_user_error,
    run_command,
    set_verbosity,
)
from pipelines.entries import distinct_names, predictions_entry, run_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jsonargparse import Namespace

    from pipelines.comparison import Entry


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-evaluate",
        description="Score runs of lpbf-train, and predictions made elsewhere, on the cases of a store, and "
        "compare them: a table here, and comparison.html, comparison.tex, comparison.csv and "
        "case_metrics.parquet in the output folder.",
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
        "<case id>/<target>, a folder of <case id>.npz with arrays <target>, or one NPZ",
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
    entries, failures = score_all(runs, options)
    if not entries:
        return EXIT_USAGE
    comparison = compare(entries)
    write_comparison(entries, comparison, options.output)
    if not options.quiet:
        print_comparison(entries, comparison)
        print(f"\nwrote comparison.html, .tex, .csv and {files.CASE_METRICS} to {options.output}")
    return EXIT_INCOMPLETE if failures else 0


def score_all(runs: Sequence[str], options: Namespace) -> tuple[list[Entry], int]:
    """Score whatever can be scored; tell of what cannot in a line each, and count it."""
    jobs: list[tuple[str, Callable[..., Entry]]] = [(path, run_entry) for path in runs]
    jobs += [(path, predictions_entry) for path in options.predictions]
    names = distinct_names([path for path, _ in jobs])
    entries: list[Entry] = []
    for (path, score), name in zip(jobs, names, strict=True):
        try:
            entries.append(score(path, name, options.data, options.split, quiet=options.quiet))
        except (ValueError, OSError) as error:
            if not is_user_error(error):
                raise
            message = str(error) if path in str(error) else f"{path}: {error}"
            print(f"error: {message}", file=sys.stderr)
    return entries, len(jobs) - len(entries)


def write_comparison(entries: Sequence[Entry], comparison: pd.DataFrame, folder: Path) -> None:
    """Write ``comparison.html``, ``.tex`` and ``.csv``, and the metrics of each case of each entry."""
    files.write_text(folder / "comparison.html", page(entries, comparison))
    files.write_text(folder / "comparison.tex", latex(comparison))
    files.write_text(folder / "comparison.csv", comparison.to_csv(index=False))
    scores = [entry.scores.assign(run=entry.name, data=entry.data) for entry in entries]
    write_case_metrics(folder / files.CASE_METRICS, pd.concat(scores))


def print_comparison(entries: Sequence[Entry], comparison: pd.DataFrame) -> None:
    """Print the table of each target, and what to know of it."""
    print("mean over cases [95 % confidence interval]")
    for target in comparison["target"].unique():
        print()
        print("\n".join(console_lines(overview(comparison, target))))
    for note in notes(entries):
        print(f"note: {note}")


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-evaluate``."""
    run_command(run, arguments)
