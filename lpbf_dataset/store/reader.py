"""Opening a store and reading its cases at random."""

from __future__ import annotations

import difflib
import json
import operator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import zarr

from lpbf_dataset.case import Case
from lpbf_dataset.schema import (
    HISTORY_PREFIX,
    HISTORY_VARIABLES,
    LAYOUT,
    LAYOUT_VERSION,
    MESH_VARIABLES,
    RAGGED_DIMS,
    SPLITS,
    STATISTICS,
    VARIABLES,
    history_variables,
)
from lpbf_dataset.steps import Steps
from lpbf_dataset.store.filesystem import reporting
from lpbf_dataset.store.layout import (
    CASE_DIM,
    CASE_TEXTS,
    HISTORY_MARK,
    SHAPE_DESCRIPTOR,
    STATISTIC_PREFIX,
    StoreError,
    history_columns,
    table_attributes,
)
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.ragged_reader import RaggedReader
from lpbf_dataset.store.rounding import kept_bits
from lpbf_dataset.store.step_tables import StepTables
from lpbf_dataset.store.tables import read_catalog, read_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim, Split
    from lpbf_dataset.step_table import StepTable


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
    location = _locate(path)
    group = _open_group(location)
    attributes = dict(group.attrs)
    if attributes.get("layout") != LAYOUT:
        raise StoreError(f"{location} is not an LPBF store: its layout is {attributes.get('layout')!r}")
    version = attributes.get("layout_version")
    if not isinstance(version, int) or version > LAYOUT_VERSION:
        raise StoreError(
            f"{location} has layout version {version}; upgrade lpbf_dataset, "
            f"which reads up to version {LAYOUT_VERSION}"
        )
    # All at once: each look-up of one goes to zarr-python's thread and back.
    arrays = dict(group.arrays())
    # A statistic may be younger than the store.
    required = [name for name in table_attributes() if name.removeprefix(STATISTIC_PREFIX) not in STATISTICS]
    required += MESH_VARIABLES
    if HISTORY_MARK in arrays:
        required += [*history_columns(), *history_variables(())]
    if missing := [name for name in required if name not in arrays]:
        raise StoreError(f"{location} is damaged, copy or build it again: it has no array {missing[0]!r}")
    has_history = HISTORY_MARK in arrays
    of_case = [name for name, column in history_columns().items() if column.dim == CASE_DIM]
    columns = [*table_attributes(), *(of_case if has_history else ())]
    with reporting(f"cannot read {location}"):
        table = read_columns(group, [name for name in columns if name in arrays])
    variables = tuple(name for name in VARIABLES if name in arrays)
    for name in variables:
        _check_extent(location, name, arrays[name].shape[0], table)
    lengths = {name: arrays[name].shape[0] for name in HISTORY_VARIABLES if name in arrays}
    bits = _history_bits(location, [arrays[name] for name in lengths])
    store = _Store(location, attributes, table, variables, lengths if has_history else {}, bits)
    return Dataset(store, np.arange(len(table["case_id"])))


def is_store_root(contents: bytes) -> bool:
    """Tell from the contents of a ``zarr.json`` whether it is the root of a store, of any version."""
    try:
        metadata: Any = json.loads(contents)
    except ValueError:
        return False
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    return isinstance(attributes, dict) and attributes.get("layout") == LAYOUT


def _locate(path: str | PathLike[str]) -> Path | str:
    """Absolute path of a local store (workers may have another working directory), or the URL."""
    text = str(path)
    if text.startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    return text if "://" in text else Path(text).absolute()


def _open_group(location: Path | str) -> zarr.Group:
    if isinstance(location, Path) and not location.exists():
        raise StoreError(f"there is no {location}; build a store with lpbf-build, or correct the path")
    with reporting(f"cannot open {location}"):
        try:
            return zarr.open_group(location, mode="r", zarr_format=3)
        except FileNotFoundError as error:
            raise StoreError(f"there is no Zarr store at {location}") from error


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


class _Store:
    """What every view of an open store shares."""

    def __init__(
        self,
        location: Path | str,
        attributes: dict[str, Any],
        table: Mapping[str, NDArray[Any]],
        variables: tuple[str, ...],
        history_lengths: Mapping[str, int],
        history_bits: int | None,
    ) -> None:
        self.location = location
        self.attributes = attributes
        self.table = table
        self.variables = variables
        self.history_lengths = history_lengths
        """Rows of each variable of the history; empty for a store without one."""
        self.history_bits = history_bits
        self.reader = RaggedReader(location)
        self.row_of = {case_id: row for row, case_id in enumerate(table["case_id"])}

    def row_ranges(self, row: int) -> dict[RaggedDim, slice]:
        """Rows of the final state of a case along each ragged dimension."""
        starts = {dim: int(self.table[f"{dim}_offset"][row]) for dim in RAGGED_DIMS}
        return {
            dim: slice(start, start + int(self.table[f"{dim}_count"][row])) for dim, start in starts.items()
        }

    def read_case(self, row: int, names: Sequence[str]) -> Case:
        table = self.table
        ranges = self.row_ranges(row)
        rows = {}
        for name in names:
            if name not in self.variables:
                raise StoreError(
                    f"{self.location} has no variable {name!r}; it has {', '.join(self.variables)}"
                )
            rows[name] = ranges[VARIABLES[name].dim]
        texts = {name: table[name][row] for name in CASE_TEXTS}
        statistics = {
            name: table[STATISTIC_PREFIX + name][row].item()
            for name in STATISTICS
            if STATISTIC_PREFIX + name in table
        }
        case = Case(**texts, variables=self.reader.read(rows), statistics=statistics)
        if not self.history_lengths or not table["step_count"][row]:
            return case
        return replace(case, steps=Steps(case, _StoredHistory(self, row)))

    @cached_property
    def step_tables(self) -> StepTables:
        with reporting(f"cannot read {self.location}"):
            columns = read_columns(_open_group(self.location), list(history_columns()))
        try:
            return StepTables(columns, self.history_lengths)
        except ValueError as error:
            raise StoreError(f"{self.location} is damaged, copy or build it again: {error}") from error


class _StoredHistory:
    """History of one case of a store."""

    def __init__(self, store: _Store, row: int) -> None:
        self._store = store
        self._row = row

    def __len__(self) -> int:
        return int(self._store.table["step_count"][self._row])

    @property
    def fields(self) -> tuple[str, ...]:
        return _history_fields(self._store)

    @property
    def table(self) -> StepTable:
        return self._store.step_tables.table(self._row)

    @cached_property
    def _offsets(self) -> dict[RaggedDim, int]:
        return self._store.step_tables.offsets(self._row)

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        first = {name: self._offsets[HISTORY_VARIABLES[name].dim] for name in rows}
        moved = {
            name: slice(first[name] + part.start, first[name] + part.stop) for name, part in rows.items()
        }
        return self._store.reader.read(moved)


def _history_fields(store: _Store) -> tuple[str, ...]:
    return tuple(
        name.removeprefix(HISTORY_PREFIX)
        for name in store.history_lengths
        if HISTORY_VARIABLES[name].dim == "step_node"
    )


class Dataset:
    """Cases of a store, read when asked for; `open_dataset` makes one.

    Index it by position or case id for a `Case`, by a slice for a view; iterate over it for every
    case in turn.  It may be pickled and forked, so data loaders may have workers.

    A store that is built anew in the same place must be opened again.
    """

    def __init__(self, store: _Store, rows: NDArray[np.int64]) -> None:
        self._store = store
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Dataset {self._store.location}: {len(self)} cases, {', '.join(self.variables)}>"

    def __iter__(self) -> Iterator[Case]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, case_id: object) -> bool:
        row = self._store.row_of.get(case_id) if isinstance(case_id, str) else None
        return row is not None and row in self._rows

    @overload
    def __getitem__(self, key: SupportsIndex | str) -> Case: ...

    @overload
    def __getitem__(self, key: slice) -> Dataset: ...

    def __getitem__(self, key: SupportsIndex | str | slice) -> Case | Dataset:
        if isinstance(key, slice):
            return Dataset(self._store, self._rows[key])
        return self.read(key, self.variables)

    def read(self, key: SupportsIndex | str, variables: Sequence[str]) -> Case:
        """Read some variables of a case.

        Parameters
        ----------
        key : int or str
            Position in this view, negative ones from its end, or case id.
        variables : sequence of str
            What to read, for example ``("points", "displacement")``; see `variables`.

        Returns
        -------
        Case
            With these variables alone.

        Raises
        ------
        IndexError, KeyError
            If there is no such case in this view.
        StoreError
            If the store does not hold a variable, or is damaged.
        """
        return self._store.read_case(self._row(key), variables)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables of each case, of `lpbf_dataset.schema.VARIABLES`."""
        return self._store.variables

    @property
    def has_history(self) -> bool:
        """Whether the store holds the states of its cases over the build, see `lpbf_dataset.Case.steps`."""
        return bool(self._store.history_lengths)

    @property
    def history_fields(self) -> tuple[str, ...]:
        """Simulated fields of each step of a history, of `lpbf_dataset.schema.VARIABLES`."""
        return _history_fields(self._store)

    @property
    def history_bits(self) -> int | None:
        """Bits to which the history is rounded, see `lpbf_dataset.store.rounding`; None if it is not."""
        return self._store.history_bits

    def step_table(self, key: SupportsIndex | str) -> StepTable:
        """Tell what is known of each step of a case, without reading their states.

        Parameters
        ----------
        key : int or str
            Position in this view, or case id.

        Raises
        ------
        IndexError, KeyError
            If there is no such case in this view.
        StoreError
            If the store holds no history, or is damaged.
        """
        if not self.has_history:
            raise StoreError(
                f"{self.location} holds final states alone; build it with lpbf-build --steps all"
            )
        return self._store.step_tables.table(self._row(key))

    def row_ranges(self, key: SupportsIndex | str) -> dict[RaggedDim, slice]:
        """Where the rows of a case lie along each ragged dimension of the store.

        Parameters
        ----------
        key : int or str
            Position in this view, or case id.

        Raises
        ------
        IndexError, KeyError
            If there is no such case in this view.
        StoreError
            If the store is damaged.
        """
        row = self._row(key)
        ranges = self._store.row_ranges(row)
        if self.has_history:
            tables = self._store.step_tables
            counts = tables.table(row).counts
            ranges |= {dim: slice(start, start + counts[dim]) for dim, start in tables.offsets(row).items()}
        return ranges

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Case ids of this view, in order."""
        return tuple(self._store.table["case_id"][self._rows])

    @property
    def case_table(self) -> pd.DataFrame:
        """Per-case variables of this view, named as in the store; the index is the case id."""
        import pandas as pd

        frame = pd.DataFrame({name: values[self._rows] for name, values in self._store.table.items()})
        return frame.set_index("case_id")

    @property
    def location(self) -> Path | str:
        """Absolute path of a local store, or URL of a remote one."""
        return self._store.location

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Root attributes: layout, producer, build configuration, licence and so on."""
        return self._store.attributes

    @property
    def normalization(self) -> dict[str, Moments]:
        """Moments of each nodal variable over all nodes of the *training* split, in its unit."""
        stored = self._store.attributes["normalization"]
        return {name: Moments.from_json(values) for name, values in stored.items()}

    def split(self, name: Split) -> Dataset:
        """View of the cases of this view that belong to a split.

        Parameters
        ----------
        name : {"train", "val", "test"}
            The split.
        """
        if name not in SPLITS:
            raise ValueError(f"no split named {name!r}; there are {', '.join(SPLITS)}")
        return Dataset(self._store, self._rows[self._store.table["split"][self._rows] == name])

    @property
    def train(self) -> Dataset:
        """Training cases."""
        return self.split("train")

    @property
    def val(self) -> Dataset:
        """Validation cases."""
        return self.split("val")

    @property
    def test(self) -> Dataset:
        """Test cases."""
        return self.split("test")

    def to_xarray(self) -> xr.Dataset:
        """Whole store, whatever the view, as a labelled dataset of lazy dask arrays."""
        import xarray as xr

        return xr.open_zarr(str(self._store.location))

    def catalog(self) -> pd.DataFrame:
        """Every case that the build found, kept or not, and why: one a row."""
        with reporting(f"cannot read the catalog of {self._store.location}"):
            return read_catalog(_open_group(self._store.location))

    def shape_descriptors(self) -> dict[str, NDArray[np.float64]]:
        """Shape of each case of this view in numbers, by case id; empty where the store has none.

        See `lpbf_dataset.curation.shape`.
        """
        with reporting(f"cannot read {self._store.location}"):
            group = _open_group(self._store.location)
            if SHAPE_DESCRIPTOR not in group:
                return {}
            descriptors = read_columns(group, [SHAPE_DESCRIPTOR])[SHAPE_DESCRIPTOR][self._rows]
        return dict(zip(self.case_ids, descriptors, strict=True))

    def _row(self, key: SupportsIndex | str) -> int:
        """Row of the case table."""
        if isinstance(key, str):
            if key not in self:
                raise KeyError(self._unknown(key))
            return self._store.row_of[key]
        position = operator.index(key)
        if not -len(self) <= position < len(self):
            raise IndexError(f"case {position} of {len(self)}")
        return int(self._rows[position])

    def _unknown(self, case_id: str) -> str:
        if case_id in self._store.row_of:
            split = self._store.table["split"][self._store.row_of[case_id]]
            return f"case {case_id!r} is not in this view; it is a {split} case"
        nearest = difflib.get_close_matches(case_id, self.case_ids, n=3, cutoff=0.0)
        return f"no case {case_id!r} in {self._store.location}; nearest: {', '.join(nearest)}"
