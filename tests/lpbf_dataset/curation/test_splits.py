from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.curation.splits import EXTREMES, SplitError, SplitMethod, read_split_file, split_cases

METHODS = get_args(SplitMethod)
BY_DESIGN = [method for method in METHODS if method not in {"random", "official"}]
STATISTICS = ["nodes", "volume", "max_z", "wall_thickness"]


def table_of(designs, seed=0):
    """Return a table of cases with statistics at random, from the design of each case."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame({"case_id": list(designs), "design_id": list(designs.values())}, dtype=str)
    table["nodes"] = random.integers(1000, 50_000, len(table))
    for name in STATISTICS[1:]:
        # Few values, so that designs tie.
        table[name] = random.integers(1, 12, len(table)).astype(float)
    return table


def singles(count):
    return table_of({f"case{i}": f"design{i}" for i in range(count)})


designs_of_cases = st.dictionaries(
    st.text(min_size=1, max_size=5), st.sampled_from("abcdefgh"), min_size=1, max_size=40
)
tables = st.builds(table_of, designs_of_cases, st.integers(0, 9))


@given(tables, st.sampled_from(BY_DESIGN), st.integers(0, 5))
def test_bodies_of_one_design_stay_together(table, method, seed):
    splits = split_cases(table, method, seed)
    assert sorted(splits) == sorted(table["case_id"])
    assert (table["case_id"].map(splits).groupby(table["design_id"]).nunique() == 1).all()


@given(tables, st.sampled_from(METHODS), st.randoms())
def test_order_of_cases_does_not_matter(table, method, random):
    official = {table["case_id"].min(): "test"}
    rows = list(range(len(table)))
    random.shuffle(rows)
    shuffled = split_cases(table.iloc[rows], method, official=official)
    assert shuffled == split_cases(table, method, official=official)


def test_hash_seed_does_not_change_the_split():
    program = (
        "import pandas as pd; from lpbf_dataset.curation.splits import split_cases;"
        "table = pd.DataFrame({'case_id': [f'case{i}' for i in range(30)],"
        "'design_id': [f'design{i % 7}' for i in range(30)], 'nodes': range(30), 'max_z': 1.0});"
        "print([sorted(split_cases(table, m).items()) for m in ('design', 'random', 'size', 'tallest')])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("method", "val", "test"), [("design", {"case4", "case5"}, set()), ("random", {"case6"}, {"case8"})]
)
def test_splits_of_published_stores_can_be_made_again(method, val, test):
    splits = split_cases(table_of({f"case{i}": f"design{i // 2}" for i in range(12)}), method)
    assert {case for case, split in splits.items() if split == "val"} == val
    assert {case for case, split in splits.items() if split == "test"} == test


@pytest.mark.parametrize("method", [method for method in METHODS if method != "official"])
def test_shares_are_met_to_one_case(method):
    splits = split_cases(singles(101), method, fractions={"train": 800, "val": 300, "test": 290})
    counts = Counter(splits.values())
    assert counts["test"] == pytest.approx(101 * 290 / 1390, abs=1)
    assert counts["val"] == pytest.approx(101 * 300 / 1390, abs=1)


@pytest.mark.parametrize("method", BY_DESIGN)
def test_shares_are_met_to_one_design(method):
    table = table_of({f"case{i}": f"design{i % 60}" for i in range(100)})
    counts = Counter(split_cases(table, method).values())
    assert counts["test"] == pytest.approx(10, abs=2)
    assert counts["val"] == pytest.approx(10, abs=2)


@pytest.mark.parametrize("method", [*BY_DESIGN, "random"])
def test_first_case_goes_to_training(method):
    assert split_cases(table_of({"only": "one"}), method) == {"only": "train"}


@pytest.mark.parametrize("method", ["design", "random", "size", "tallest"])
def test_nothing_but_testing(method):
    counts = Counter(split_cases(singles(10), method, fractions={"test": 1}).values())
    assert counts["test"] >= 9  # out of distribution, one is left to differ from
    assert counts["val"] == 0


@pytest.mark.parametrize("method", ["design", "random", "size", "tallest"])
def test_seed_changes_the_split(method):
    assert split_cases(singles(40), method, seed=0) != split_cases(singles(40), method, seed=1)


@pytest.mark.parametrize("method", ["design", "random"])
def test_no_cases(method):
    assert split_cases(pd.DataFrame({"case_id": [], "design_id": []}), method) == {}


@pytest.mark.parametrize(
    "fractions", [{"train": -0.1, "test": 1.1}, {"train": 0.0}, {}, {"val": float("nan")}]
)
def test_senseless_fractions_are_refused(fractions):
    with pytest.raises(SplitError, match="fractions"):
        split_cases(singles(1), fractions=fractions)


def test_sizes_are_the_same_in_each_split():
    table = singles(200)
    nodes = table.groupby(table["case_id"].map(split_cases(table, "size")))["nodes"]
    quartiles = nodes.quantile([0.25, 0.5, 0.75]).unstack()
    # Within the step of a tenth between the designs of a split of 20.
    assert np.ptp(quartiles.to_numpy(), axis=0).max() < 0.1 * np.ptp(table["nodes"])


@given(tables, st.sampled_from(sorted(EXTREMES)))
def test_training_sees_nothing_beyond_a_design_held_out(table, method):
    splits = table["case_id"].map(split_cases(table, method))
    statistic, sign = EXTREMES[method]
    extremes = (sign * table[statistic]).groupby([splits, table["design_id"]]).max()
    if "test" in extremes:
        assert extremes["test"].min() >= extremes.drop("test", level=0).max()


def test_cases_without_the_statistic_are_not_extreme():
    table = singles(30)
    table.loc[:19, "wall_thickness"] = np.nan
    table.loc[20:, "wall_thickness"] = range(10)
    splits = split_cases(table, "thinnest")
    assert {case for case, split in splits.items() if split == "test"} == {"case20", "case21", "case22"}


@pytest.mark.parametrize("values", [{}, {"wall_thickness": np.nan}])
def test_an_extreme_of_nothing_is_refused(values):
    table = singles(3).drop(columns="wall_thickness").assign(**values)
    with pytest.raises(SplitError, match="no case has the statistic wall_thickness"):
        split_cases(table, "thinnest")


def test_the_official_split_is_followed():
    splits = split_cases(singles(3), "official", official={"case1": "test", "elsewhere": "val"})
    assert splits == {"case0": "train", "case1": "test", "case2": "train"}


def test_without_an_official_split_it_cannot_be_followed():
    with pytest.raises(SplitError, match="official split"):
        split_cases(singles(3), "official", official={"elsewhere": "val"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.csv", "\ufeffcase_id,split,note\na,train,x\nb, test,\nc,val,\n"),
        ("s.json", '{"train": ["a"], "test": ["b"], "val": ["c"]}'),
        ("s.YAML", "train: [a]\ntest:\n- b\nval: [c]\n"),
    ],
)
def test_split_files(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_split_file(tmp_path / name) == {"a": "train", "b": "test", "c": "val"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.txt", "", "splits are read from .csv, .json, .yaml, .yml"),
        ("s.csv", "case,split\na,train\n", "has no column case_id"),
        ("s.csv", "", "has no column case_id"),
        ("s.csv", "case_id,split\n", "names no case"),
        ("s.csv", "case_id,split\na\n", "'a' is in 'None', but splits are train, val, test"),
        ("s.csv", "case_id,split\na,validation\n", "'a' is in 'validation', but splits are"),
        ("s.csv", 'case_id,split\n"a,train\n', "unexpected end of data"),
        ("s.json", '{"train": ["a"], "test": ["a"]}', "'a' is in train and in test"),
        ("s.json", '{"train": "a"}', "expected {"),
        ("s.json", '["a"]', "expected {"),
        ("s.json", "{", "Expecting property name"),
        ("s.yaml", "train: [a", "while parsing a flow sequence"),
        ("s.yaml", "train: [21_492]", "case id 21492 of train is not text; put it in quotes"),
        ("s.yaml", "!!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_a_malformed_split_file_is_told_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SplitError) as caught:
        read_split_file(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_split_file_that_is_no_text(tmp_path):
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SplitError, match="utf-8"):
        read_split_file(tmp_path / "s.csv")
