"""Arrays are read as zarr reads them, and crafted chunks are refused before they take memory."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import zarr
from numcodecs import blosc, zstd
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from lpbf_dataset.store.filesystem import connect
from lpbf_dataset.store.layout import StoreError
from pipelines.comparison.bounded_chunks import ChunkError, read_bounded

COMPRESSORS = {
    "none": None,
    "zstd": ZstdCodec(),
    "gzip": GzipCodec(),
    "blosc": BloscCodec(),
    "checksum": (Crc32cCodec(),),
    "all": (BloscCodec(), Crc32cCodec(), ZstdCodec()),
}
MEBIBYTE = 2**20


def write(path, values, **options):
    return zarr.create_array(path, data=values, **options)


def read(array, path, max_chunk_bytes=MEBIBYTE):
    return read_bounded(array, *connect(str(path)), max_chunk_bytes)


@pytest.mark.parametrize("compressors", COMPRESSORS.values(), ids=COMPRESSORS)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "bool", "<f2"])
def test_what_zarr_writes_is_read_as_zarr_reads_it(tmp_path, compressors, dtype):
    values = np.random.default_rng(0).normal(size=(23, 3)).astype(dtype)
    endian = "big" if dtype.startswith(">") else "little"
    options = {"compressors": compressors, "serializer": BytesCodec(endian=endian)}
    array = write(tmp_path / "a", values, chunks=(5, 2), **options)
    np.testing.assert_array_equal(read(array, tmp_path / "a"), array[...])
    np.testing.assert_array_equal(read(array, tmp_path / "a"), values)


def test_chunks_that_are_not_written_hold_the_fill_value(tmp_path):
    array = zarr.create_array(tmp_path / "a", shape=(10,), chunks=(4,), dtype="f4", fill_value=7)
    array[:4] = 1
    np.testing.assert_array_equal(read(array, tmp_path / "a"), [1] * 4 + [7] * 6)


def test_a_remote_array(tmp_path):
    values = np.arange(10.0)
    array = write("memory://bounded/a", values, chunks=(3,))
    np.testing.assert_array_equal(read_bounded(array, *connect("memory://bounded/a"), MEBIBYTE), values)


BOMBS = {
    "zstd": zstd.compress,
    "gzip": gzip.compress,
    "blosc": lambda contents: blosc.compress(contents, b"zstd", 5),
}


@pytest.mark.parametrize("compressor", BOMBS)
def test_a_chunk_that_swells_is_refused_before_it_does(tmp_path, compressor):
    array = write(tmp_path / "a", np.arange(10_000.0), chunks=10_000, compressors=COMPRESSORS[compressor])
    bomb = BOMBS[compressor](bytes(64 * MEBIBYTE))
    assert len(bomb) < 80_000
    (tmp_path / "a" / "c" / "0").write_bytes(bomb)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    with pytest.raises(ChunkError, match=r"c/0 is damaged: it(s header tells of| holds) more"):
        read(array, tmp_path / "a")
    assert tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before < MEBIBYTE
    tracemalloc.stop()


def test_a_huge_file_is_not_read(tmp_path):
    array = write(tmp_path / "a", np.arange(100.0), chunks=(100,))
    with (tmp_path / "a" / "c" / "0").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ChunkError, match="a chunk of 800 bytes takes more than 4946"):
        read(array, tmp_path / "a")


def test_chunks_larger_than_allowed_are_not_read(tmp_path):
    array = write(tmp_path / "a", np.arange(100.0), chunks=(100,))
    with pytest.raises(ChunkError, match="chunks of 800 bytes; at most 799 are read"):
        read(array, tmp_path / "a", 799)


@pytest.mark.parametrize("compressor", ["none", "zstd", "gzip", "blosc", "checksum"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda chunk: b"",
        lambda chunk: chunk[:2],
        lambda chunk: chunk[:-9],
        lambda chunk: b"damaged" * 10,
        lambda chunk: chunk[:4] + struct.pack("<I", 2**31 - 1) + chunk[8:-1],
    ],
)
def test_a_damaged_chunk_is_one_line(tmp_path, compressor, spoil):
    path = tmp_path / "a" / "c" / "0"
    array = write(tmp_path / "a", np.arange(100.0), chunks=(100,), compressors=COMPRESSORS[compressor])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ChunkError, match="chunk c/0 is damaged") as raised:
        read(array, tmp_path / "a")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": (100,), "chunks": (10,)}, "encoded by sharding_indexed; only chunks without shards"),
        ({"filters": (TransposeCodec(order=(0,)),)}, "encoded by transpose; only"),
    ],
)
def test_other_codecs_are_refused(tmp_path, options, message):
    array = write(tmp_path / "a", np.arange(100.0), **options)
    with pytest.raises(ChunkError, match=message):
        read(array, tmp_path / "a")


def test_a_chunk_that_is_a_folder(tmp_path):
    array = write(tmp_path / "a", np.arange(100.0), chunks=(100,))
    (tmp_path / "a" / "c" / "0").unlink()
    (tmp_path / "a" / "c" / "0").mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        read(array, tmp_path / "a")
