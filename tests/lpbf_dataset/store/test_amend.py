from __future__ import annotations

import errno
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from lpbf_dataset import open_dataset
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.schema import FEATURE_VARIABLES
from lpbf_dataset.store.amend import replace_variables
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.verify import verify_store


def features(case):
    return geometry_features(case.points, case.cells, mesh_surface(case.points, case.cells))


def files(store):
    """Return the bytes of every file but the metadata of the root."""
    return {
        path.relative_to(store): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.parent != store
    }


@pytest.fixture
def store(tmp_path, cases, write_store):
    return write_store(tmp_path / "a.zarr", cases)


def test_variables_are_added_and_the_rest_stays(store, cases):
    before = files(store)
    replace_variables(store, FEATURE_VARIABLES, features, {"sdf_surface": "mesh"})
    after = files(store)
    assert {name: after[name] for name in before} == before
    opened = open_dataset(store)
    assert set(FEATURE_VARIABLES) < set(opened.variables)
    for case in cases:
        for name, values in features(case).items():
            np.testing.assert_array_equal(opened[case.case_id].variables[name], values)
    assert opened.attributes["build"]["sdf_surface"] == "mesh"
    training = np.concatenate([case.variables["sdf"] for case in opened.train])
    assert opened.normalization["sdf"].mean == pytest.approx(training.mean(dtype=float))
    assert set(opened.to_xarray().data_vars) > set(FEATURE_VARIABLES)


def test_doing_it_again_changes_no_byte(store):
    replace_variables(store, FEATURE_VARIABLES, features, {})
    before = files(store)
    replace_variables(store, FEATURE_VARIABLES, features, {})
    assert files(store) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_the_store_as_it_was(store, error):
    before, entries = files(store), sorted(store.parent.iterdir())

    def interrupted(case):
        raise error

    with pytest.raises(error):
        replace_variables(store, FEATURE_VARIABLES, interrupted, {})
    assert files(store) == before
    assert sorted(store.parent.iterdir()) == entries


def test_a_full_disk_is_one_line_and_leaves_the_store_as_it_was(store, monkeypatch):
    before, entries = files(store), sorted(store.parent.iterdir())

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lpbf_dataset.store.amend.write_manifest", refuse)
    with pytest.raises(StoreError, match=r"cannot write .*a\.zarr: No space left on device"):
        replace_variables(store, FEATURE_VARIABLES, features, {})
    assert files(store) == before
    assert sorted(store.parent.iterdir()) == entries


def test_cases_of_a_build_under_way_stay(store):
    spool = store.with_name(".a.zarr.cases")
    spool.mkdir()
    (spool / "case.safetensors").touch()
    replace_variables(store, FEATURE_VARIABLES, features, {})
    assert sorted(path.name for path in store.parent.iterdir()) == [".a.zarr.cases", "a.zarr"]
    assert (spool / "case.safetensors").exists()


def test_the_changed_store_is_sound(store):
    (store / "report.html").write_text("a document beside the arrays")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace_variables(store, FEATURE_VARIABLES, features, {})
    assert [problem for problem in verify_store(store, deep=True) if "sdf" in problem.where] == []
    assert (store / "report.html").exists()


def test_values_against_the_schema_are_refused(store):
    with pytest.raises(StoreError, match="'sdf': dtype is float64"):
        replace_variables(store, ("sdf",), lambda case: {"sdf": np.zeros(case.node_count)}, {})
    with pytest.raises(StoreError, match="'sdf': has 1 rows"):
        replace_variables(store, ("sdf",), lambda _: {"sdf": np.zeros(1, np.float32)}, {})


def test_a_copy_on_a_file_system_without_links(store, monkeypatch):
    link = os.link

    def refuse(source, target, **options):
        if store in Path(source).parents:
            raise OSError
        link(source, target, **options)  # Zarr's own

    monkeypatch.setattr(os, "link", refuse)
    replace_variables(store, FEATURE_VARIABLES, features, {})
    assert "sdf" in open_dataset(store).variables


def test_remote_and_missing_stores_are_refused(tmp_path):
    with pytest.raises(StoreError, match="remote"):
        replace_variables("memory://a.zarr", FEATURE_VARIABLES, features, {})
    with pytest.raises(StoreError, match="there is no"):
        replace_variables(tmp_path / "none.zarr", FEATURE_VARIABLES, features, {})


def test_the_copy_shares_no_metadata_with_the_store(store):
    copy = store.with_name("copy.zarr")
    shutil.copytree(store, copy)
    replace_variables(copy, FEATURE_VARIABLES, features, {})
    assert "sdf" not in open_dataset(store).variables
