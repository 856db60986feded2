from __future__ import annotations

import pickle

import numpy as np
import pytest

from lpbf_dataset.build import Extraction, read_case
from lpbf_dataset.store.validate import check_case


@pytest.fixture(scope="module")
def synthetic(benchmark_module):
    return benchmark_module("synthetic")


def test_cases_can_be_read_and_stored(synthetic):
    extraction = Extraction(synthetic.FIELDS)
    cases = [read_case(raw, extraction) for raw in synthetic.SyntheticSource(6, 300).cases()]
    assert len({case.case_id for case in cases}) == 6
    assert len({case.design_id for case in cases}) == 3
    assert len({check_case(case, extraction.variables)["node"] for case in cases}) > 1


@pytest.mark.parametrize("nodes", [1000, 20_000])
def test_sizes_are_about_those_asked_for(synthetic, nodes):
    cases = synthetic.SyntheticSource(synthetic.SIZES, nodes).cases()
    assert np.mean([len(case.final_step().points) for case in cases]) == pytest.approx(nodes, rel=0.1)


def test_a_case_is_the_same_in_another_process(synthetic):
    (case,) = synthetic.SyntheticSource(1, 100).cases()
    copy = pickle.loads(pickle.dumps(case))  # noqa: S301
    assert copy.content_hash() == case.content_hash()
    np.testing.assert_array_equal(copy.final_step().points, case.final_step().points)


def test_the_machine_is_told(synthetic):
    assert "cores, load" in synthetic.machine()
