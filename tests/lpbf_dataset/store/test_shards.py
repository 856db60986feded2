from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset.schema import VARIABLES
from lpbf_dataset.store.case_rows import SpooledRows
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.shards import create_array, plan_shards, write_shard

TINY = Encoding(chunk_rows=4, shard_bytes=4 * 12 * 2)
"""Shards of eight vectors, in two chunks."""


@dataclass(frozen=True)
class Numbers:
    """Rows that tell which they are."""

    first: int

    def read(self, name, start, stop):
        rows = self.first + np.arange(start, stop, dtype=np.float32)
        return np.repeat(rows[:, None], 3, axis=1) if VARIABLES[name].component else rows


@pytest.fixture
def tree():
    """Return a function that reads every file of a folder."""

    def read(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


def write_all(folder, counts, training, order=lambda shards: shards):
    variable = VARIABLES["displacement"]
    folder.mkdir(parents=True, exist_ok=True)
    create_array(zarr.create_group(folder), variable, sum(counts), TINY)
    offsets = np.cumsum(counts) - counts
    cases = [
        (Numbers(int(offset)), count, train)
        for offset, count, train in zip(offsets, counts, training, strict=True)
    ]
    shards = list(plan_shards(folder, variable, cases, TINY))
    moments = {shard.start: write_shard(shard) for shard in order(shards)}
    return shards, [moments[start] for start in sorted(moments)]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=8))
@settings(max_examples=40, deadline=None)
def test_the_plan_covers_every_row_once(cases):
    rows = [(Numbers(0), count, train) for count, train in cases]
    shards = list(plan_shards(None, VARIABLES["displacement"], rows, TINY))
    sizes = [sum(piece.stop - piece.start for piece in shard.pieces) for shard in shards]
    total = sum(count for count, _ in cases)
    assert sum(sizes) == total
    assert all(size == 8 for size in sizes[:-1])
    assert [shard.start for shard in shards] == [8 * i for i in range(math.ceil(total / 8))]
    for shard in shards:
        assert all(piece.start < piece.stop for piece in shard.pieces)


def test_rows_lie_in_the_order_of_the_cases(tmp_path):
    shards, _ = write_all(tmp_path / "s", [3, 0, 10, 1, 9], [True] * 5)
    assert len(shards) == 3
    stored = zarr.open_array(tmp_path / "s" / "displacement", mode="r")[:]
    np.testing.assert_array_equal(stored[:, 0], np.arange(23))
    assert len([path for path in (tmp_path / "s" / "displacement" / "c").rglob("*") if path.is_file()]) == 3


def test_any_order_of_writing_gives_the_same_bytes(tmp_path, tree):
    write_all(tmp_path / "s", [3, 20, 1], [True] * 3)
    write_all(tmp_path / "t", [3, 20, 1], [True] * 3, order=reversed)
    assert tree(tmp_path / "s") == tree(tmp_path / "t")


def test_moments_are_those_of_training_cases(tmp_path):
    _, moments = write_all(tmp_path / "s", [3, 10, 9], [True, False, True])
    merged = moments[0].merge(moments[1]).merge(moments[2])
    of_training = np.repeat(np.r_[0:3, 13:22][:, None], 3, axis=1).astype(np.float32)
    expected = Moments.of(of_training)
    assert merged.count == expected.count == 12
    np.testing.assert_allclose(merged.mean, expected.mean)
    np.testing.assert_allclose(merged.std, expected.std)
    _, none = write_all(tmp_path / "t", [3], [False])
    assert none == [None]


def test_no_rows_no_shards(tmp_path):
    shards, _ = write_all(tmp_path / "s", [0, 0], [True, True])
    assert shards == []
    assert zarr.open_array(tmp_path / "s" / "displacement", mode="r").shape == (0, 3)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_codecs(tmp_path, codec):
    encoding = Encoding(chunk_rows=4, shard_bytes=100, codec=codec)
    create_array(zarr.create_group(tmp_path / "s"), VARIABLES["temperature"], 9, encoding)
    for shard in plan_shards(tmp_path / "s", VARIABLES["temperature"], [(Numbers(0), 9, False)], encoding):
        write_shard(shard)
    stored = zarr.open_array(tmp_path / "s" / "temperature", mode="r")
    np.testing.assert_array_equal(stored[:], np.arange(9))
    assert stored.metadata.dimension_names == ("node",)


def test_rows_that_cannot_be_read(tmp_path):
    variable = VARIABLES["temperature"]
    create_array(zarr.create_group(tmp_path / "s"), variable, 9, TINY)
    shards = plan_shards(tmp_path / "s", variable, [(SpooledRows(tmp_path / "gone"), 9, False)], TINY)
    with pytest.raises(StoreError, match=r"cannot read .*gone"):
        write_shard(next(shards))


def test_a_shard_that_cannot_be_written(tmp_path):
    variable = VARIABLES["temperature"]
    create_array(zarr.create_group(tmp_path / "s"), variable, 9, TINY)
    (tmp_path / "s" / "temperature" / "c").write_text("in the way")
    (shard, *_) = plan_shards(tmp_path / "s", variable, [(Numbers(0), 9, False)], TINY)
    with pytest.raises(StoreError, match=r"cannot write .*temperature") as caught:
        write_shard(shard)
    assert "\n" not in str(caught.value)
