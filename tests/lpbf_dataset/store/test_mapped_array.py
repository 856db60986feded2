from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from zarr.codecs import BloscCodec, GzipCodec

from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.mapped_array import MappedArray

ROWS = 100
INDEX_BYTES = 4 * 16 + 4
"""Four chunks to a shard, and a checksum."""


def write(folder, values, compressors="lz4", **options):
    """Write an array in shards of four chunks of eight rows, and open it."""
    array = zarr.create_array(
        folder,
        data=values,
        chunks=options.pop("chunks", (8, *values.shape[1:])),
        shards=options.pop("shards", (32, *values.shape[1:])),
        compressors=BloscCodec(cname="lz4", shuffle="shuffle") if compressors == "lz4" else compressors,
        fill_value=options.pop("fill_value", 0),
        config={"write_empty_chunks": options.pop("write_empty_chunks", True)},
        **options,
    )
    return MappedArray(array, folder)


def make_values(dtype, row_shape=(3,)):
    random = np.random.default_rng(0)
    return random.integers(0, 2 if dtype == "bool" else 100, (ROWS, *row_shape)).astype(dtype)


@pytest.mark.parametrize("compressors", [None, "lz4", BloscCodec(cname="zstd", shuffle="bitshuffle")])
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "float64", "int64"])
@pytest.mark.parametrize("row_shape", [(), (3,), (2, 2)])
def test_reads_what_was_written(tmp_path, dtype, row_shape, compressors):
    values = make_values(dtype, row_shape)
    read = write(tmp_path / "a", values, compressors).read(0, ROWS)
    assert read.dtype == values.dtype
    assert_array_equal(read, values)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mapped") / "a", make_values("float32"))


@given(st.integers(0, ROWS), st.integers(0, ROWS))
@settings(max_examples=200, deadline=None)
def test_reads_any_rows(mapped, one, other):
    start, stop = sorted((one, other))
    assert_array_equal(mapped.read(start, stop), make_values("float32")[start:stop])


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": [GzipCodec()]},
        {"compressors": [BloscCodec(), GzipCodec()]},
        {"shards": None},
        {"chunks": (8, 1)},
        {"shards": (32, 6), "chunks": (8, 6)},
        {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    ],
)
def test_leaves_other_encodings_to_others(tmp_path, options):
    with pytest.raises(NotImplementedError):
        write(tmp_path / "a", make_values("float32"), **options)


def spoil(shard, where, contents):
    """Overwrite some bytes of a shard, counted from its end where negative."""
    old = bytearray(shard.read_bytes())
    where %= len(old)
    old[where : where + len(contents)] = contents
    shard.write_bytes(old)


@pytest.mark.parametrize("compressors", [None, "lz4"])
class TestDamage:
    @pytest.fixture
    def array(self, tmp_path, compressors):
        return write(tmp_path / "a", make_values("float32"), compressors)

    @pytest.fixture
    def shard(self, array, tmp_path):
        return tmp_path / "a" / "c" / "1" / "0"

    def test_says_which_file_is_missing(self, array, shard):
        shard.unlink()
        with pytest.raises(StoreError, match=r"a/c/1/0.*No such file"):
            array.read(30, 34)
        assert len(array.read(0, 32)) == 32

    @pytest.mark.parametrize("length", [0, 1, INDEX_BYTES - 1])
    def test_a_file_shorter_than_its_index(self, array, shard, length):
        shard.write_bytes(shard.read_bytes()[:length])
        with pytest.raises(StoreError, match=r"a/c/1/0.*(empty|cut short)"):
            array.read(32, 33)

    @pytest.mark.parametrize("where", [-1, -5, -INDEX_BYTES])
    def test_a_flipped_bit_in_the_index(self, array, shard, where):
        spoil(shard, where, bytes([shard.read_bytes()[where] ^ 1]))
        with pytest.raises(StoreError, match=r"a/c/1/0 is damaged: its index has another checksum"):
            array.read(32, 33)

    def test_a_file_that_lost_its_beginning(self, array, shard):
        shard.write_bytes(shard.read_bytes()[-INDEX_BYTES:])
        with pytest.raises(StoreError, match=r"chunk 0 of .*a/c/1/0 is damaged"):
            array.read(32, 33)


@pytest.mark.parametrize(("field", "value"), [(4, 1), (4, 2**31 - 1), (8, 0), (12, 8), (12, 2**31 - 1)])
def test_sizes_in_a_chunk_that_lie(tmp_path, field, value):
    array = write(tmp_path / "a", make_values("float32"))
    spoil(tmp_path / "a" / "c" / "0" / "0", field, struct.pack("<I", value))
    with pytest.raises(StoreError, match=r"chunk 0 of .*a/c/0/0 is damaged"):
        array.read(0, 8)


@given(st.integers(0, 80), st.binary(min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_random_damage_gives_numbers_or_an_error(tmp_path_factory, where, contents):
    folder = tmp_path_factory.mktemp("damage") / "a"
    array = write(folder, make_values("float32"))
    spoil(folder / "c" / "0" / "0", where, contents)
    with suppress(StoreError):
        assert array.read(0, 8).shape == (8, 3)


def test_a_chunk_that_was_never_written(tmp_path):
    values = make_values("float32")
    values[8:16] = 0
    array = write(tmp_path / "a", values, write_empty_chunks=False)
    assert_array_equal(array.read(0, 8), values[:8])
    with pytest.raises(StoreError, match=r"chunk 1 of .*a/c/0/0 was never written"):
        array.read(0, 9)
