"""Opening a store and reading its cases at random."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.schema import (
    HISTORY_VARIABLES,
    LAYOUT,
    LAYOUT_VERSION,
    MESH_VARIABLES,
    STATISTICS,
    VARIABLES,
    history_variables,
)
from lpbf_dataset.store.dataset import Dataset
from lpbf_dataset.store.filesystem import reporting
from lpbf_dataset.store.layout import (
    CASE_DIM,
    HISTORY_MARK,
    STATISTIC_PREFIX,
    StoreError,
    history_columns,
    table_attributes,
)
from lpbf_dataset.store.location import locate, open_group
from lpbf_dataset.store.open_store import OpenStore
from lpbf_dataset.store.rounding import kept_bits
from lpbf_dataset.store.tables import read_columns

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

__all__ = ["Dataset", "is_store_root", "open_dataset"]


def open_dataset(path: str | PathLike[str]) -> Dataset:
    """Open a store.

    Parameters
    ----------
    path : path or str
        Folder of the store, or an fsspec URL such as ``s3://bucket/lpbf.zarr``.  Endpoints and
        credentials are fsspec's affair: see `lpbf_dataset.store.filesystem.connect`.

    Returns
    -------
    Dataset
        Of every case in the store.  The case table is read at once, the cases when asked for.

    Raises
    ------
    StoreError
        If there is no store at `path` or it cannot be reached, it has a newer layout than this
        version reads, or it lacks an array.
    """
    location = locate(path)
    group = open_group(location)
    attributes = dict(group.attrs)
    _check_layout(location, attributes)
    # All at once: each look-up of one goes to zarr-python's thread and back.
    arrays = dict(group.arrays())
    has_history = HISTORY_MARK in arrays
    _check_complete(location, arrays, has_history=has_history)
    of_case = [name for name, column in history_columns().items() if column.dim == CASE_DIM]
    columns = [*table_attributes(), *(of_case if has_history else ())]
    with reporting(f"cannot read {location}"):
        table = read_columns(group, [name for name in columns if name in arrays])
    variables = tuple(name for name in VARIABLES if name in arrays)
    for name in variables:
        _check_extent(location, name, arrays[name].shape[0], table)
    lengths = {name: arrays[name].shape[0] for name in HISTORY_VARIABLES if name in arrays}
    bits = _history_bits(location, [arrays[name] for name in lengths])
    store = OpenStore(location, attributes, table, variables, lengths if has_history else {}, bits)
    return Dataset(store, np.arange(len(table["case_id"])))


def is_store_root(contents: bytes) -> bool:
    """Tell from the contents of a ``zarr.json`` whether it is the root of a store, of any version."""
    try:
        metadata: Any = json.loads(contents)
    except ValueError:
        return False
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    return isinstance(attributes, dict) and attributes.get("layout") == LAYOUT


def _check_layout(location: Path | str, attributes: Mapping[str, Any]) -> None:
    if attributes.get("layout") != LAYOUT:
        raise StoreError(f"{location} is not an LPBF store: its layout is {attributes.get('layout')!r}")
    version = attributes.get("layout_version")
    if not isinstance(version, int) or version > LAYOUT_VERSION:
        raise StoreError(
            f"{location} has layout version {version}; upgrade lpbf_dataset, "
            f"which reads up to version {LAYOUT_VERSION}"
        )


def _check_complete(location: Path | str, arrays: Container[str], *, has_history: bool) -> None:
    # A statistic may be younger than the store.
    required = [name for name in table_attributes() if name.removeprefix(STATISTIC_PREFIX) not in STATISTICS]
    required += MESH_VARIABLES
    if has_history:
        required += [*history_columns(), *history_variables(())]
    if missing := [name for name in required if name not in arrays]:
        raise StoreError(f"{location} is damaged, copy or build it again: it has no array {missing[0]!r}")


def _check_extent(location: Path | str, name: str, length: int, table: Mapping[str, NDArray[Any]]) -> None:
    """Raise `StoreError` unless the cases of the table lie end to end in a ragged array."""
    dim = VARIABLES[name].dim
    counts, offsets = table[f"{dim}_count"], table[f"{dim}_offset"]
    if counts.sum() != length or not np.array_equal(offsets, np.cumsum(counts) - counts):
        raise StoreError(
            f"{location} is damaged, copy or build it again: {dim}_count, {dim}_offset and {name} disagree"
        )


def _history_bits(location: Path | str, arrays: Sequence[zarr.Array[Any]]) -> int | None:
    """Bits of the least precise of some arrays; None if none was rounded."""
    try:
        bits = [kept_bits(array.attrs.asdict()) for array in arrays]
    except ValueError as error:
        raise StoreError(f"{location} is damaged, copy or build it again: {error}") from error
    return min((of_array for of_array in bits if of_array is not None), default=None)
