from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import warnings

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr

from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.schema import MESH_VARIABLES, RAGGED_DIMS, VARIABLES
from lpbf_dataset.store import ragged_reader
from lpbf_dataset.store.ragged_reader import ZarrReader


@pytest.fixture
def dataset(store):
    return open_dataset(store)


@pytest.fixture
def damaged(store, tmp_path):
    """A copy of the store to spoil."""
    return shutil.copytree(store, tmp_path / "damaged.zarr")


def edit_root(path, edit):
    file = path / "zarr.json"
    metadata = json.loads(file.read_text())
    edit(metadata)
    file.write_text(json.dumps(metadata))


def assert_same_case(read, case):
    assert read.case_id == case.case_id
    for name, values in read.variables.items():
        np.testing.assert_array_equal(values, case.variables[name])


def test_indexing(dataset, cases):
    assert len(dataset) == 7
    assert_same_case(dataset[2], cases[2])
    assert_same_case(dataset[-1], cases[-1])
    assert_same_case(dataset[np.int64(3)], cases[3])
    assert_same_case(dataset["Düse_部品_7"], cases[2])
    assert [case.case_id for case in dataset] == [case.case_id for case in cases] == list(dataset.case_ids)
    assert [case.case_id for case in dataset[1:6:2]] == [case.case_id for case in cases[1:6:2]]


def test_case_carries_split_and_statistics(dataset):
    case = dataset[1]
    assert case.split == "val"
    assert case.statistics["nodes"] == 24
    assert type(case.statistics["nodes"]) is int
    assert case.statistics["volume"] == 6.0


@pytest.mark.parametrize("position", [7, -8, 100])
def test_index_out_of_range(dataset, position):
    with pytest.raises(IndexError, match="of 7"):
        dataset[position]


def test_unknown_case_names_the_nearest(dataset):
    assert "case_321_9" not in dataset
    with pytest.raises(KeyError, match=r"case_321_9.*nearest: case_321_1"):
        dataset["case_321_9"]


def test_case_of_another_split_says_which(dataset):
    with pytest.raises(KeyError, match="it is a val case"):
        dataset.train["case_321_1"]


def test_views_divide_the_cases(dataset):
    assert [len(view) for view in (dataset.train, dataset.val, dataset.test)] == [3, 2, 2]
    assert {*dataset.train.case_ids, *dataset.val.case_ids, *dataset.test.case_ids} == set(dataset.case_ids)
    assert all(case.split == "val" for case in dataset.val)
    assert dataset.train.val.case_ids == ()
    assert "case_321_1" in dataset.val
    assert 3 not in dataset
    with pytest.raises(ValueError, match="no split named 'testing'"):
        dataset.split("testing")


def test_read_some_variables(dataset, cases):
    case = dataset.read("case_543_3", ("displacement",))
    assert list(case.variables) == ["displacement"]
    assert_same_case(case, cases[3])


def test_read_a_variable_the_store_lacks(dataset):
    with pytest.raises(StoreError, match=r"no variable 'cauchy_stress'; it has points"):
        dataset.read(0, ("cauchy_stress",))


def test_arrays_are_the_caller_s_own(dataset, cases):
    case = dataset[0]
    case.displacement[:] = 0
    assert_same_case(dataset[0], cases[0])


def test_case_table(dataset, cases):
    table = dataset.val.case_table
    assert list(table.index) == [cases[1].case_id, cases[4].case_id]
    assert list(table.split) == ["val", "val"]
    assert list(table.node_count) == [cases[1].node_count, cases[4].node_count]


def test_catalog(dataset, cases):
    catalog = dataset.catalog()
    assert list(catalog.columns) == ["case_id", "status", "nodes", "volume"]
    assert list(catalog.status) == ["kept"] * 7 + ["rejected"]
    assert list(catalog.nodes) == [*(case.node_count for case in cases), -1]
    assert np.isnan(catalog.volume.iloc[-1])


def test_attributes(dataset):
    assert dataset.attributes["layout"] == "lpbf-dataset"
    assert dataset.attributes["licence"] == "CC0"
    assert dataset.attributes["producer"]["name"] == "lpbf-toolkit"


def test_xarray_opens_all_of_it_without_a_warning(store, cases):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labelled = xr.open_zarr(store)
        catalog = xr.open_zarr(store, group="catalog")
    assert list(labelled.case_id.values) == [case.case_id for case in cases]
    for name, variable in VARIABLES.items():
        if name in labelled:
            assert labelled[name].dims == variable.dims
            assert labelled[name].attrs["units"] == variable.units
            assert labelled[name].attrs["long_name"] == variable.long_name
    for dim in RAGGED_DIMS:
        counts, offsets = labelled[f"{dim}_count"], labelled[f"{dim}_offset"]
        assert counts.attrs["sample_dimension"] == dim
        assert list(offsets.values) == [0, *np.cumsum(counts.values)[:-1]]
        assert labelled.sizes[dim] == counts.sum()
    assert catalog.status.dims == ("entry",)
    assert list(catalog.status.values)[-1] == "rejected"
    assert catalog.nodes.attrs["long_name"] == "number of nodes"


def test_dask_reduces_over_every_node(dataset, cases):
    displacement = np.concatenate([case.displacement for case in cases])
    mean = dataset.to_xarray().displacement.mean("node").compute()
    np.testing.assert_allclose(mean, displacement.mean(axis=0), rtol=1e-5)


def test_plain_zarr_reads_a_case(store, cases):
    group = zarr.open_group(store, mode="r")
    start, count = group["node_offset"][3], group["node_count"][3]
    np.testing.assert_array_equal(group["points"][start : start + count], cases[3].points)


@pytest.mark.parametrize("read_before", [False, True])
def test_pickle(dataset, cases, read_before):
    if read_before:
        _ = dataset[0]
    copy = pickle.loads(pickle.dumps(dataset[2:]))  # noqa: S301
    assert_same_case(copy[1], cases[3])


def test_spawned_worker(dataset, cases):
    _ = dataset[0]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert_same_case(pool.map(dataset.__getitem__, [3])[0], cases[3])


def test_forked_child_of_a_process_that_has_read_cases(store):
    # In a process of its own, because pytest's has threads.
    script = """
import os, sys
import numpy as np
from lpbf_dataset import open_dataset
dataset = open_dataset(sys.argv[1])
before = dataset[3]
child = os.fork()
if child == 0:
    after = dataset[3]
    same = all(np.array_equal(before.variables[name], after.variables[name]) for name in dataset.variables)
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", script, str(store)], check=True, timeout=60)


def test_zarr_fallback_agrees(store, cases, monkeypatch):
    monkeypatch.setattr(ragged_reader, "MappedReader", ZarrReader)
    for read, case in zip(open_dataset(store), cases, strict=True):
        assert_same_case(read, case)


def test_fsspec_url(store, cases):
    memory = fsspec.filesystem("memory")
    memory.put(str(store), "/bucket/store.zarr", recursive=True)
    try:
        dataset = open_dataset("memory://bucket/store.zarr")
        assert_same_case(dataset[3], cases[3])
        assert_same_case(pickle.loads(pickle.dumps(dataset))[4], cases[4])  # noqa: S301
        assert len(dataset.catalog()) == 8
    finally:
        memory.rm("/bucket", recursive=True)


def test_file_url_and_relative_path(store, cases, monkeypatch):
    assert_same_case(open_dataset(store.as_uri())[0], cases[0])
    monkeypatch.chdir(store.parent)
    dataset = open_dataset(store.name)
    monkeypatch.chdir("/")
    assert_same_case(dataset[0], cases[0])


def test_nothing_there(tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*none\.zarr"):
        open_dataset(tmp_path / "none.zarr")
    with pytest.raises(StoreError, match="no Zarr store at memory://none"):
        open_dataset("memory://none")


def test_unknown_protocol():
    with pytest.raises(StoreError, match="cannot open gopher://a/b"):
        open_dataset("gopher://a/b")


@pytest.mark.parametrize("content", [None, "", "{", '{"zarr_format": 3, "node_type": "array"}'])
def test_not_a_store(tmp_path, content):
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match=str(tmp_path)):
        open_dataset(tmp_path)


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "mesh.vtu").write_text("")
    with pytest.raises(StoreError, match=r"mesh\.vtu"):
        open_dataset(tmp_path / "mesh.vtu")


def test_other_zarr_group(tmp_path):
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="not an LPBF store"):
        open_dataset(tmp_path / "other.zarr")


def test_newer_layout(damaged):
    edit_root(damaged, lambda metadata: metadata["attributes"].update(layout_version=2))
    with pytest.raises(StoreError, match="layout version 2; upgrade lpbf_dataset"):
        open_dataset(damaged)


@pytest.mark.parametrize("name", [*MESH_VARIABLES, "node_offset", "split"])
def test_missing_array(damaged, name):
    edit_root(damaged, lambda metadata: metadata["consolidated_metadata"]["metadata"].pop(name))
    with pytest.raises(StoreError, match=f"no array '{name}'"):
        open_dataset(damaged)


def test_a_store_from_before_a_statistic_was_known(damaged):
    edit_root(damaged, lambda metadata: metadata["consolidated_metadata"]["metadata"].pop("case_volume"))
    opened = open_dataset(damaged)
    assert "volume" not in opened[0].statistics
    assert "nodes" in opened[0].statistics


@pytest.mark.parametrize("name", ["node_offset", "cell_count"])
def test_missing_table_column(damaged, name):
    shutil.rmtree(damaged / name)
    with pytest.raises(StoreError, match=f"{name}.* disagree"):
        open_dataset(damaged)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("spoil", ["array", "shard", "truncated"])
def test_damage_is_reported_not_read_as_numbers(damaged, monkeypatch, spoil, fallback):
    if fallback:
        monkeypatch.setattr(ragged_reader, "MappedReader", ZarrReader)
    shard = damaged / "points" / "c" / "0" / "0"
    if spoil == "array":
        shutil.rmtree(damaged / "points")
    elif spoil == "shard":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-10])
    dataset = open_dataset(damaged)
    with pytest.raises(StoreError, match=r"cannot read .*damaged\.zarr"):
        dataset[0]
