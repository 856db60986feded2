"""Ragged arrays written shard by shard, each by whoever is free.

A shard is a file.  What it holds follows from the cases and their order alone, so any number of processes
may write shards at the same time, and always gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from lpbf_dataset.schema import STORED_VARIABLES
from lpbf_dataset.store.layout import StoreError, fill_value, variable_attributes
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.rounding import quantization_attributes, round_mantissa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lpbf_dataset.schema import Variable
    from lpbf_dataset.store.case_rows import CaseRows
    from lpbf_dataset.store.layout import Encoding


@dataclass(frozen=True)
class Piece:
    """Some rows of one case.

    Parameters
    ----------
    rows : CaseRows
        Where they come from.
    start, stop : int
        Which rows of the case.
    training : bool
        Whether they count in the statistics of the training split.
    """

    rows: CaseRows
    start: int
    stop: int
    training: bool


@dataclass(frozen=True)
class Shard:
    """One shard of a variable, to be written.

    Parameters
    ----------
    folder : Path
        Absolute folder of the store.
    name : str
        The variable.
    start : int
        First row of the shard.
    pieces : tuple of Piece
        Its rows, in order.
    bits : int or None
        Bits to which its values are rounded; None to write them as they are.
    """

    folder: Path
    name: str
    start: int
    pieces: tuple[Piece, ...]
    bits: int | None


def create_array(group: zarr.Group, variable: Variable, rows: int, encoding: Encoding) -> None:
    """Create the array of a variable of so many rows, all of which are yet to be written."""
    bits = encoding.kept_bits(variable)
    rounding = quantization_attributes(bits) if bits else {}
    group.create_array(
        variable.name,
        shape=(rows, *variable.row_shape),
        chunks=(encoding.chunk_rows, *variable.row_shape),
        shards=(encoding.rows_per_shard(variable), *variable.row_shape),
        dtype=variable.dtype,
        fill_value=fill_value(variable.dtype),
        compressors=_compressor(variable, encoding),
        dimension_names=variable.dims,
        attributes=variable_attributes(variable) | rounding,
    )


def plan_shards(
    folder: Path,
    variable: Variable,
    cases: Sequence[tuple[CaseRows, int, bool]],
    encoding: Encoding,
) -> Iterator[Shard]:
    """Cut the rows of all cases into shards.

    Parameters
    ----------
    folder : Path
        Absolute folder of the store.
    variable : Variable
        What is stored.
    cases : sequence of (CaseRows, int, bool)
        Rows, number of rows, and whether it is a training case, in the order of the store.
    encoding : Encoding
        How many rows make a shard.

    Yields
    ------
    Shard
        In order; none for a variable without rows.
    """
    capacity, bits = encoding.rows_per_shard(variable), encoding.kept_bits(variable)
    first, filled, pieces = 0, 0, list[Piece]()
    for rows, count, training in cases:
        start = 0
        while start < count:
            stop = min(count, start + capacity - filled)
            pieces.append(Piece(rows, start, stop, training))
            filled += stop - start
            start = stop
            if filled == capacity:
                yield Shard(folder, variable.name, first, tuple(pieces), bits)
                first, filled, pieces = first + capacity, 0, []
    if pieces:
        yield Shard(folder, variable.name, first, tuple(pieces), bits)


def write_shard(shard: Shard) -> Moments | None:
    """Write one shard.

    Parameters
    ----------
    shard : Shard
        What to write, into an array that exists.

    Returns
    -------
    Moments or None
        Of its rows that belong to training cases, if any do.

    Raises
    ------
    StoreError
        If rows cannot be read, or the file not be written, for example on a full disk.
    """
    variable = STORED_VARIABLES[shard.name]
    count = sum(piece.stop - piece.start for piece in shard.pieces)
    buffer = np.empty((count, *variable.row_shape), variable.dtype)
    moments: Moments | None = None
    end = 0
    for piece in shard.pieces:
        rows = piece.rows.read(shard.name, piece.start, piece.stop)
        if shard.bits:
            rows = round_mantissa(rows.astype(np.float32, copy=False), shard.bits)
        buffer[end : end + len(rows)] = rows
        end += len(rows)
        if piece.training:
            of_piece = Moments.of(rows)
            moments = moments.merge(of_piece) if moments else of_piece
    assert end == count
    folder = shard.folder / shard.name
    try:
        # A chunk of booleans may hold nothing but the fill value; unwritten, it would count as missing.
        array = zarr.open_array(folder, mode="r+").with_config({"write_empty_chunks": True})
        array[shard.start : shard.start + count] = buffer
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {folder}: {error}") from error
    return moments


def _compressor(variable: Variable, encoding: Encoding) -> BloscCodec | None:
    if encoding.codec == "none":
        return None
    # Byte shuffle puts the exponents of neighbouring values side by side, which compress well.  Bits that
    # rounding leaves seldom fill whole bytes: of 10 of them, LZ4 makes a fifth less by single bits.
    return BloscCodec(
        typesize=np.dtype(variable.dtype).itemsize,
        cname=encoding.codec,
        clevel={"lz4": 5, "zstd": 1}[encoding.codec],
        shuffle="bitshuffle" if encoding.kept_bits(variable) else "shuffle",
    )
