from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build.catalog import TEXTS, summary
from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.schema import STATISTICS
from lpbf_dataset.sources.base import CaseError, FailureReason


@pytest.fixture
def found(case):
    truncated = CaseError(FailureReason.TRUNCATED_FILE, "x.geo ends early")
    return [
        case("good", length=3),
        case("broken", error=truncated),
        case("stressed", stress=2500.0),
        case("good", location="elsewhere"),
        case("broken too", error=truncated),
        case("good", location="a third place"),
    ]


@pytest.fixture
def catalog(build, found):
    return build(found).catalog


def test_each_case_found_has_a_row(catalog):
    columns = ["case_id", "status", "rule", "value", "failure", "reason"]
    rows = catalog[columns].fillna(-1).to_numpy().tolist()
    truncated = ["failed", "", -1, "truncated_file", "truncated_file: x.geo ends early"]
    rule = "max_von_mises_stress <= 2000"
    repeated = ["failed", "", -1, "duplicate_case", "duplicate_case: also found at memory"]
    assert rows == [
        ["broken", *truncated],
        ["broken too", *truncated],
        ["good", *repeated],
        ["good", *repeated],
        ["good", "kept", "", -1, "", ""],
        ["stressed", "rejected", rule, 2500, "", f"{rule} (is 2500 MPa)"],
    ]
    assert list(catalog["location"][2:5]) == ["a third place", "elsewhere", "memory"]
    assert list(catalog["split"]) == ["", "", "", "", "train", ""]


def test_it_does_not_depend_on_the_order_of_the_sources(build, found, catalog):
    # Of cases of one name the first counts, so they stay in order.
    reordered = [found[i] for i in (2, 4, 0, 1, 3, 5)]
    pd.testing.assert_frame_equal(build(reordered).catalog, catalog)


def test_columns(catalog):
    assert list(catalog.columns) == [*TEXTS, "value", *STATISTICS]
    for name, statistic in STATISTICS.items():
        assert catalog[name].dtype == statistic.dtype


def test_statistics_are_those_of_the_arrays(catalog, target):
    case = lpbf.open_dataset(target)["good"]
    expected = case_statistics(case.variables, None)
    kept = catalog[catalog["status"] == "kept"].iloc[0]
    for name, value in expected.items():
        np.testing.assert_equal(kept[name], value)
        np.testing.assert_equal(case.statistics[name], value)


def test_what_is_not_known_is_marked(catalog):
    broken = catalog.iloc[0]
    assert broken["nodes"] == -1
    assert np.isnan(broken["volume"])
    assert broken["content_hash"] == ""


def test_the_same_is_in_the_store_and_in_parquet(catalog, target):
    stored = lpbf.open_dataset(target).catalog()
    pd.testing.assert_frame_equal(stored, catalog, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(target / "catalog.parquet"), stored)


def test_summary(catalog):
    assert summary(catalog) == [
        "kept 1 of 6 cases, 4 failed",
        "  1 rejected by max_von_mises_stress <= 2000",
        "  2 failed: truncated_file",
        "  2 failed: duplicate_case",
    ]


def test_a_catalog_without_cases(build):
    assert summary(build([], dry_run=True).catalog) == ["kept 0 of 0 cases, 0 failed"]
