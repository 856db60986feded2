from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.curation.rules import (
    FACTORS,
    Rule,
    RulesError,
    Violation,
    evaluate,
    first_violation,
    load_rules,
    sensitivity,
)
from lpbf_dataset.schema import STATISTICS

PUBLISHED = load_rules("published")

TYPICAL = {
    "nodes": 20_972,
    "directed_edges": 120_000,
    "mean_aspect_ratio": 1.64,
    "max_aspect_ratio": 1.92,
    "max_displacement_z": 0.295,
    "min_displacement_z": -0.2,
    "max_von_mises_stress": 853.0,
}

WITH_MINIMUM = (Rule("max_z", 2.0, 5.0), Rule("genus", maximum=3), Rule("volume", minimum=-1.0))
row = st.fixed_dictionaries(
    {
        "max_z": st.sampled_from([0.9, 1.0, 2.0, 2.4, 4.0, 5.0, 5.1, 9.0, float("nan")]),
        "genus": st.integers(-1, 6),
        "volume": st.sampled_from([-3.0, -1.0, 0.0, 7.0, float("nan")]),
    }
)
tables = st.lists(row, max_size=20).map(lambda rows: pd.DataFrame(rows, columns=["max_z", "genus", "volume"]))


def test_published_rules_are_those_of_the_paper():
    assert [str(rule) for rule in PUBLISHED] == [
        "nodes <= 50000",
        "directed_edges <= 250000",
        "mean_aspect_ratio <= 3",
        "max_aspect_ratio <= 3",
        "max_displacement_z <= 1",
        "max_von_mises_stress <= 2000",
    ]


def test_a_typical_published_case_is_kept():
    assert first_violation(TYPICAL, PUBLISHED) is None


@pytest.mark.parametrize("rule", PUBLISHED, ids=lambda rule: rule.statistic)
def test_the_bound_itself_is_kept_and_more_is_not(rule):
    at_bound = {**TYPICAL, rule.statistic: rule.maximum}
    assert first_violation(at_bound, PUBLISHED) is None
    beyond = {**TYPICAL, rule.statistic: rule.maximum * 1.001}
    assert first_violation(beyond, PUBLISHED) == Violation(rule, rule.maximum * 1.001)


def test_two_sided_rules_reject_what_sags_and_nothing_else_besides():
    sagging = {**TYPICAL, "min_displacement_z": -5.0}
    assert first_violation(sagging, PUBLISHED) is None
    violation = first_violation(sagging, load_rules("two_sided"))
    assert str(violation) == "-1 <= min_displacement_z (is -5 mm)"
    assert set(load_rules("two_sided")) - set(PUBLISHED) == {Rule("min_displacement_z", minimum=-1)}
    assert set(PUBLISHED) < set(load_rules("two_sided"))


def test_no_rules_keep_everything():
    assert load_rules("none") == ()
    assert first_violation({}, ()) is None


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule("max_displacement_z", maximum=1.0), "max_displacement_z <= 1"),
        (Rule("min_displacement_z", minimum=-1.0), "-1 <= min_displacement_z"),
        (Rule("max_z", 0.5, 3.0), "0.5 <= max_z <= 3"),
    ],
)
def test_a_rule_reads_as_its_condition(rule, text):
    assert str(rule) == text


@pytest.mark.parametrize(
    ("statistic", "value", "text"),
    [
        ("max_displacement_z", 1.3412345, "max_displacement_z <= 1 (is 1.341 mm)"),
        ("max_displacement_z", 1.00001, "max_displacement_z <= 1 (is 1.00001 mm)"),
        ("max_displacement_z", float("nan"), "max_displacement_z <= 1 (is not known)"),
        ("nodes", 1_234_567, "nodes <= 1 (is 1234567)"),
        ("genus", -1, "genus <= 1 (is not known)"),
    ],
)
def test_a_violation_tells_the_value(statistic, value, text):
    assert str(first_violation({statistic: value}, [Rule(statistic, maximum=1)])) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("max_displacment_z", 0, 1), "did you mean max_displacement_z"),
        (("colour", 0, 1), "no statistic named 'colour'; there are nodes, cells"),
        (("max_z",), "has no bound"),
        (("max_z", 2, 1), "no max_z is between 2 and 1"),
        (("max_z", float("nan")), "no max_z is between"),
    ],
)
def test_senseless_rules_are_refused(arguments, message):
    with pytest.raises(RulesError, match=message):
        Rule(*arguments)


def test_a_file_of_rules(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("max_z: {min: 0.5, max: 3}\nvolume: {min: 1e2}\nwatertight: {min: 1}\nnodes: 5_000\n")
    rules = load_rules(str(file))
    assert [str(rule) for rule in rules] == [
        "0.5 <= max_z <= 3",
        "100 <= volume",
        "1 <= watertight",
        "nodes <= 5000",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_zz: 3", "no statistic named 'max_zz'; did you mean max_z?"),
        ("max_z: {most: 3}", "max_z has no bound 'most'"),
        ("max_z: {min: low}", "min of max_z must be a number, not 'low'"),
        ("max_z: true", "max_z must be a number, not True"),
        ("max_z: [1, 2]", "max_z must be a number"),
        ("max_z: {}", "has no bound"),
        ("max_z: .nan", "no max_z is between"),
        ("- max_z", "expected statistics"),
        ("", "expected statistics"),
        ("max_z: {min: 1", "no YAML"),
        ("max_z: !!python/object/apply:os.system ['true']", "no YAML"),
    ],
)
def test_a_malformed_file_is_told_in_one_line(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(RulesError, match=message.replace("?", r"\?")) as caught:
        load_rules(str(file))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_rules_that_are_not_text_or_not_there(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RulesError, match="no YAML"):
        load_rules(str(tmp_path / "binary.yaml"))
    with pytest.raises(RulesError, match="no rules 'publshed'; give none, published, two_sided or the path"):
        load_rules("publshed")


@given(tables)
def test_evaluating_a_table_is_evaluating_its_rows(table):
    slow = [first_violation(statistics, WITH_MINIMUM) for statistics in table.to_dict("records")]
    assert list(evaluate(table, WITH_MINIMUM)) == [str(found.rule) if found else "" for found in slow]


def test_evaluation_keeps_the_index():
    table = pd.DataFrame({"max_z": [1.0, 3.0]}, index=["low", "high"])
    assert evaluate(table, [Rule("max_z", minimum=2)]).to_dict() == {"low": "2 <= max_z", "high": ""}


def slow_sensitivity(table, rules, factors):
    """Keep or reject every case again for each change, row by row."""

    def kept(limits):
        cases = table.to_dict("records")
        return sum(
            all(
                low <= case[name] <= high and not (STATISTICS[name].dtype == "int64" and case[name] < 0)
                for name, low, high in limits
            )
            for case in cases
        )

    limits = [(rule.statistic, rule.minimum, rule.maximum) for rule in rules]
    for i, (name, low, high) in enumerate(limits):
        others = limits[:i] + limits[i + 1 :]
        yield str(rules[i]), "none", kept(others), kept(others) - kept(limits)
        for bound, value in (("minimum", low), ("maximum", high)):
            for factor in factors if np.isfinite(value) else ():
                changed = (name, factor * low, high) if bound == "minimum" else (name, low, factor * high)
                now = kept([*others, changed])
                yield str(rules[i]), bound, now, now - kept(limits)


@given(tables)
def test_sensitivity_is_that_of_deciding_again(table):
    found = sensitivity(table, WITH_MINIMUM)
    columns = found[["rule", "bound", "kept", "change"]]
    slow = list(slow_sensitivity(table, WITH_MINIMUM, FACTORS))
    assert list(columns.itertuples(index=False, name=None)) == slow


def test_sensitivity_counts_what_one_rule_alone_rejects():
    table = pd.DataFrame({"max_z": [1.0, 9.0, 9.0], "volume": [1.0, 1.0, 9.0]})
    rules = [Rule("max_z", maximum=6.0), Rule("volume", maximum=8.0)]
    found = sensitivity(table, rules, [1.5]).set_index(["rule", "bound"])
    assert found.loc[("max_z <= 6", "none"), "change"] == 1
    assert found.loc[("volume <= 8", "none"), "change"] == 0
    assert found.loc[("max_z <= 6", "maximum"), ["value", "kept", "change"]].tolist() == [9.0, 2, 1]


def test_sensitivity_without_rules_is_empty():
    assert sensitivity(pd.DataFrame({"max_z": [1.0]}), ()).empty
