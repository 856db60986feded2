from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from lpbf_dataset import open_dataset
from lpbf_dataset.schema import RAGGED_DIMS
from lpbf_dataset.store.case_rows import SpooledRows, StoredRows, spool_case, spooled_facts
from lpbf_dataset.store.layout import StoreError


@pytest.fixture
def arrays():
    return {
        "displacement": np.arange(30, dtype=np.float32).reshape(10, 3),
        "on_surface": np.arange(10) % 3 == 0,
        "cells": np.arange(80, dtype=np.int32).reshape(10, 8),
    }


class TestSpooled:
    def test_rows_and_facts_come_back(self, tmp_path, arrays):
        path = tmp_path / "case.safetensors"
        facts = {"counts": {"node": 10}, "statistics": {"volume": float("nan"), "max_z": 0.1}, "none": None}
        spool_case(path, arrays, facts)
        rows = pickle.loads(pickle.dumps(SpooledRows(path)))  # noqa: S301
        for name, values in arrays.items():
            np.testing.assert_array_equal(rows.read(name, 0, len(values)), values)
            np.testing.assert_array_equal(rows.read(name, 3, 7), values[3:7])
            assert rows.read(name, 0, 1).dtype == values.dtype
        np.testing.assert_equal(spooled_facts(path), facts)
        assert list(tmp_path.iterdir()) == [path]

    def test_views_are_written_as_they_look(self, tmp_path, arrays):
        view = arrays["displacement"][::2, ::-1]
        spool_case(tmp_path / "case", {"displacement": view}, {})
        np.testing.assert_array_equal(SpooledRows(tmp_path / "case").read("displacement", 0, 5), view)

    def test_facts_without_rows(self, tmp_path):
        spool_case(tmp_path / "case", {}, {"reason": "Düse"})
        assert spooled_facts(tmp_path / "case") == {"reason": "Düse"}

    def test_one_file_takes_the_place_of_another(self, tmp_path, arrays):
        spool_case(tmp_path / "case", {}, {"n": 1})
        spool_case(tmp_path / "case", arrays, {"n": 2})
        assert spooled_facts(tmp_path / "case") == {"n": 2}

    @pytest.mark.parametrize("length", [0, 7, 8, 50, 200, -1])
    def test_a_file_that_is_cut_off_is_none(self, tmp_path, arrays, length):
        path = tmp_path / "case"
        spool_case(path, arrays, {"n": 1})
        path.write_bytes(path.read_bytes()[:length])
        assert spooled_facts(path) is None

    def test_none_is_none(self, tmp_path):
        assert spooled_facts(tmp_path / "case") is None

    def test_a_failure_leaves_nothing(self, tmp_path, arrays):
        (tmp_path / "case").mkdir()
        with pytest.raises(StoreError, match="cannot write") as caught:
            spool_case(tmp_path / "case", arrays, {})
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["case"]

    def test_rows_that_are_gone(self, tmp_path):
        with pytest.raises(StoreError, match="remove it and build again"):
            SpooledRows(tmp_path / "case").read("points", 0, 1)


class TestStored:
    def rows(self, path, case_id):
        table = open_dataset(path).case_table.loc[case_id]
        stamp = (path / "zarr.json").stat().st_mtime_ns
        return StoredRows(path, stamp, {dim: int(table[f"{dim}_offset"]) for dim in RAGGED_DIMS})

    def test_rows_of_a_case(self, store, cases):
        for case in cases:
            rows = pickle.loads(pickle.dumps(self.rows(store, case.case_id)))  # noqa: S301
            for name in ("points", "cells", "edges", "temperature"):
                values = case.variables[name]
                np.testing.assert_array_equal(rows.read(name, 0, len(values)), values)
                np.testing.assert_array_equal(rows.read(name, 1, len(values)), values[1:])

    def test_another_store_at_the_same_place(self, tmp_path, write_store, cases):
        path = write_store(tmp_path / "s.zarr", cases[:2])
        self.rows(path, cases[0].case_id).read("points", 0, 4)
        shutil.rmtree(path)
        write_store(path, cases[3:4])
        found = self.rows(path, cases[3].case_id).read("points", 0, 9)
        np.testing.assert_array_equal(found, cases[3].points[:9])
