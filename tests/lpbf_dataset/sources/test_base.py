from __future__ import annotations

import pickle

import pytest

from lpbf_dataset.sources.base import MAX_DETAIL_LENGTH, CaseError, FailureReason, parent_design


def test_case_error_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(CaseError(FailureReason.MISSING_FILE, "a.geo: no such file")))  # noqa: S301
    assert error.reason is FailureReason.MISSING_FILE
    assert str(error) == "missing_file: a.geo: no such file"


def test_case_error_is_one_line_of_bounded_length():
    error = CaseError(FailureReason.MALFORMED_FILE, "two\nlines " + "x" * 10_000)
    assert error.detail.startswith("two lines x")
    assert len(error.detail) == MAX_DETAIL_LENGTH


@pytest.mark.parametrize(
    ("case_id", "part", "design"),
    [
        ("21477_babb9c34_4", "", "21477_babb9c34"),
        ("24735_384e3c90__ed646bf6", "", "24735_384e3c90"),
        ("step2", "20163_3742f394_3_tivus.stl", "20163_3742f394"),
        ("step2", "test.stl", "step2"),
    ],
)
def test_parent_design(case_id, part, design):
    assert parent_design(case_id, part) == design
