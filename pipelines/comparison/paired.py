"""Differences between runs on the very same cases, which tell more than two intervals that overlap."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.comparison.bootstrap import mean_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.comparison.compare import Entry

PAIRED = "difference"
"""Group of the rows of `differences`; their level is the run that is subtracted."""

METRIC = "relative_l2"


def differences(entries: Sequence[Entry], target: str) -> Iterator[dict[str, object]]:
    """Compare every run with the best one on the cases that both were scored on.

    The errors of two runs on a case go together, as a hard case is hard for both; so the mean of their
    difference is known better than the means are.  Whole designs are resampled, and the two errors on a case
    stay together (paired bootstrap, Efron and Tibshirani 1993, chapter 16).

    Parameters
    ----------
    entries : sequence of Entry
        Those with this target.
    target : str
        Field.

    Yields
    ------
    dict
        Of each run but the best of those on stores that are split alike: ``run``, ``group``, ``level`` (the
        best run), the numbers of ``cases`` and ``designs`` that both have, ``metric``, and the ``mean`` of
        its error less that of the best with the bounds ``low`` and ``high``, and the ``median``.  Nothing if
        they share no cases.
    """
    errors = {entry.name: _errors(entry, target) for entry in entries}
    by_method = sorted(entries, key=lambda entry: entry.split_method)
    for _, group in groupby(by_method, key=lambda entry: entry.split_method):
        peers = sorted(group, key=lambda entry: _rank(errors[entry.name]))
        best, *others = (entry.name for entry in peers)
        for name in others:
            both = pd.concat([errors[name], errors[best]], axis=1, join="inner")
            if both.empty:
                continue
            own, of_best = both.to_numpy(dtype=np.float64).T
            values = own - of_best
            designs = both.index.get_level_values("design_id").tolist()
            low, high = mean_interval(values[:, None], designs)
            yield {
                "run": name,
                "group": PAIRED,
                "level": best,
                "cases": len(values),
                "designs": len(set(designs)),
                "metric": METRIC,
                "mean": values.mean(),
                "low": low[0],
                "high": high[0],
                "median": np.median(values),
            }


def _errors(entry: Entry, target: str) -> pd.Series[float]:
    """Relative L2 error of each case; what tells it from another case of the same id is in the index."""
    scores = entry.scores
    whole = scores[(scores["target"] == target) & (scores["region"] == "all")]
    return whole.set_index(["case_id", "design_id", "nodes"])[METRIC]


def _rank(errors: pd.Series[float]) -> float:
    mean = float(errors.mean(skipna=False))
    return mean if np.isfinite(mean) else np.inf
