"""Reading a Zarr array of someone else within bounded memory.

Zarr trusts that a chunk, once decompressed, is as large as the metadata say; a crafted one of a few kilobytes
may become gigabytes.  Here no more is read of a chunk than a chunk can take, and no more is decompressed than
its size, which is known beforehand.

Codecs are those of the Zarr version 3 specification that arrays of numbers are commonly written with,
zarr-specs.readthedocs.io/en/latest/v3/codecs; the header of Blosc is in README_CHUNK_FORMAT.rst of c-blosc 1.
"""

from __future__ import annotations

import itertools
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from google_crc32c import value as crc32c
from numcodecs.blosc import decompress
from zarr.core.metadata import ArrayV3Metadata

from lpbf_dataset.store.filesystem import reporting

if TYPE_CHECKING:
    import fsspec
    import zarr
    from numpy.typing import NDArray

_BLOSC_SIZE = struct.Struct("<4xI8x")
"""Bytes of a Blosc buffer once decompressed, in its header of 16 bytes."""

_CHECKSUM_BYTES = 4
_OVERHEAD_BYTES = 4096
"""More than any of these codecs adds to data that it cannot compress, besides a sixteenth of their size."""


class ChunkError(ValueError):
    """An array is damaged, too large, or encoded in a way that is not read here; the message says which."""


def read_bounded(
    array: zarr.Array[Any], filesystem: fsspec.AbstractFileSystem, folder: str, max_chunk_bytes: int
) -> NDArray[np.generic]:
    """Read all of an array.

    Parameters
    ----------
    array : zarr.Array
        Its metadata, of Zarr format 3; of numbers, and of a shape that is known to be acceptable.
    filesystem : AbstractFileSystem
        Where it lies.
    folder : str
        Its folder there.
    max_chunk_bytes : int
        Largest chunk that is read, as it is in memory.

    Raises
    ------
    ChunkError
        If a chunk is damaged or larger, or compressed by other than Blosc, Zstandard or gzip.
    StoreError
        If the file system does not give it.
    """
    codecs, dtype = _encoding(array)
    chunk_bytes = math.prod(array.chunks) * dtype.itemsize
    if chunk_bytes > max_chunk_bytes:
        raise ChunkError(f"chunks of {chunk_bytes} bytes; at most {max_chunk_bytes} are read")
    values = np.full(array.shape, array.fill_value, dtype=array.dtype)
    counts = [-(-size // length) for size, length in zip(array.shape, array.chunks, strict=True)]
    assert isinstance(array.metadata, ArrayV3Metadata)
    for position in itertools.product(*map(range, counts)):
        key = array.metadata.encode_chunk_key(position)
        encoded = _read_at_most(filesystem, f"{folder}/{key}", chunk_bytes)
        if encoded is None:
            continue
        try:
            decoded = _decode(encoded, codecs, chunk_bytes)
        except ChunkError as error:
            raise ChunkError(f"chunk {key} is damaged: {error}") from error
        chunk = np.frombuffer(decoded, dtype).reshape(array.chunks)
        place = tuple(
            slice(index * length, (index + 1) * length)
            for index, length in zip(position, array.chunks, strict=True)
        )
        target = values[place]
        # Chunks at the end of an array are stored whole.
        target[...] = chunk[tuple(map(slice, target.shape))]
    return values


def _encoding(array: zarr.Array[Any]) -> tuple[list[str], np.dtype[Any]]:
    """Names of the codecs from bytes to bytes, in the order of encoding, and the type of what is encoded."""
    assert isinstance(array.metadata, ArrayV3Metadata)
    serializer, *rest = (codec.to_dict() for codec in array.metadata.codecs)
    names = [str(codec["name"]) for codec in rest]
    if serializer["name"] != "bytes" or (unknown := set(names) - {"blosc", "zstd", "gzip", "crc32c"}):
        told = ", ".join(sorted(unknown)) if serializer["name"] == "bytes" else serializer["name"]
        raise ChunkError(
            f"encoded by {told}; only chunks without shards, compressed by blosc, zstd or gzip, are read"
        )
    configuration = serializer.get("configuration")
    endian = configuration.get("endian") if isinstance(configuration, dict) else None
    return names, np.dtype(array.dtype).newbyteorder(">" if str(endian) == "big" else "<")


def _read_at_most(filesystem: fsspec.AbstractFileSystem, path: str, chunk_bytes: int) -> bytes | None:
    """Read a file of a chunk; None if there is none, which stands for the fill value."""
    limit = chunk_bytes + chunk_bytes // 16 + _OVERHEAD_BYTES
    with reporting(f"cannot read {path}"):
        try:
            contents: bytes = filesystem.cat_file(path, start=0, end=limit + 1)
        except FileNotFoundError:
            return None
    if len(contents) > limit:
        raise ChunkError(f"a chunk of {chunk_bytes} bytes takes more than {limit} in {path}")
    return contents


def _decode(encoded: bytes, codecs: list[str], chunk_bytes: int) -> bytes:
    # Codecs that follow another one work on what that made, which may be a little larger than the chunk.
    limit = chunk_bytes + chunk_bytes // 16 + _OVERHEAD_BYTES
    for name in reversed(codecs):
        encoded = _DECODERS[name](encoded, limit)
    if len(encoded) != chunk_bytes:
        raise ChunkError(f"it does not hold the {chunk_bytes} bytes of a chunk")
    return encoded


def _blosc(encoded: bytes, limit: int) -> bytes:
    if len(encoded) < _BLOSC_SIZE.size or _BLOSC_SIZE.unpack_from(encoded)[0] > limit:
        raise ChunkError("its header tells of more bytes than a chunk has, or is cut off")
    try:
        return bytes(decompress(encoded))
    except RuntimeError as error:
        raise ChunkError(str(error)) from error


def _stream(encoded: bytes, limit: int, codec: str) -> bytes:
    try:
        with pa.CompressedInputStream(pa.BufferReader(encoded), codec) as stream:
            decoded: bytes = stream.read(limit + 1)
    except (OSError, pa.ArrowException) as error:
        raise ChunkError(" ".join(str(error).split())) from error
    if len(decoded) > limit:
        raise ChunkError(f"it holds more than the {limit} bytes that a chunk can take")
    return decoded


def _crc32c(encoded: bytes, _: int) -> bytes:
    contents, checksum = encoded[:-_CHECKSUM_BYTES], encoded[-_CHECKSUM_BYTES:]
    if crc32c(contents).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        raise ChunkError("its checksum is another one")
    return contents


_DECODERS = {
    "blosc": _blosc,
    "zstd": lambda encoded, limit: _stream(encoded, limit, "zstd"),
    "gzip": lambda encoded, limit: _stream(encoded, limit, "gzip"),
    "crc32c": _crc32c,
}
