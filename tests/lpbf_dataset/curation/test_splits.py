from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.curation.splits import split_cases

designs_of_cases = st.dictionaries(st.text(min_size=1), st.sampled_from("abcdefgh"), max_size=40)


@given(designs_of_cases, st.integers(0, 5))
def test_bodies_of_one_design_stay_together(designs, seed):
    splits = split_cases(designs, "design", seed)
    assert splits.keys() == designs.keys()
    of_design = defaultdict(set)
    for case_id, design in designs.items():
        of_design[design].add(splits[case_id])
    assert all(len(found) == 1 for found in of_design.values())


@given(designs_of_cases, st.sampled_from(["design", "random"]), st.randoms())
def test_order_of_cases_does_not_matter(designs, method, random):
    shuffled = list(designs.items())
    random.shuffle(shuffled)
    assert split_cases(dict(shuffled), method) == split_cases(designs, method)


def test_shares_are_met_to_one_case():
    designs = {f"case{i}": f"design{i}" for i in range(101)}
    counts = Counter(split_cases(designs, fractions={"train": 1100, "test": 290}).values())
    assert counts.keys() == {"train", "test"}
    assert counts["test"] == pytest.approx(101 * 290 / 1390, abs=1)


def test_first_case_goes_to_training():
    assert split_cases({"only": "one"}) == {"only": "train"}


def test_seed_changes_the_split():
    designs = {f"case{i}": f"design{i}" for i in range(40)}
    assert split_cases(designs, seed=0) != split_cases(designs, seed=1)


def test_hash_seed_does_not_change_the_split():
    program = (
        "from lpbf_dataset.curation.splits import split_cases;"
        "print(sorted(split_cases({f'case{i}': f'design{i % 7}' for i in range(30)}).items()))"
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


@pytest.mark.parametrize("fractions", [{"train": -0.1, "test": 1.1}, {"train": 0.0}, {}])
def test_senseless_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions"):
        split_cases({"a": "a"}, fractions=fractions)
