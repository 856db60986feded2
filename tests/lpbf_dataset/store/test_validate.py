from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lpbf_dataset.schema import field_names
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.validate import check_case

FIELDS = field_names(include_optional=False)


def changed(case, name, values):
    return replace(case, variables={**case.variables, name: values})


def at(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


def test_counts(synthetic_case):
    case = synthetic_case(2, 1, 1)
    assert check_case(case, FIELDS) == {"node": 12, "cell": 2, "edge": 20}


def test_variables_that_are_not_stored_are_not_looked_at(synthetic_case):
    case = changed(synthetic_case(1, 1, 1), "temperature", np.zeros(3))
    check_case(case, ["displacement"])


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("displacement", lambda a: a.astype(np.float64), "dtype is float64, not float32"),
        ("cells", lambda a: a.astype(np.int64), "dtype is int64, not int32"),
        ("displacement", lambda a: a[:, :2], r"shape is \(8, 2\), not \(n, 3\)"),
        ("temperature", lambda a: a[:, None], r"shape is \(8, 1\), not \(n,\)"),
        ("temperature", lambda a: a[:-1], "has 7 rows, but the case has 8 nodes"),
        ("points", lambda a: at(a, (0, 1), np.nan), "1 of 24 values are not finite"),
        ("von_mises_stress", lambda a: at(a, 3, np.inf), "1 of 8 values are not finite"),
        ("cells", lambda a: at(a, (0, 0), 8), "names nodes 1 to 8, but the mesh has nodes 0 to 7"),
        ("edges", lambda a: at(a, (0, 0), -1), "names nodes -1 to 7"),
        ("edges", lambda a: np.ascontiguousarray(a[:, ::-1]), "first node of an edge must be less"),
    ],
)
def test_error_names_case_variable_and_problem(synthetic_case, name, change, problem):
    case = synthetic_case(1, 1, 1, case_id="bad")
    with pytest.raises(StoreError, match=f"case 'bad', variable '{name}': .*{problem}"):
        check_case(changed(case, name, change(case.variables[name])), FIELDS)


def test_missing_variable(synthetic_case):
    with pytest.raises(StoreError, match=r"case_111_0.*no variable 'cauchy_stress'"):
        check_case(synthetic_case(1, 1, 1), [*FIELDS, "cauchy_stress"])


def test_unknown_statistic_and_empty_id(synthetic_case):
    case = synthetic_case(1, 1, 1)
    with pytest.raises(StoreError, match="unknown statistics weight"):
        check_case(replace(case, statistics={"weight": 1.0}), FIELDS)
    with pytest.raises(StoreError, match="case_id"):
        check_case(replace(case, case_id=""), FIELDS)
