"""``lpbf-benchmark``: train models with equal budget on the same stores, and rank them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]
from jsonargparse import ActionConfigFile, ArgumentParser

from pipelines.comparison.benchmark_plan import BenchmarkOptions, plan
from pipelines.comparison.compare import compare
from pipelines.comparison.leaderboard import leaderboard, standing
from pipelines.comparison.markdown import markdown_lines
from pipelines.comparison.tables import console_lines
from pipelines.console import (
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    UserError,
    add_verbosity,
    from_options,
    run_command,
    set_verbosity,
)
from pipelines.evaluate import write_comparison
from pipelines.runs import files
from pipelines.training.options import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.comparison.benchmark_plan import PlannedRun
    from pipelines.comparison.leaderboard import Standing
    from pipelines.comparison.tables import Table

CONFIG = "benchmark.yaml"
LEADERBOARD = "leaderboard.md"


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-benchmark",
        description="Train models on stores, each with the same budget, score them on the test cases and "
        f"write {LEADERBOARD}, a comparison page for each store, and the run folders.  Run again, it goes on "
        "where it was.  Weights are chosen by the validation cases; nothing sees the test cases before.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument(
        "stores",
        nargs="*",
        type=str,
        default=argparse.SUPPRESS,  # or none on the command line would override those of --config
        help="stores to train and to score on",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    for name, kind, default, text in (
        ("models", str, [], "models and floors to compare"),
        ("seeds", int, [0], "each model is trained once with each; a case's metrics are means over them"),
        ("targets", str, ["displacement_z"], "fields to predict"),
    ):
        parser.add_argument(f"--{name}", type=kind, nargs="+", default=default, help=text)
    parser.add_class_arguments(BenchmarkOptions, skip={"models", "seeds", "targets"})
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    parsed = build_parser().parse_args(arguments)
    set_verbosity(parsed)
    stores: list[str] = parsed.get("stores") or []
    if not stores:
        raise UserError("name a store to train on; lpbf-benchmark --help tells more")
    options = from_options(BenchmarkOptions, parsed)
    runs = plan(stores, options, parsed.output)
    _start(parsed.output, options.config(stores))
    failed = []
    try:
        for number, planned in enumerate(runs, 1):
            if not parsed.quiet:
                print(f"\n[{number}/{len(runs)}] {planned.folder}", flush=True)
            if train_in_own_process(planned, options, quiet=parsed.quiet):
                failed.append(planned)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INCOMPLETE
    for planned in failed:
        print(f"error: {planned.folder} was not finished", file=sys.stderr)
    # A model of which a seed is missing would be compared by luck.
    incomplete = {(planned.store, planned.model) for planned in failed}
    finished = [planned for planned in runs if (planned.store, planned.model) not in incomplete]
    if not finished:
        return EXIT_INCOMPLETE
    report(finished, parsed.output, quiet=parsed.quiet)
    return EXIT_INCOMPLETE if failed else 0


def _start(folder: Path, config: dict[str, object]) -> None:
    """Begin a benchmark in a folder, or make sure that it is the one that was begun there."""
    path = folder / CONFIG
    if path.is_file():
        stored = read_yaml(path)
        if changed := sorted(name for name in {**stored, **config} if stored.get(name) != config.get(name)):
            raise UserError(
                f"{folder} holds a benchmark with other {', '.join(changed)}; choose another folder by -o"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and holds no benchmark; choose another folder by -o")
    folder.mkdir(parents=True, exist_ok=True)
    header = f"# Repeat with: lpbf-benchmark --config {CONFIG} -o ANOTHER_FOLDER\n"
    files.write_text(path, header + yaml.safe_dump(config, sort_keys=False))


def train_in_own_process(planned: PlannedRun, options: BenchmarkOptions, *, quiet: bool) -> int:
    """Train, or go on training; whatever befalls the process, the others are trained all the same.

    Returns
    -------
    int
        Its exit code; negative if it was killed.

    Raises
    ------
    KeyboardInterrupt
        At Ctrl-C, when the training has written what it wants to keep.
    """
    if (planned.folder / files.METRICS).is_file():
        return 0
    arguments = planned.arguments(options)
    if (planned.folder / files.CONFIG).is_file():
        arguments.append("--resume")
    command = [sys.executable, "-m", "pipelines.train", *arguments, *(["-q"] if quiet else [])]
    with subprocess.Popen(command) as process:  # noqa: S603
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal sends it to both; the training has a last checkpoint to write.
            process.wait()
            raise
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code


def report(runs: Sequence[PlannedRun], folder: Path, *, quiet: bool) -> None:
    """Score finished runs, write the leaderboard and a comparison for each store, and print the former."""
    tables: list[Table] = []
    for store, of_store in groupby(runs, key=lambda planned: planned.store):
        standings = [
            standing(list(of_model), quiet=quiet)
            for _, of_model in groupby(of_store, key=lambda planned: planned.model)
        ]
        entries = [one.entry for one in standings]
        write_comparison(entries, compare(entries), folder / Path(store).stem)
        tables += _leaderboards(standings)
    text = "\n\n".join("\n".join(markdown_lines(table)) for table in tables)
    files.write_text(folder / LEADERBOARD, text + "\n")
    if not quiet:
        for table in tables:
            print("\n" + "\n".join(console_lines(table)))
        print(f"\nwrote {folder / LEADERBOARD}; a comparison page lies in the folder of each store")


def _leaderboards(standings: Sequence[Standing]) -> Iterator[Table]:
    for target in standings[0].entry.targets:
        yield leaderboard(standings, target)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-benchmark``."""
    run_command(run, arguments)


if __name__ == "__main__":
    main()
