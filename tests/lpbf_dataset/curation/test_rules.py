from __future__ import annotations

import pytest

from lpbf_dataset.curation.rules import PUBLISHED_RULES, Rule, first_violation

TYPICAL = {
    "nodes": 20_972,
    "directed_edges": 120_000,
    "mean_aspect_ratio": 1.64,
    "max_aspect_ratio": 1.92,
    "max_displacement_z": 0.295,
    "max_von_mises_stress": 853.0,
}


def test_a_typical_published_case_is_kept():
    assert first_violation(TYPICAL, PUBLISHED_RULES) is None


@pytest.mark.parametrize("rule", PUBLISHED_RULES, ids=lambda rule: rule.statistic)
def test_the_bound_itself_is_kept_and_more_is_not(rule):
    at_bound = {**TYPICAL, rule.statistic: rule.maximum}
    assert first_violation(at_bound, PUBLISHED_RULES) is None
    beyond = {**TYPICAL, rule.statistic: rule.maximum * 1.001}
    assert first_violation(beyond, PUBLISHED_RULES) is rule


def test_a_statistic_that_is_not_a_number_is_rejected():
    assert first_violation({**TYPICAL, "max_aspect_ratio": float("nan")}, PUBLISHED_RULES)


def test_a_rule_reads_as_its_condition():
    assert str(Rule("max_displacement_z", 1.0)) == "max_displacement_z <= 1"


def test_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match="no statistic named 'height'"):
        Rule("height", 1.0)
