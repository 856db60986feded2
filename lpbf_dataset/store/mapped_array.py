"""Reading rows of an array straight from its files, mapped into memory.

Understands what `lpbf_dataset.store.shards` writes and nothing else: rows in chunks, compressed by Blosc or
not, and chunks in shards with an index at their end.  That takes a tenth of the time of zarr-python
(``benchmarks/random_access.py``), no threads, and nothing that a forked process could not go on using.

The format is that of the Zarr sharding codec, zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed,
and of c-blosc 1, README_CHUNK_FORMAT.rst in its repository.
"""

from __future__ import annotations

import mmap
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from google_crc32c import value as crc32c
from numcodecs.blosc import decompress
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    Endian,
    ShardingCodec,
    ShardingCodecIndexLocation,
)
from zarr.core.chunk_grids import RegularChunkGrid
from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding
from zarr.core.metadata import ArrayV3Metadata

from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

_CHECKSUM_BYTES = 4
_NOT_WRITTEN = 2**64 - 1
_BLOSC_SIZES = struct.Struct("<4xI4xI")
"""Bytes of a Blosc buffer once decompressed and as they are, in its header of 16 bytes."""


class _Shard(NamedTuple):
    contents: memoryview
    places: list[tuple[int, int]]
    """Offset and length of each chunk."""


class MappedArray:
    """Rows of an array in a local folder.

    Parameters
    ----------
    array : zarr.Array
        Its metadata.
    folder : Path
        Its folder, whose files must not change any more.

    Raises
    ------
    NotImplementedError
        If the array is encoded in another way than ours.
    """

    def __init__(self, array: zarr.Array[Any], folder: Path) -> None:
        sharding, shard_shape = _encoding(array.metadata)
        self._folder = folder
        self._dtype = np.dtype(array.dtype)
        self._row_shape = array.shape[1:]
        self._chunk_rows = sharding.chunk_shape[0]
        self._chunks_per_shard = shard_shape[0] // self._chunk_rows
        self._compressed = len(sharding.codecs) > 1
        self._shards: dict[int, _Shard] = {}

    def read(self, start: int, stop: int) -> NDArray[np.generic]:
        """Read rows.

        Parameters
        ----------
        start, stop : int
            The first row and the one after the last.

        Returns
        -------
        (stop - start, ...) ndarray

        Raises
        ------
        StoreError
            If a file is missing or damaged.
        """
        values = np.empty((stop - start, *self._row_shape), self._dtype)
        rows = self._chunk_rows
        for chunk in range(start // rows, -(-stop // rows)):
            first = chunk * rows
            begin, end = max(start, first), min(stop, first + rows)
            wanted = values[begin - start : end - start]
            if end - begin == rows:
                self._decode(chunk, wanted)
            else:
                whole = np.empty((rows, *self._row_shape), self._dtype)
                self._decode(chunk, whole)
                wanted[:] = whole[begin - first : end - first]
        return values

    def _decode(self, chunk: int, values: NDArray[np.generic]) -> None:
        """Fill an array of the rows of a chunk."""
        number, index = divmod(chunk, self._chunks_per_shard)
        shard = self._shards.get(number) or self._open(number)
        offset, length = shard.places[index]
        if offset == length == _NOT_WRITTEN:
            raise StoreError(f"chunk {index} of {self._path(number)} was never written")
        contents = shard.contents[offset : offset + length]
        try:
            if self._compressed:
                _decompress(contents, values)
            else:
                values[:] = np.frombuffer(contents, self._dtype).reshape(values.shape)
        except (ValueError, RuntimeError, struct.error) as error:
            raise StoreError(f"chunk {index} of {self._path(number)} is damaged: {error}") from error

    def _open(self, number: int) -> _Shard:
        path = self._path(number)
        try:
            with path.open("rb") as file:
                contents = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {error}") from error
        entries = 2 * self._chunks_per_shard
        index = contents[-8 * entries - _CHECKSUM_BYTES :]
        if len(index) != 8 * entries + _CHECKSUM_BYTES:
            raise StoreError(f"{path} is cut short")
        checksum = int.from_bytes(index[-_CHECKSUM_BYTES:], "little")
        if crc32c(bytes(index[:-_CHECKSUM_BYTES])) != checksum:
            raise StoreError(f"{path} is damaged: its index has another checksum")
        numbers = np.frombuffer(index, "<u8", entries).tolist()
        shard = _Shard(contents, list(zip(numbers[::2], numbers[1::2], strict=True)))
        self._shards[number] = shard
        return shard

    def _path(self, number: int) -> Path:
        return self._folder.joinpath("c", str(number), *("0" for _ in self._row_shape))


def _decompress(contents: memoryview, values: NDArray[np.generic]) -> None:
    """Fill an array; raise an error if `contents` is not its Blosc buffer."""
    # c-blosc trusts its header.
    if (sizes := _BLOSC_SIZES.unpack_from(contents)) != (values.nbytes, len(contents)):
        raise ValueError(f"its header speaks of {sizes[1]} bytes that hold {sizes[0]}")
    decompress(contents, values)


def _encoding(metadata: object) -> tuple[ShardingCodec, tuple[int, ...]]:
    """Return how shards are encoded, and their shape, if it is how ours are."""
    match metadata:
        case ArrayV3Metadata(
            shape=shape,
            chunk_grid=RegularChunkGrid(chunk_shape=shard_shape),
            chunk_key_encoding=DefaultChunkKeyEncoding(separator="/"),
            codecs=(
                ShardingCodec(
                    chunk_shape=chunk_shape,
                    codecs=(BytesCodec(endian=Endian.little | None),)
                    | (BytesCodec(endian=Endian.little | None), BloscCodec()),
                    index_codecs=(BytesCodec(endian=Endian.little), Crc32cCodec()),
                    index_location=ShardingCodecIndexLocation.end,
                ) as sharding,
            ),
        ) if chunk_shape[1:] == shard_shape[1:] == shape[1:] and sys.byteorder == "little":
            return sharding, shard_shape
    raise NotImplementedError("another encoding than that of our writer")
