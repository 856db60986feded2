from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import lpbf_dataset
from lpbf_dataset import open_dataset
from lpbf_dataset.engine import SerialEngine, TaskError
from lpbf_dataset.schema import field_names
from lpbf_dataset.store.assemble import assemble
from lpbf_dataset.store.case_rows import SpooledRows, spool_case
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.tables import Member
from lpbf_dataset.store.validate import check_case

FIELDS = field_names(include_optional=False)
SMALL = Encoding(chunk_rows=8, shard_bytes=8 * 12 * 2)


class Reversed:
    """Runs tasks in the opposite order."""

    def map(self, function, items):
        for index in reversed(range(len(items))):
            yield index, function(items[index])


class Unlucky:
    """Loses every second task, as if its process had been killed."""

    def map(self, function, items):
        for index, item in enumerate(items):
            yield index, function(item) if index % 2 else TaskError("worker_died", "it was killed twice")


@pytest.fixture
def members(cases, tmp_path):
    """Return the cases as they lie ready."""
    found = []
    for case in cases:
        path = tmp_path / f"{len(found)}.safetensors"
        spool_case(path, case.variables, {})
        found.append(
            Member(
                case.case_id,
                case.design_id,
                case.source,
                check_case(case, FIELDS),
                SpooledRows(path),
                dict(case.statistics),
                np.arange(3.0) + len(found),
            )
        )
    return found


def put_together(folder, members, splits=None, engine=None, **attributes):
    splits = splits or {member.case_id: "train" if i % 2 else "test" for i, member in enumerate(members)}
    catalog = pd.DataFrame({"case_id": [member.case_id for member in members]})
    assemble(folder, members, FIELDS, splits, catalog, attributes, SMALL, engine)
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_went_in_comes_out(tmp_path, members, cases):
    put_together(tmp_path / "s.zarr", members, licence="CC0")
    store = open_dataset(tmp_path / "s.zarr")
    assert store.case_ids == tuple(case.case_id for case in cases)
    for case in cases:
        for name in (*FIELDS, "points", "cells", "edges"):
            np.testing.assert_array_equal(store[case.case_id].variables[name], case.variables[name])
    assert store.attributes["licence"] == "CC0"
    assert store.attributes["producer"] == {"name": "lpbf-toolkit", "version": lpbf_dataset.__version__}
    assert store.shape_descriptors()[cases[2].case_id].tolist() == [2, 3, 4]


def test_normalization_is_that_of_the_training_cases(tmp_path, members, cases):
    put_together(tmp_path / "s.zarr", members)
    values = np.concatenate([case.displacement for case in cases[1::2]]).astype(float)
    found = open_dataset(tmp_path / "s.zarr").normalization["displacement"]
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.std, values.std(axis=0))


@pytest.mark.parametrize("engine", [Reversed(), Unlucky()])
def test_whoever_writes_the_shards_the_bytes_are_the_same(tmp_path, members, engine):
    expected = put_together(tmp_path / "expected.zarr", members, engine=SerialEngine())
    assert put_together(tmp_path / "s.zarr", members, engine=engine) == expected


@pytest.mark.parametrize("splits", [{}, {"case_111_0": "holdout"}])
def test_each_case_needs_a_split(tmp_path, members, splits):
    splits = {member.case_id: "train" for member in members[1:]} | splits
    with pytest.raises(StoreError, match=r"case 'case_111_0' has split .* needs one of train, val, test"):
        put_together(tmp_path / "s.zarr", members, splits)


def test_no_warning_of_consolidated_metadata(tmp_path, members):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put_together(tmp_path / "s.zarr", members)
        opened = xr.open_zarr(tmp_path / "s.zarr")
    assert opened.sizes["case"] == len(members)
    assert zarr.open_group(tmp_path / "s.zarr", mode="r").metadata.consolidated_metadata is not None
