"""What a benchmark trains: every model on every store with every seed, each in a run folder of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lpbf_dataset as lpbf
from baselines.floors import FLOORS
from baselines.registry import find_model
from pipelines.console import UserError
from pipelines.runs.models import ALL_MODELS
from pipelines.training.parsing import DEFAULT_RECIPE

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID_BY_THE_BENCHMARK = frozenset({"data", "seed", "max_steps", "max_minutes", "targets", "epochs"})
"""Options of ``lpbf-train`` that are the same for all runs, or follow from the plan."""


ENDLESS = 1_000_000
"""Epochs that no budget lasts for."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is compared, and how long each model may train.

    Parameters
    ----------
    models : list of str
        Models and floors to compare.
    steps : int
        Budget of each training in optimiser steps; 0 for none.
    minutes : float
        Budget of each training in minutes of wall time; 0 for none.
    recipe : str
        Recipe of each model, as of lpbf-train.
    seeds : list of int
        Each model is trained once with each; the metrics of a case are means over them.
    targets : list of str
        Fields to predict.
    training : dict
        More options of lpbf-train, the same for every model, as {"batch_size": 2}.
    """

    models: list[str]
    steps: int = 0
    minutes: float = 0.0
    recipe: str = DEFAULT_RECIPE
    seeds: list[int] = field(default_factory=lambda: [0])
    targets: list[str] = field(default_factory=lambda: ["displacement_z"])
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps < 0 or self.minutes < 0:
            raise UserError("--steps and --minutes must not be negative")
        if bool(self.steps) == bool(self.minutes):
            raise UserError("a benchmark needs one budget for all models: either --steps or --minutes")
        for name, values in (("models", self.models), ("seeds", list(map(str, self.seeds)))):
            if not values:
                raise UserError(f"--{name} is empty")
            if repeated := sorted({value for value in values if values.count(value) > 1}):
                raise UserError(f"--{name}: {', '.join(repeated)} is named twice")
        for model in self.models:
            try:
                find_model(model, ALL_MODELS)
            except ValueError as error:
                raise UserError(f"--models: {error}") from error
        if said := sorted(SAID_BY_THE_BENCHMARK & self.training.keys()):
            raise UserError(
                f"--training: {', '.join(said)} is decided by the options of the benchmark itself"
            )

    def config(self, stores: Sequence[str]) -> dict[str, Any]:
        """Everything that decides the result, as ``--config`` takes it."""
        return {"stores": list(stores), **asdict(self)}


@dataclass(frozen=True)
class PlannedRun:
    """One training, or one fit.

    Parameters
    ----------
    store : str
        Path or URL of the store.
    model : str
        Name of the model or floor.
    seed : int
        Its seed.
    folder : Path
        Its run folder.
    """

    store: str
    model: str
    seed: int
    folder: Path

    def arguments(self, options: BenchmarkOptions) -> list[str]:
        """Arguments of ``lpbf-train`` that start it."""
        chosen = ["--data", self.store, "--seed", str(self.seed), "--targets", *options.targets]
        if self.model in FLOORS:
            return [self.model, *chosen, "-o", str(self.folder)]
        budget = ("--max_steps", options.steps) if options.steps else ("--max_minutes", options.minutes)
        more = [f"--epochs={ENDLESS}", *(f"--{name}={value}" for name, value in options.training.items())]
        return [
            self.model,
            "--recipe",
            options.recipe,
            *chosen,
            *map(str, budget),
            *more,
            "-o",
            str(self.folder),
        ]


def plan(stores: Sequence[str], options: BenchmarkOptions, output: Path) -> list[PlannedRun]:
    """List the runs of a benchmark, those of a store together.

    Parameters
    ----------
    stores : sequence of str
        Paths or URLs.
    options : BenchmarkOptions
        What to train on them.
    output : Path
        Folder of the benchmark; runs go to ``STORE/MODEL_SEED`` in it.

    Raises
    ------
    UserError, StoreError
        If a store cannot be opened, has no training or test cases, or two have the same name.
    """
    names = [Path(store).stem for store in stores]
    if len(set(names)) < len(names):
        raise UserError(f"two stores of the same name: {', '.join(stores)}")
    for store in stores:
        opened = lpbf.open_dataset(store)
        if not len(opened.train) or not len(opened.test):
            raise UserError(f"{store} lacks training or test cases; build it with other split fractions")
    return [
        PlannedRun(store, model, seed, output / name / f"{model}_{seed}")
        for store, name in zip(stores, names, strict=True)
        for model in options.models
        for seed in options.seeds
    ]
