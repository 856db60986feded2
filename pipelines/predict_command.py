"""``lpbf-predict``: parts in; their predicted distortion, a report and the surface to print out.

The module is not called ``predict``, as `pipelines.predict` is a function.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jsonargparse import ActionConfigFile, ArgumentParser
from tqdm import tqdm

import lpbf_dataset as lpbf
from lpbf_dataset.engine import open_engine
from lpbf_dataset.store.remote import ROOT
from pipelines.console import (
    EXIT_INCOMPLETE,
    UserError,
    add_verbosity,
    did_you_mean,
    from_options,
    run_command,
    set_verbosity,
)
from pipelines.engine_options import add_engine_options, engine_options
from pipelines.runs import files
from pipelines.simulate import SimulateOptions, find_parts, require_unique_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import Namespace

    from pipelines.prediction.job import PartOutcome, PredictionJob, StoredCase

SUMMARY = "predictions.csv"


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    from pipelines.prediction.assessment import AssessmentOptions

    parser = ArgumentParser(
        prog="lpbf-predict",
        description="Predict how parts (STL, OBJ, PLY, 3MF, STEP) distort with a run of lpbf-train, and "
        "write for each a report, the fields on mesh and surface, and the surface to print so that the "
        "part comes out as designed. Parts keep their size, and are meshed as the training cases were.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument("run", type=Path, help="folder that lpbf-train wrote")
    parser.add_argument(
        "parts", nargs="+", type=str, help="part files, folders of them, or cases of a store as STORE#CASE"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for one folder per part")
    parser.add_class_arguments(AssessmentOptions, skip={"no_compensate", "simulate"})
    parser.add_argument("--no_compensate", action="store_true", help="compute no compensated surface")
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="run the embedded solver, too, and tell the error of the prediction and the speed-up",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda", "mps"), default="cpu", help="where the model computes"
    )
    add_engine_options(parser, "part")
    parser.add_class_arguments(SimulateOptions, "simulation")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    check_values(options)
    parts = find_all(options.parts)
    job = make_job(options)
    outcomes = predict_all(parts, job, options)
    table = summary_table(outcomes)
    files.write_text(options.output / SUMMARY, table.to_csv(index=False))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        print(f"failed: {outcome.name}: {outcome.detail}", file=sys.stderr)
    if not options.quiet:
        print(table.drop(columns="detail", errors="ignore").to_string(index=False, float_format="%.4g"))
        print(f"wrote {SUMMARY} and a folder for each part to {options.output}")
    return EXIT_INCOMPLETE if failed else 0


def check_values(options: Namespace) -> None:
    """Raise `UserError` for values that make no sense."""
    if not 0.0 < options.tolerance < float("inf"):
        raise UserError(f"--tolerance {options.tolerance:g}: expected a length in mm above 0")
    if options.iterations < 1:
        raise UserError(f"--iterations {options.iterations}: expected at least 1, or --no_compensate")
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"{options.output} is no folder; choose another one by -o")


def make_job(options: Namespace) -> PredictionJob:
    """Open the run once, to fail early, and take from it how parts are meshed.

    Raises
    ------
    RunError
        If it cannot be opened.
    UserError
        If an option makes no sense.
    """
    from pipelines.prediction.assessment import AssessmentOptions
    from pipelines.prediction.job import PredictionJob
    from pipelines.prediction.part_setup import check_placement, chosen_setup
    from pipelines.runs.run import Run
    from pipelines.runs.training_set import TrainingSet

    check_device(options.device)
    training = TrainingSet.of_run(Run.open(options.run))
    setup = chosen_setup(from_options(SimulateOptions, options.simulation), training)
    check_placement(setup)
    assessment = from_options(AssessmentOptions, options)
    # Workers of a cluster may have been started in another folder.
    return PredictionJob(options.run.absolute(), setup, assessment, options.output.absolute(), options.device)


def check_device(device: str) -> None:
    """Raise `UserError` if this machine has no such device."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[device]:
        raise UserError(f"--device {device}: this machine has none that PyTorch can use")


def find_all(names: Sequence[str]) -> list[Any]:
    """Find parts and cases of stores.

    Raises
    ------
    SourceError, StoreError
        If a path holds no part, or no store.
    UserError
        If two parts have the same name, or a store has no such case.
    """
    found: list[Any] = []
    for name in names:
        path = Path(name)
        if (path / ROOT).is_file():
            raise UserError(f"{name} is a store: name the case, as in '{name}#CASE'")
        found += [_stored_case(name)] if "#" in name and not path.exists() else find_parts([path])
    require_unique_names(found)
    return found


def _stored_case(name: str) -> StoredCase:
    from pipelines.prediction.job import StoredCase

    store, _, case_id = name.rpartition("#")
    cases = lpbf.open_dataset(store)
    if case_id not in cases:
        raise UserError(f"{store} has no case {case_id!r}{did_you_mean(case_id, cases.case_ids)}")
    return StoredCase(store if "://" in store else str(Path(store).absolute()), case_id)


def predict_all(parts: Sequence[Any], job: PredictionJob, options: Namespace) -> list[PartOutcome]:
    """Predict parts with a progress bar, reporting warnings as they come; in the order of the parts."""
    from pipelines.prediction.job import predict_parts

    engine = engine_options(options, "part")
    engine["workers"] = max(1, min(engine["workers"], len(parts)))
    outcomes = []
    with (
        open_engine(**engine) as workers,
        tqdm(total=len(parts), desc="parts", unit="part", disable=options.quiet) as bar,
    ):
        for outcome in predict_parts(parts, job, workers):
            outcomes.append(outcome)
            bar.update()
            if not options.quiet:
                for warning in outcome.figures.get("warnings", ()):
                    bar.write(f"warning: {outcome.name}: {warning}", file=sys.stderr)
    order = {part.name: position for position, part in enumerate(parts)}
    return sorted(outcomes, key=lambda outcome: order[outcome.name])


def summary_table(outcomes: Sequence[PartOutcome]) -> pd.DataFrame:
    """One row per part; columns that no part has are left out."""
    from pipelines.prediction.figures import OPTIONAL, TABLE, table_row

    rows = [
        {**table_row(outcome.figures), "status": outcome.status}
        if outcome.figures
        else {"part": outcome.name, "status": outcome.status, "detail": outcome.detail}
        for outcome in outcomes
    ]
    table = pd.DataFrame(rows, columns=[*TABLE, *OPTIONAL])
    table = table.astype({"nodes": "Int64", "warnings": "Int64"})
    absent = [name for name in OPTIONAL if table[name].isna().all()]
    return table.drop(columns=absent)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-predict``."""
    run_command(run, arguments)
