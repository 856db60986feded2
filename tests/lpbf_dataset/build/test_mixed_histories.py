"""Stores of cases some or all of which have no history, since their source knows final states alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, StoreSource
from lpbf_dataset.export import export_npz
from lpbf_dataset.schema import HISTORY_VARIABLES
from lpbf_dataset.sources.npz import NpzSource
from lpbf_dataset.store.layout import history_columns
from lpbf_dataset.store.verify import verify_store
from pipelines import info

ALL = BuildOptions(steps="all", rules="none")
NOTHING_ADDED = "--steps all adds nothing: the sources know final states alone, so the store has no history"


@pytest.fixture
def final(case):
    """Return the class of made-up cases whose source knows the final state alone."""

    @dataclass(frozen=True)
    class FinalCase(case):
        def history(self, fields=None):
            return iter(())

    return FinalCase


class TestOfFinalStatesAlone:
    @pytest.fixture
    def result(self, build, final):
        return build([final("a"), final("b", length=2)], ALL)

    def test_the_build_says_so_once(self, result):
        assert result.warnings.count(NOTHING_ADDED) == 1
        assert not any("without a history" in warning for warning in result.warnings)

    def test_the_store_is_one_of_final_states(self, result, target):
        dataset = lpbf.open_dataset(target)
        assert not dataset.has_history
        assert dataset.history_fields == ()
        assert len(dataset["a"].steps) == 0
        assert not (HISTORY_VARIABLES.keys() | history_columns().keys()) & set(dataset.to_xarray().variables)
        assert verify_store(target, deep=True) == []
        assert info.history(dataset).startswith("history: none")

    def test_it_is_a_source_where_a_history_is_wanted(self, result, build, case, target, files, tmp_path):
        again, mixed = tmp_path / "again.zarr", tmp_path / "mixed.zarr"
        assert NOTHING_ADDED in build([], ALL, sources=[StoreSource(target)], output=again).warnings
        assert files(again) == files(target)
        build([case("c")], ALL, sources=[StoreSource(target)], output=mixed)
        dataset = lpbf.open_dataset(mixed)
        assert [len(case.steps) for case in dataset] == [0, 0, 6]
        assert verify_store(mixed, deep=True) == []
        build([], ALL, sources=[StoreSource(mixed)], output=again)
        assert files(again) == files(mixed)

    def test_the_published_release_is_such_a_source(self, result, build, target, tmp_path):
        export_npz(lpbf.open_dataset(target), tmp_path / "npz")
        other = tmp_path / "other.zarr"
        build([], ALL, sources=[NpzSource(tmp_path / "npz")], output=other)
        dataset = lpbf.open_dataset(other)
        assert len(dataset) == 2
        assert not dataset.has_history


class TestOfBoth:
    @pytest.fixture
    def dataset(self, build, case, final, target):
        # Cases without a history lie before, between and behind those with one.
        names = [(final, "a"), (case, "b"), (final, "c"), (case, "d"), (final, "e")]
        self.result = build([kind(name, length=1 + n) for n, (kind, name) in enumerate(names)], ALL)
        return lpbf.open_dataset(target)

    def test_the_build_says_which(self, dataset):
        assert "3 cases without a history: their source knows the final state alone, first a" in (
            self.result.warnings
        )
        assert NOTHING_ADDED not in self.result.warnings

    def test_cases_without_a_history_have_no_steps(self, dataset):
        assert dataset.has_history
        assert [len(case.steps) for case in dataset] == [0, 6, 0, 6, 0]
        assert [len(dataset.step_table(case_id)) for case_id in dataset.case_ids] == [0, 6, 0, 6, 0]
        with pytest.raises(ValueError, match="the case has no steps"):
            dataset["e"].series()

    def test_the_others_are_whole(self, dataset):
        for case_id in "bd":
            case = dataset[case_id]
            np.testing.assert_array_equal(case.steps[-1].displacement, case.displacement)
            assert not case.series().is_missing.any()
        assert verify_store(dataset.location, deep=True) == []

    def test_xarray_has_counts_of_zero(self, dataset):
        whole = dataset.to_xarray()
        np.testing.assert_array_equal(whole.step_count, [0, 6, 0, 6, 0])
        assert whole.sizes["step"] == 12

    def test_it_is_a_source(self, dataset, build, target, files, tmp_path):
        build([], ALL, sources=[StoreSource(target)], output=tmp_path / "again.zarr")
        assert files(tmp_path / "again.zarr") == files(target)


def test_one_case_without_a_history(build, case, final):
    result = build([final("a"), case("b")], ALL)
    assert "1 case without a history: their source knows the final state alone, first a" in result.warnings
