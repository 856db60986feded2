from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import lpbf_dataset as lpbf
from lpbf_dataset.curation.shape import shape_descriptor
from lpbf_dataset.store.writer import StoreWriter
from pipelines.comparison.groups import groups, leaking_cases

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")


def scores_of(nodes, heights=None, regions=("all",)):
    """Scores of cases of these sizes."""
    heights = [10.0] * len(nodes) if heights is None else heights
    return pd.DataFrame(
        [
            {"case_id": f"c{index}", "design_id": "d", "nodes": size, "max_z": height, "region": region}
            for index, (size, height) in enumerate(zip(nodes, heights, strict=True))
            for region in regions
        ]
    )


def named(scores, leaking=None):
    """Case ids by group and level."""
    return {(g.name, g.level): g.scores["case_id"].tolist() for g in groups(scores, leaking)}


def test_terciles_of_size_and_height():
    found = named(scores_of([10, 1200, 30, 40, 50, 60], [6.5, 5.5, 4.5, 3.5, 2.5, 1.25]))
    assert found == {
        ("overall", "all"): ["c0", "c1", "c2", "c3", "c4", "c5"],
        ("size", "up to 30 nodes"): ["c0", "c2"],
        ("size", "up to 50 nodes"): ["c3", "c4"],
        ("size", "over 50 nodes"): ["c1", "c5"],
        ("height", "up to 2.5 mm"): ["c4", "c5"],
        ("height", "up to 4.5 mm"): ["c2", "c3"],
        ("height", "over 4.5 mm"): ["c0", "c1"],
    }


def test_cases_of_one_size_are_not_divided():
    assert list(named(scores_of([7, 7, 7]))) == [("overall", "all")]
    assert list(named(scores_of([7]))) == [("overall", "all")]


@given(nodes=st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_terciles_divide_the_cases(nodes):
    parts = [ids for (name, _), ids in named(scores_of(nodes)).items() if name == "size"]
    ids = [case_id for part in parts for case_id in part]
    if parts:
        assert sorted(ids) == sorted(f"c{index}" for index in range(len(nodes)))
        assert all(parts)
        size = {f"c{index}": count for index, count in enumerate(nodes)}
        for smaller, larger in pairwise(parts):
            assert max(size[c] for c in smaller) < min(size[c] for c in larger)
    if len(set(nodes)) == len(nodes) >= 3:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_leaking_cases_are_told_from_others():
    found = named(scores_of([1, 1, 1]), {"c1", "elsewhere"})
    assert found["leakage", "sibling or duplicate in train"] == ["c1"]
    assert found["leakage", "neither"] == ["c0", "c2"]
    assert [level for name, level in named(scores_of([1, 1]), set()) if name == "leakage"] == ["neither"]
    assert not [name for name, _ in named(scores_of([1, 1]), None) if name == "leakage"]


def test_regions_are_rows_of_their_own():
    found = list(groups(scores_of([4, 5], regions=("all", "surface", "interior")), None))
    by_name = {(g.name, g.level): g.scores for g in found}
    assert (by_name["overall", "all"]["region"] == "all").all()
    assert by_name["region", "surface nodes"]["region"].tolist() == ["surface", "surface"]
    assert by_name["region", "interior nodes"]["region"].tolist() == ["interior", "interior"]


def write_bars(path, bars, cases):
    """Write bars, with shape descriptors, under other names, designs and splits."""
    described = []
    with StoreWriter(path, ("displacement",)) as writer:
        for case_id, (bar, design, _) in cases.items():
            writer.append(replace(bars[bar], case_id=case_id, design_id=design))
            described.append(shape_descriptor(bars[bar].points, bars[bar].cells))
        splits = {case_id: split for case_id, (_, _, split) in cases.items()}
        writer.finish(splits, pd.DataFrame({"case_id": list(cases)}))
    root = zarr.open_group(path, mode="r+", use_consolidated=False)
    root.create_array("case_shape_descriptor", data=np.stack(described))
    zarr.consolidate_metadata(root.store)
    return lpbf.open_dataset(path)


@pytest.fixture
def resembling(store, tmp_path):
    """Return a store whose test cases are a sibling, a copy, and a part like no other."""
    cases = {
        "trained": ("a", "one", "train"),
        "second": ("b", "two", "train"),
        "held": ("e", "three", "val"),
        "sibling": ("c", "one", "test"),
        "copy": ("b", "five", "test"),
        "other": ("e", "six", "test"),
    }
    return write_bars(tmp_path / "resembling.zarr", lpbf.open_dataset(store), cases)


def test_siblings_and_near_duplicates_of_training_cases_leak(resembling):
    assert leaking_cases(resembling.test, resembling.train) == {"sibling", "copy"}
    assert leaking_cases(resembling.val, resembling.train) == set()


def test_without_descriptors_only_siblings_are_known(resembling):
    shutil.rmtree(resembling.location / "case_shape_descriptor")
    zarr.consolidate_metadata(resembling.location)
    again = lpbf.open_dataset(resembling.location)
    assert leaking_cases(again.test, again.train) == {"sibling"}


def test_a_case_that_was_trained_on_in_another_store_leaks(resembling, store, tmp_path):
    cases = {"other": ("d", "x", "test"), "trained": ("d", "y", "test"), "third": ("b", "z", "test")}
    tested = write_bars(tmp_path / "tested.zarr", lpbf.open_dataset(store), cases)
    assert leaking_cases(tested.test, resembling.train) == {"trained", "third"}


def test_without_training_cases_nothing_leaks(resembling):
    assert leaking_cases(resembling.test, resembling.train[:0]) == set()
