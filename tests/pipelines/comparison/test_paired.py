"""Differences on the same cases, against what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from pipelines.comparison.bootstrap import mean_interval
from pipelines.comparison.compare import Entry
from pipelines.comparison.paired import differences

TARGET = "von_mises_stress"


def entry(name, errors, ids=None, method="design"):
    ids = range(len(errors)) if ids is None else ids
    scores = pd.DataFrame(
        {
            "case_id": [f"c{number}" for number in ids],
            "design_id": [f"d{number // 2}" for number in ids],
            "nodes": 10,
            "target": TARGET,
            "region": "all",
            "relative_l2": errors,
        }
    )
    surface = scores.assign(region="surface", relative_l2=9.0)
    return Entry(name, "", "store", method, "test", pd.concat([scores, surface]), None)


def test_the_mean_difference_and_its_interval():
    rng = np.random.default_rng(0)
    hardness = rng.uniform(0, 1, 40)
    better, worse = hardness + rng.normal(0, 0.01, 40), hardness + 0.02 + rng.normal(0, 0.01, 40)
    (row,) = differences([entry("worse", worse), entry("better", better)], TARGET)
    assert (row["run"], row["level"], row["cases"], row["designs"]) == ("worse", "better", 40, 20)
    assert row["mean"] == pytest.approx((worse - better).mean())
    assert row["median"] == pytest.approx(np.median(worse - better))
    low, high = mean_interval((worse - better)[:, None], [f"d{number // 2}" for number in range(40)])
    assert (row["low"], row["high"]) == (low[0], high[0])
    # The pairs tell apart what the means, which differ by a tenth of their own intervals, do not.
    assert 0.01 < row["low"] < row["high"] < 0.03


def test_cases_are_paired_by_what_they_are_and_not_by_their_order():
    errors = np.arange(6) / 10
    shuffled = [3, 0, 5, 1, 4, 2]
    (row,) = differences([entry("a", errors), entry("b", errors[shuffled] + 0.1, shuffled)], TARGET)
    assert (row["low"], row["mean"], row["high"]) == pytest.approx((0.1, 0.1, 0.1))


def test_only_common_cases_count():
    (row,) = differences([entry("a", [0.1] * 4), entry("b", [0.2] * 4, range(2, 6))], TARGET)
    assert (row["cases"], row["designs"]) == (2, 1)
    assert math.isnan(row["low"])
    assert not list(differences([entry("a", [0.1] * 4), entry("b", [0.2] * 4, range(4, 8))], TARGET))


def test_each_kind_of_split_has_its_best():
    entries = [entry("a", [0.1]), entry("b", [0.2]), entry("x", [0.4], method="random")]
    assert [row["run"] for row in differences(entries, TARGET)] == ["b"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_run_that_cannot_be_scored_is_not_the_best(bad):
    rows = list(differences([entry("bad", [bad, 0.1, 0.1]), entry("good", [0.5] * 3)], TARGET))
    assert [(row["run"], row["level"]) for row in rows] == [("bad", "good")]
    assert not math.isfinite(rows[0]["mean"])
    assert math.isnan(rows[0]["low"])
