from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from lpbf_dataset.report import Curation, published
from lpbf_dataset.report.curation import known
from lpbf_dataset.schema import SPLITS, STATISTICS


def test_the_funnel_ends_with_the_kept_cases(curation):
    stages = curation.funnel()
    assert [stage.label for stage in stages] == ["found", "readable", *map(str, curation.rules)]
    assert stages[0].left == len(curation.catalog)
    assert stages[-1].left == len(curation.kept)
    for before, after in pairwise(stages):
        assert after.left == before.left - after.lost
        assert after.lost >= 0


def test_rules_that_are_not_given_are_one_stage(curation):
    stages = replace(curation, rules=curation.rules[:1]).funnel()
    assert [stage.label for stage in stages[-2:]] == [str(curation.rules[0]), "other rules"]
    assert stages[-1].left == len(curation.kept)


def test_what_is_not_stored_is_the_last_stage(curation):
    catalog = curation.catalog.copy()
    missing = curation.kept.index[:3]
    catalog.loc[missing, ["status", "failure"]] = "failed", "not_stored"
    changed = replace(curation, catalog=catalog)
    before, after = curation.funnel(), changed.funnel()
    assert after[:-1] == before
    assert after[-1] == ("stored", len(curation.kept) - 3, 3)
    assert len(changed.readable) == len(curation.readable)
    assert changed.not_stored.index.tolist() == missing.tolist()


def test_violations_are_those_of_a_loop(curation):
    violations = curation.violations()
    for row, case in curation.readable.iterrows():
        for rule in curation.rules:
            assert violations.loc[row, str(rule)] == (not case[rule.statistic] <= rule.maximum)
    assert not violations.loc[curation.kept.index].to_numpy().any()


def test_what_is_not_known_violates(curation):
    rule = replace(curation.rules[0], statistic="genus", maximum=100)
    violations = replace(curation, rules=[rule]).violations()[str(rule)]
    assert (violations == (curation.readable["genus"] == -1)).all()


def test_unknown_values_are_left_out():
    table = pd.DataFrame({"genus": [-1, 0, 3], "max_z": [np.nan, 1.0, np.inf], "min_displacement_z": -1.0})
    assert known(table, "genus").tolist() == [0, 3]
    assert known(table, "max_z").tolist() == [1.0]
    assert len(known(table, "min_displacement_z")) == 3


def test_distributions_are_of_numbers(curation):
    assert set(curation.statistics) - set(curation.distributions) == {"watertight"}
    nothing_kept = curation.catalog[curation.catalog["status"] == "failed"]
    assert Curation(nothing_kept).distributions == ()


def test_every_split_is_counted(curation):
    counts = curation.split_counts()
    assert tuple(counts) == SPLITS
    assert sum(counts.values()) == len(curation.kept)


def test_published_facts_agree_with_each_other():
    assert sum(published.SPLIT_CASES.values()) == published.KEPT_CASES < published.SIMULATED_CASES
    assert published.KEPT_MEANS.keys() | published.KEPT_MAXIMA.keys() <= STATISTICS.keys()
    for name, quantiles in published.CELL_QUANTILES.items():
        assert len(quantiles) == len(published.QUANTILES), name
        assert list(quantiles) == sorted(quantiles)
