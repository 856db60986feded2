"""Comparison of what was scored: one table of means with confidence intervals, over all runs and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.comparison.bootstrap import mean_interval
from pipelines.comparison.groups import groups
from pipelines.comparison.paired import differences
from pipelines.scoring.calibration import NAMES as CALIBRATION
from pipelines.scoring.evaluation import is_calibrated, unit
from pipelines.scoring.metrics import METRICS, PUBLISHED_TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lpbf_dataset.schema import Split

FEW_DESIGNS = 10
"""Below so many the bootstrap of a mean is known to be too narrow (Davison and Hinkley 1997, chapter 2)."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One competitor: a run, or predictions made elsewhere, with its scores.

    Parameters
    ----------
    name : str
        What to call it, on one line.
    model : str
        Kind of model; empty if not known.
    data : str
        Path or URL of the store it was scored on.
    split_method : str
        How that store was split, as `lpbf_dataset.curation.splits.SplitMethod`; empty if not known.
    split : {"train", "val", "test"}
        Whose cases were scored.
    scores : DataFrame
        As `pipelines.scoring.evaluation.case_scores` makes them, of that split alone; not empty.
    leaking : frozenset of str or None
        Cases that resemble training cases; None if not known.
    notes : tuple of str
        What a reader has to know of it, a sentence each.
    """

    name: str
    model: str
    data: str
    split_method: str
    split: Split
    scores: pd.DataFrame
    leaking: frozenset[str] | None
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Fields that were scored."""
        return tuple(self.scores["target"].unique())

    @property
    def cases(self) -> frozenset[str]:
        """Cases that were scored."""
        return frozenset(self.scores["case_id"])


def metric_names(target: str) -> list[str]:
    """Names of the metrics of a target, the physical relative L2 error first."""
    return [*METRICS, *(["published_relative_l2"] if target == PUBLISHED_TARGET else [])]


def compare(entries: Sequence[Entry]) -> pd.DataFrame:
    """Estimate the mean and the median of every metric over cases.

    Parameters
    ----------
    entries : sequence of Entry
        What to compare.

    Returns
    -------
    DataFrame
        A row for each entry, target, group, level of the group and metric: ``run``, ``model``, ``data``,
        ``split_method``, ``split``, ``target``, ``unit``, ``group`` and ``level`` as
        `pipelines.comparison.groups.groups` names them, the numbers of ``cases`` and ``designs``,
        ``metric``, its ``mean`` over cases with the bounds ``low`` and ``high`` of the confidence interval
        of `pipelines.comparison.bootstrap.mean_interval`, and its ``median``.  By target, then in the order
        of the entries.  After those of each target come the differences between entries, as
        `pipelines.comparison.paired.differences` describes them.
    """
    targets = dict.fromkeys(target for entry in entries for target in entry.targets)
    return pd.DataFrame([row for target in targets for row in _target_rows(entries, target)])


def _target_rows(entries: Sequence[Entry], target: str) -> Iterator[dict[str, object]]:
    chosen = {entry.name: entry for entry in entries if target in entry.targets}
    for entry in chosen.values():
        yield from _rows(entry, target)
    for row in differences(list(chosen.values()), target):
        entry = chosen[str(row["run"])]
        yield {**_described(entry, target), **row}


def _described(entry: Entry, target: str) -> dict[str, object]:
    return {
        "run": entry.name,
        "model": entry.model,
        "data": entry.data,
        "split_method": entry.split_method,
        "split": entry.split,
        "target": target,
        "unit": unit(target),
    }


def _rows(entry: Entry, target: str) -> Iterator[dict[str, object]]:
    scores = entry.scores[entry.scores["target"] == target]
    names = [*metric_names(target), *(CALIBRATION if is_calibrated(scores) else ())]
    described = _described(entry, target)
    for group in groups(scores, entry.leaking):
        values = group.scores[names].to_numpy(dtype=np.float64)
        low, high = mean_interval(values, group.scores["design_id"].tolist())
        mean, median = values.mean(axis=0), np.median(values, axis=0)
        for column, metric in enumerate(names):
            yield {
                **described,
                "group": group.name,
                "level": group.level,
                "cases": len(values),
                "designs": group.scores["design_id"].nunique(),
                "metric": metric,
                "mean": mean[column],
                "low": low[column],
                "high": high[column],
                "median": median[column],
            }


def notes(entries: Sequence[Entry]) -> list[str]:
    """List what to know before trusting the comparison, a sentence each."""
    found = [note for entry in entries for note in entry.notes]
    methods = sorted({entry.split_method for entry in entries})
    if len(methods) > 1:
        found.append(
            f"Stores are split in different ways, {' and '.join(method or 'unknown' for method in methods)}, "
            "so runs are ranked within each: errors are lower where bodies of one design are in training and "
            "test."
        )
    if any(
        len({(entry.cases, entry.split) for entry in entries if entry.split_method == method}) > 1
        for method in methods
    ):
        found.append(
            "The runs were not all scored on the same cases, so their errors cannot be compared as they "
            "stand; score them on one store with --data."
        )
    designs = min(entry.scores["design_id"].nunique() for entry in entries)
    if designs < FEW_DESIGNS:
        counted = "one design" if designs == 1 else f"{designs} designs"
        found.append(
            f"There are cases of {counted} only: "
            + ("no confidence interval can be given." if designs == 1 else "intervals are too narrow.")
        )
    return found
