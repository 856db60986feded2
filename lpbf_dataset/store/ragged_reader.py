"""Reading the rows of one case from several ragged arrays at once."""

from __future__ import annotations

from asyncio import gather
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import zarr
from zarr.core.sync import sync

from lpbf_dataset.store.filesystem import reporting
from lpbf_dataset.store.layout import StoreError, fill_value
from lpbf_dataset.store.mapped_array import MappedArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class RowReader(Protocol):
    """Reads ranges of rows of named arrays."""

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Read the given rows of each array.  Raises `StoreError`."""


class MappedReader:
    """Rows from the files of a local store, mapped into memory.

    Parameters
    ----------
    folder : Path
        Absolute folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, MappedArray] = {}

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Read the given rows of each array.

        Raises
        ------
        NotImplementedError
            If an array is encoded in another way than ours.
        """
        try:
            return {name: self._open(name).read(part.start, part.stop) for name, part in rows.items()}
        except (StoreError, OSError, ValueError) as error:
            raise _unreadable(self._folder, str(error)) from error

    def _open(self, name: str) -> MappedArray:
        if name not in self._arrays:
            array = zarr.open_array(self._folder / name, mode="r", zarr_format=3)
            self._arrays[name] = MappedArray(array, self._folder / name)
        return self._arrays[name]


class ZarrReader:
    """Rows through zarr-python, from any store that fsspec reaches.

    Parameters
    ----------
    location : Path or str
        Absolute path or fsspec URL of the store.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location
        self._group = zarr.open_group(location, mode="r", zarr_format=3)

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Read the given rows of each array, all at the same time."""
        try:
            arrays = [cast("zarr.Array[Any]", self._group[name]) for name in rows]
            values = sync(_gather(arrays, list(rows.values())))
        except (KeyError, ValueError, RuntimeError, OSError) as error:
            raise _unreadable(self._location, str(error)) from error

        for name, array in zip(rows, values, strict=True):
            if _never_written(array).any():
                raise _unreadable(self._location, f"rows of {name} are missing")
        return dict(zip(rows, values, strict=True))


def _never_written(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell where zarr-python filled in for a missing chunk, by the fill value that no valid array holds."""
    if values.dtype.kind == "b":
        # Both values of a boolean are valid: its chunks go missing unseen.
        return np.zeros(values.shape, dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else values == fill_value(values.dtype)


def _unreadable(location: Path | str, why: str) -> StoreError:
    return StoreError(f"cannot read {location}, if it is damaged copy or build it again: {why}")


async def _gather(arrays: Sequence[zarr.Array[Any]], parts: Sequence[slice]) -> list[NDArray[np.generic]]:
    reading = (array.async_array.getitem(part) for array, part in zip(arrays, parts, strict=True))
    return [np.asarray(values) for values in await gather(*reading)]


class RaggedReader:
    """Rows of a store, through whatever can read it in this process.

    Files are opened at the first read, so an instance may be pickled to other processes.

    Parameters
    ----------
    location : Path or str
        Absolute path of a local store, or fsspec URL of a remote one.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location
        self._reader: RowReader | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_location": self._location, "_reader": None}

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Read rows of several arrays.

        Parameters
        ----------
        rows : mapping of str to slice
            Rows to read, by array name.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        StoreError
            If an array is missing or damaged, or the store cannot be reached.
        """
        with reporting(f"cannot read {self._location}"):
            if self._reader is None:
                self._reader = self._open()
            try:
                return self._reader.read(rows)
            except NotImplementedError:
                self._reader = ZarrReader(self._location)
                return self._reader.read(rows)

    def _open(self) -> RowReader:
        if isinstance(self._location, Path):
            return MappedReader(self._location)
        return ZarrReader(self._location)
