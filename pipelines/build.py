"""``lpbf-build``: raw simulations in, one Zarr store out."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource
from pipelines.console import EXIT_INCOMPLETE, add_verbosity, run_command, set_verbosity

if TYPE_CHECKING:
    import pandas as pd


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-build",
        description="Build a dataset store from Netfabb results: archives, folders of cases, single cases.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument("sources", nargs="+", type=Path, help="zip archives or folders of simulated cases")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the store to write")
    parser.add_class_arguments(BuildOptions)
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Build a store; return the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    set_verbosity(options)
    catalog = build_store(
        [NetfabbSource(path) for path in options.sources],
        options.output,
        BuildOptions(**{name: options[name] for name in BuildOptions.__dataclass_fields__}),
        progress=lambda found: tqdm(found, desc="cases", unit="case", disable=options.quiet),
    )
    failed = catalog[catalog["status"] == "failed"]
    for case in failed.itertuples():
        print(f"failed: {case.case_id} at {case.location}: {case.reason}", file=sys.stderr)
    if not options.quiet:
        print(summary(catalog, options.output))
    return EXIT_INCOMPLETE if len(failed) else 0


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
