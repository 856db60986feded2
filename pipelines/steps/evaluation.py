"""Scoring a model of the steps of builds: the error against the step.

Of a model that sees the state before, steps are predicted in two modes: "rolled_out", each from what was
predicted of the one before, and "teacher_forced", each from the true state before.  "unchanged" is the floor
for both: that state itself.  A model that sees no state has the one mode "direct".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from pipelines.runs.checkpoint import RunError
from pipelines.runs.ensemble_model import mean_and_spread
from pipelines.runs.mesh_view import levels_folder
from pipelines.scoring.calibration import NAMES as CALIBRATION
from pipelines.scoring.calibration import calibration
from pipelines.scoring.evaluation import unit
from pipelines.scoring.metrics import METRICS, score
from pipelines.scoring.scored_fields import scored_fields
from pipelines.steps.rollout import predict_each, read_steps, states_before
from pipelines.steps.tasks import RELEASED, UNCHANGED
from pipelines.steps.transitions import StepReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.steps import CaseStep
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.run import Run
    from pipelines.scoring.evaluation import Observer

STEP = "step"
"""Region of the scores of a single step."""

WHOLE_BUILD, LAST_STEP, TEACHER_FORCED = "all", "last_step", "teacher_forced"
"""Regions of the scores of a case: means over its steps; of the last step before the removal alone, both
rolled out; and means over its steps, teacher-forced or left unchanged."""


def step_scores(run: Run, cases: Dataset, *, quiet: bool, observe: Observer) -> pd.DataFrame:
    """Score every step of every case of a view of a store.

    Parameters
    ----------
    run : Run
        Trained on a task of steps.
    cases : Dataset
        On what; two steps are in memory at a time.
    quiet : bool
        Show no progress.
    observe : callable
        Is given the last step of each case before the removal, with its prediction, rolled out.

    Returns
    -------
    DataFrame
        Rows as of `pipelines.scoring.evaluation.case_scores`, of the regions above, with ``step``, ``kind``,
        ``time`` (s), ``height`` (mm) and ``mode`` of single steps besides.

    Raises
    ------
    RunError, StoreError
        If no case has steps, or the store is damaged.
    """
    variables = StepReader.of(run.description).variables
    folder = levels_folder(cases)
    bar = tqdm(range(len(cases)), desc="evaluating", unit="case", disable=quiet)
    tables = []
    for position in bar:
        case = cases.read(position, variables)
        # Some source may know but the final state of some cases.
        rows = pd.DataFrame(_case_rows(run, case, folder, observe) if case.steps else [])
        tables += [rows, _summaries(rows)] if len(rows) else []
    if not tables:
        raise RunError(f"no case of {cases.location} has steps; build it with lpbf-build --steps all")
    return pd.concat(tables, ignore_index=True)


def _case_rows(run: Run, case: Case, folder: Path | None, observe: Observer) -> Iterator[dict[str, Any]]:
    assert run.description.task is not None
    sees_state = run.description.task.sees_state
    before: CaseStep | None = None
    states: NDArray[np.float32] | None = None
    last: tuple[CaseStep, NDArray[np.float32]] | None = None
    for step in read_steps(run, case):
        states = predict_each(run, step, before, states, folder)
        yield from _rows(run, step, states, "rolled_out" if sees_state else "direct")
        if sees_state:
            yield from _rows(run, step, predict_each(run, step, before, None, folder), TEACHER_FORCED)
            yield from _rows(run, step, states_before(run, step, before), UNCHANGED)
        if last is None or step.kind not in RELEASED:
            last = step, mean_and_spread(states)[0]
        before = step
    if last is not None:
        observe(*last)


def _rows(run: Run, step: CaseStep, each: NDArray[np.float32], mode: str) -> Iterator[dict[str, Any]]:
    """Score the mean of (members, nodes, targets), and the spread about it if there is one."""
    prediction, std = mean_and_spread(each)
    truth = run.scaling.truth(step)
    for field, columns in scored_fields(run.targets).items():
        uncertainty = {}
        if std is not None and isinstance(columns, int):
            uncertainty = calibration(prediction[:, columns], std[:, columns], truth[:, columns], len(each))
        yield {
            "case_id": step.case_id,
            "design_id": step.design_id,
            "split": step.split,
            "nodes": step.node_count,
            "max_z": float(step.points[:, 2].max()),
            "target": field,
            "unit": unit(field),
            "region": STEP,
            **score(prediction[:, columns], truth[:, columns], field),
            **uncertainty,
            "step": step.index,
            "kind": step.kind,
            "time": step.time,
            "height": step.height,
            "mode": mode,
        }


def _summaries(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of a case from those of its steps."""
    by_itself = ~rows["mode"].isin([TEACHER_FORCED, UNCHANGED])
    on_plate = ~rows["kind"].isin(RELEASED)
    last = rows.loc[on_plate, "step"].max() if on_plate.any() else rows["step"].max()
    regions = {
        WHOLE_BUILD: rows[by_itself],
        LAST_STEP: rows[by_itself & (rows["step"] == last)],
        TEACHER_FORCED: rows[rows["mode"] == TEACHER_FORCED],
        UNCHANGED: rows[rows["mode"] == UNCHANGED],
    }
    return pd.concat([_mean(chosen, region) for region, chosen in regions.items() if len(chosen)])


def _mean(rows: pd.DataFrame, region: str) -> pd.DataFrame:
    """Mean of the metrics over steps; the size is that of the largest."""
    metrics = [name for name in rows.columns if name in (*METRICS, "published_relative_l2", *CALIBRATION)]
    how = {"nodes": "max", "max_z": "max", **dict.fromkeys(metrics, "mean")}
    by = ["case_id", "design_id", "split", "target", "unit"]
    return rows.groupby(by, sort=False, as_index=False).agg(how).assign(region=region)
