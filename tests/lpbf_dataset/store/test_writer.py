from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset import Case, open_dataset
from lpbf_dataset.schema import VARIABLES, field_names
from lpbf_dataset.store import assemble
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.replacement import Replacement
from lpbf_dataset.store.writer import StoreWriter

FIELDS = field_names(include_optional=False)
TESTS = Path(__file__).parents[1]


def assert_same_cases(dataset, cases):
    assert dataset.case_ids == tuple(case.case_id for case in cases)
    for read, case in zip(dataset, cases, strict=True):
        assert (read.design_id, read.source) == (case.design_id, case.source)
        assert set(read.variables) == set(dataset.variables)
        for name, values in read.variables.items():
            assert values.dtype == VARIABLES[name].dtype
            np.testing.assert_array_equal(values, case.variables[name])


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=5),
    chunk_rows=st.integers(1, 50),
    chunks_per_shard=st.integers(1, 4),
    codec=st.sampled_from(["none", "lz4", "zstd"]),
)
def test_round_trip_whatever_the_chunks(
    synthetic_case, write_store, sizes, chunk_rows, chunks_per_shard, codec
):
    cases = [synthetic_case(*size, seed=seed) for seed, size in enumerate(sizes)]
    encoding = Encoding(chunk_rows, shard_bytes=12 * chunk_rows * chunks_per_shard, codec=codec)
    with tempfile.TemporaryDirectory() as folder:
        assert_same_cases(open_dataset(write_store(Path(folder) / "a.zarr", cases, encoding)), cases)


def test_optional_fields(tmp_path, synthetic_case):
    cases = [synthetic_case(2, 2, 1, seed=seed, optional=True) for seed in range(3)]
    with StoreWriter(tmp_path / "all.zarr", field_names(include_optional=True)) as writer:
        for case in cases:
            writer.append(case)
        writer.finish({case.case_id: "train" for case in cases}, pd.DataFrame())
    dataset = open_dataset(tmp_path / "all.zarr")
    assert_same_cases(dataset, cases)
    assert dataset.to_xarray().cauchy_stress.attrs["components"] == ["xx", "yy", "zz", "xy", "xz", "yz"]


def test_a_shard_is_one_file(tmp_path, cases, write_store):
    path = write_store(tmp_path / "a.zarr", cases, Encoding(chunk_rows=16, shard_bytes=16 * 12 * 3))
    rows = sum(case.node_count for case in cases)
    assert len([file for file in (path / "points" / "c").rglob("*") if file.is_file()]) == -(-rows // 48)


def test_shards_hold_about_as_much_whatever_the_variable():
    encoding = Encoding()
    for variable in VARIABLES.values():
        rows = encoding.rows_per_shard(variable)
        assert rows % encoding.chunk_rows == 0
        size = rows * np.dtype(variable.dtype).itemsize * int(np.prod(variable.row_shape))
        assert encoding.shard_bytes * 0.9 < size <= encoding.shard_bytes


def test_normalization_is_that_of_the_training_split(store, cases):
    training = cases[0::3]
    dataset = open_dataset(store)
    assert set(dataset.normalization) == {"points", *FIELDS}
    for name, moments in dataset.normalization.items():
        values = np.concatenate([case.variables[name] for case in training]).astype(np.float64)
        assert moments.count == len(values)
        np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-9)
        np.testing.assert_array_equal(moments.min, values.min(axis=0))
        np.testing.assert_array_equal(moments.max, values.max(axis=0))


def test_same_cases_give_the_same_bytes(tmp_path, cases, write_store):
    first = tree(write_store(tmp_path / "a.zarr", cases, build={"seed": 1}))
    second = tree(write_store(tmp_path / "elsewhere" / "b.zarr", cases, build={"seed": 1}))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_no_cases(tmp_path, write_store):
    dataset = open_dataset(write_store(tmp_path / "empty.zarr", []))
    assert len(dataset) == len(dataset.train) == 0
    assert dataset.normalization == {}
    assert len(dataset.catalog()) == 1
    assert dict(dataset.to_xarray().sizes)["node"] == 0


def test_case_without_cells_or_edges(tmp_path, synthetic_case, write_store):
    none = {
        name: np.zeros((0, *v.row_shape), v.dtype)
        for name, v in VARIABLES.items()
        if name in ("cells", "edges")
    }
    nodes = {name: np.ones((1, *VARIABLES[name].row_shape), np.float32) for name in ("points", *FIELDS)}
    cases = [
        Case("nothing", "d", "s", {name: array[:0] for name, array in {**none, **nodes}.items()}),
        Case("dust", "d", "s", {**none, **nodes}),
        synthetic_case(1, 1, 1),
    ]
    assert_same_cases(open_dataset(write_store(tmp_path / "a.zarr", cases)), cases)


def test_unknown_statistics_are_stored_as_such(store):
    row = open_dataset(store).case_table.iloc[0]
    assert row.case_volume == 1.0
    assert np.isnan(row.case_max_z)
    assert row.case_genus == -1


def test_duplicate_case(tmp_path, cases):
    with StoreWriter(tmp_path / "a.zarr", FIELDS) as writer:
        writer.append(cases[0])
        with pytest.raises(StoreError, match=r"case_111_0.*unique"):
            writer.append(cases[0])


@pytest.mark.parametrize("splits", [{}, {"case_111_0": "training"}])
def test_each_case_needs_a_split(tmp_path, cases, splits):
    with StoreWriter(tmp_path / "a.zarr", FIELDS) as writer:
        writer.append(cases[0])
        with pytest.raises(StoreError, match=r"'case_111_0' has split .* train, val, test"):
            writer.finish(splits, pd.DataFrame())
    assert list(tmp_path.iterdir()) == []


def test_catalog_column_that_cannot_be_stored(tmp_path):
    with (
        pytest.raises(StoreError, match="catalog column 'steps'"),
        StoreWriter(tmp_path / "a.zarr", FIELDS) as writer,
    ):
        writer.finish({}, pd.DataFrame({"steps": [[1, 2]]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["append", "shard", "finish", "swap"])
def test_interrupted_build_leaves_the_old_store_alone(
    tmp_path, cases, write_store, monkeypatch, error, place
):
    path = write_store(tmp_path / "a.zarr", cases[:2])
    before = tree(tmp_path)

    def interrupt(*_, **__):
        raise error

    target = {
        "shard": (Moments, "of"),
        "finish": (assemble, "write_catalog"),
        "swap": (Replacement, "commit"),
    }
    with pytest.raises(error), StoreWriter(path, FIELDS) as writer:  # noqa: PT012
        for case in cases:
            writer.append(case)
        if place == "append":
            raise error
        monkeypatch.setattr(*target[place], interrupt)
        writer.finish({case.case_id: "train" for case in cases}, pd.DataFrame())
    assert tree(tmp_path) == before
    assert_same_cases(open_dataset(path), cases[:2])


def test_failed_swap_puts_the_old_store_back(tmp_path, cases, write_store, monkeypatch):
    path = write_store(tmp_path / "a.zarr", cases[:2])
    before = tree(tmp_path)
    rename = Path.rename

    def refuse_the_new(self, target):
        if self.suffix == ".partial":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(KeyboardInterrupt):
        write_store(path, cases)
    assert tree(tmp_path) == before


def test_killed_build_leaves_the_old_store_and_harms_no_later_build(tmp_path, cases, write_store):
    path = write_store(tmp_path / "a.zarr", cases[:2])
    script = """
import runpy, sys, time
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.writer import StoreWriter
case = runpy.run_path(sys.argv[1])["make_case"](6, 6, 6)
with StoreWriter(sys.argv[2], ("displacement",), Encoding(chunk_rows=16, shard_bytes=16)) as writer:
    writer.append(case)
    print("written", flush=True)
    time.sleep(60)
"""
    build = subprocess.Popen(
        [sys.executable, "-c", script, str(TESTS / "conftest.py"), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with build:
        assert build.stdout is not None
        assert build.stdout.readline() == "written\n"
        build.send_signal(signal.SIGKILL)
    assert (tmp_path / ".a.zarr.partial").exists()
    assert_same_cases(open_dataset(path), cases[:2])
    assert_same_cases(open_dataset(write_store(path, cases)), cases)
    assert list(tmp_path.iterdir()) == [path]


def test_replaces_an_older_store_and_leaves_nothing_else(tmp_path, cases, write_store):
    path = write_store(tmp_path / "a", cases[:2])
    write_store(path, cases[2:])
    assert_same_cases(open_dataset(path), cases[2:])
    assert list(tmp_path.iterdir()) == [path]


def test_link_goes_on_to_point_at_the_store(tmp_path, cases, write_store):
    write_store(tmp_path / "real.zarr", cases[:2])
    link = tmp_path / "link.zarr"
    link.symlink_to(tmp_path / "real.zarr")
    write_store(link, cases[2:])
    assert link.is_symlink()
    assert_same_cases(open_dataset(tmp_path / "real.zarr"), cases[2:])


@pytest.mark.parametrize("kind", ["file", "empty folder", "folder", "other zarr"])
def test_refuses_to_replace_anything_else(tmp_path, kind):
    target = tmp_path / "precious"
    if kind == "file":
        target.write_text("data")
    else:
        target.mkdir()
    if kind == "folder":
        (target / "thesis.tex").write_text("data")
    if kind == "other zarr":
        (target / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    before = tree(tmp_path)
    with pytest.raises(StoreError, match="precious exists and is not an LPBF store"):
        StoreWriter(target, FIELDS)
    assert tree(tmp_path) == before


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match=r"cannot write a store at .*(Not a directory|File exists)"),
        StoreWriter(tmp_path / "file" / "a.zarr", FIELDS),
    ):
        pass


def test_failed_write_is_a_store_error(tmp_path, cases, monkeypatch):
    create = assemble.create_array

    def create_and_lose(group, variable, rows, encoding):
        create(group, variable, rows, encoding)
        (tmp_path / ".a.zarr.partial" / variable.name / "zarr.json").unlink()

    monkeypatch.setattr(assemble, "create_array", create_and_lose)
    with (  # noqa: PT012
        pytest.raises(StoreError, match=r"cannot write .*points"),
        StoreWriter(tmp_path / "a.zarr", FIELDS) as writer,
    ):
        writer.append(cases[0])
        writer.finish({cases[0].case_id: "train"}, pd.DataFrame())
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_of_the_same_store_is_refused(tmp_path, cases, write_store):
    path = tmp_path / "a.zarr"
    with (
        StoreWriter(path, FIELDS),
        pytest.raises(StoreError, match=r"another process is writing .*a\.zarr"),
        StoreWriter(path, FIELDS),
    ):
        pass
    assert_same_cases(open_dataset(write_store(path, cases)), cases)


def test_the_store_before_is_put_back_after_a_kill_between_the_renames(tmp_path, cases, write_store):
    path = write_store(tmp_path / "a.zarr", cases[:2])
    path.rename(tmp_path / ".a.zarr.replaced")
    with StoreWriter(path, FIELDS):
        assert_same_cases(open_dataset(path), cases[:2])
    assert list(tmp_path.iterdir()) == [path]


def test_store_has_the_permissions_of_any_new_folder(tmp_path, cases, write_store):
    (tmp_path / "plain").mkdir()
    path = write_store(tmp_path / "a.zarr", cases[:1])
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
