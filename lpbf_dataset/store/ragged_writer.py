"""One ragged variable of a store under construction."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from zarr.codecs import BloscCodec

from lpbf_dataset.store.layout import StoreError, fill_value, variable_attributes
from lpbf_dataset.store.local import open_array, reason

if TYPE_CHECKING:
    from pathlib import Path

    import tensorstore
    import zarr
    from numpy.typing import NDArray

    from lpbf_dataset.schema import Variable
    from lpbf_dataset.store.layout import Encoding


class RaggedWriter:
    """Append rows to a new array; whole shards are written, each once.

    Parameters
    ----------
    folder : Path
        Absolute folder of the Zarr group.
    group : zarr.Group
        The group, in which the array is created.
    variable : Variable
        What is stored.
    encoding : Encoding
        Chunks, shards and codec.
    """

    def __init__(self, folder: Path, group: zarr.Group, variable: Variable, encoding: Encoding) -> None:
        rows = encoding.rows_per_shard(variable)
        group.create_array(
            variable.name,
            shape=(0, *variable.row_shape),
            chunks=(encoding.chunk_rows, *variable.row_shape),
            shards=(rows, *variable.row_shape),
            dtype=variable.dtype,
            fill_value=fill_value(variable.dtype),
            compressors=_compressor(variable, encoding),
            dimension_names=variable.dims,
            attributes=variable_attributes(variable),
        )
        self._folder = folder / variable.name
        self._array = open_array(self._folder, write=True).result()
        self._writing: tensorstore.WriteFutures | None = None
        # Pages of an empty array take memory only once rows are put there.
        self._buffer: NDArray[np.generic] = np.empty((rows, *variable.row_shape), variable.dtype)
        self._buffered = 0
        self._written = 0

    def append(self, rows: NDArray[np.generic]) -> None:
        """Add rows of the variable's dtype and row shape."""
        while len(rows):
            taken = rows[: len(self._buffer) - self._buffered]
            self._buffer[self._buffered : self._buffered + len(taken)] = taken
            self._buffered += len(taken)
            rows = rows[len(taken) :]
            if self._buffered == len(self._buffer):
                self.flush()

    def flush(self) -> None:
        """Write what is buffered, at the end or a whole shard at a time.

        Raises
        ------
        StoreError
            If the file cannot be written, for example on a full disk.
        """
        if not self._buffered:
            return
        start, stop = self._written, self._written + self._buffered
        bounds = [stop, *self._buffer.shape[1:]]
        try:
            self._array = self._array.resize(exclusive_max=bounds, expand_only=True).result()
            self._writing = self._array[start:stop].write(self._buffer[: self._buffered])
            self._writing.result()
        except ValueError as error:
            raise StoreError(f"cannot write {self._folder}: {reason(error)}") from error
        self._written, self._buffered = stop, 0

    def settle(self) -> None:
        """Wait until an interrupted write has ended, so that no file appears later."""
        if self._writing is not None:
            with suppress(ValueError):
                self._writing.result()


def _compressor(variable: Variable, encoding: Encoding) -> BloscCodec | None:
    if encoding.codec == "none":
        return None
    # Byte shuffle puts the exponents of neighbouring values side by side, which compress well.
    return BloscCodec(
        typesize=np.dtype(variable.dtype).itemsize,
        cname=encoding.codec,
        clevel={"lz4": 5, "zstd": 1}[encoding.codec],
        shuffle="shuffle",
    )
