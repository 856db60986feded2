"""The leaderboard of a benchmark: for each store the models by their error, with what they cost."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from pipelines.comparison.compare import compare
from pipelines.comparison.entries import run_entry
from pipelines.comparison.tables import Table, figures, overview
from pipelines.runs import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipelines.comparison.benchmark_plan import PlannedRun
    from pipelines.comparison.compare import Entry
    from pipelines.comparison.tables import Cell

COSTS = ("parameters", "steps", "minutes")


@dataclass(frozen=True)
class Cost:
    """What a run took.

    Parameters
    ----------
    parameters : int or None
        Of the model; None for a floor, which keeps training nodes instead.
    steps : int or None
        Optimiser steps; None for a floor.
    minutes : float or None
        Wall time of training and validation; None for a floor.
    device : str
        Name of the accelerator, or "cpu".
    """

    parameters: int | None
    steps: int | None
    minutes: float | None
    device: str

    @classmethod
    def of_run(cls, folder: Path) -> Cost:
        """Read it from a finished run.

        Raises
        ------
        RunError
            If the run cannot be read.
        """
        # PyTorch takes seconds to import, and plans and tables do not need it.
        from pipelines.runs.run import Run

        run = Run.open(folder)
        device = json.loads((folder / files.ENVIRONMENT).read_text(encoding="utf-8"))["machine"]["device"]
        if run.epoch is None:
            return cls(None, None, None, device)
        history = pd.read_csv(folder / files.HISTORY)
        parameters = sum(parameter.numel() for parameter in run.model.parameters())
        return cls(parameters, int(history["step"].iloc[-1]), float(history["seconds"].sum()) / 60, device)


@dataclass(frozen=True, eq=False)
class Standing:
    """A model on a store.

    Parameters
    ----------
    entry : Entry
        Its scores, means over the seeds for each case.
    seeds : tuple of float
        Mean relative L2 error of the first target over cases, of each seed.
    cost : Cost
        Of the first seed.
    """

    entry: Entry
    seeds: tuple[float, ...]
    cost: Cost


def standing(runs: Sequence[PlannedRun], *, quiet: bool) -> Standing:
    """Score the runs of one model on one store that differ in their seed alone.

    Raises
    ------
    UserError, StoreError
        If a run or its store cannot be used.
    """
    entries = [run_entry(str(run.folder), run.model, None, "test", quiet=quiet) for run in runs]
    scores = pd.concat([entry.scores for entry in entries])
    metrics = [name for name in scores.columns if scores[name].dtype.kind == "f" and name != "max_z"]
    described = [name for name in scores.columns if name not in metrics]
    # Where a metric is not defined for a case, it is for no seed.
    averaged = scores.groupby(described, sort=False, dropna=False)[metrics].mean().reset_index()
    first = scores["target"].iloc[0]
    whole = (
        entry.scores[(entry.scores["region"] == "all") & (entry.scores["target"] == first)]
        for entry in entries
    )
    return Standing(
        replace(entries[0], scores=averaged[scores.columns]),
        tuple(float(of_seed["relative_l2"].mean()) for of_seed in whole),
        Cost.of_run(runs[0].folder),
    )


def leaderboard(standings: Sequence[Standing], target: str) -> Table:
    """Models by their mean relative L2 error on one target, the best first.

    Parameters
    ----------
    standings : sequence of Standing
        Of one store.
    target : str
        A field that all predict.
    """
    table = overview(compare([one.entry for one in standings]), target)
    by_model = {one.entry.model: one for one in standings}
    several = any(len(one.seeds) > 1 for one in standings)
    dropped = {table.headers.index(name) for name in ("run", "split by", "cases")}
    rows = []
    for row in table.rows:
        one = by_model[str(row[table.headers.index("model")])]
        kept: list[Cell] = [cell for column, cell in enumerate(row) if column not in dropped]
        spread = f"{figures(min(one.seeds), min(one.seeds))} to {figures(max(one.seeds), min(one.seeds))}"
        rows.append((*kept, *([spread] if several else []), *_costs(one.cost)))
    headers = [name for column, name in enumerate(table.headers) if column not in dropped]
    entry = standings[0].entry
    split = f", split by {entry.split_method}" if entry.split_method else ""
    title = f"{target} [{entry.scores['unit'].iloc[0]}], {len(entry.cases)} test cases{split}"
    return Table(title, (*headers, *(["over seeds"] if several else []), *COSTS), tuple(rows), 1)


def _costs(cost: Cost) -> tuple[str, str, str]:
    numbers = ("" if number is None else f"{number:,}" for number in (cost.parameters, cost.steps))
    parameters, steps = numbers
    return parameters, steps, "" if cost.minutes is None else f"{cost.minutes:.1f}"
