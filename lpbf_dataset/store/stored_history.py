"""The histories of an open store, read when asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from lpbf_dataset.schema import HISTORY_PREFIX, HISTORY_VARIABLES
from lpbf_dataset.store.filesystem import reporting
from lpbf_dataset.store.layout import StoreError, history_columns
from lpbf_dataset.store.location import open_group
from lpbf_dataset.store.step_tables import StepTables
from lpbf_dataset.store.tables import read_columns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.step_table import StepTable
    from lpbf_dataset.store.ragged_reader import RaggedReader


class StoredHistories:
    """The histories of the cases of a store.

    Parameters
    ----------
    location : Path or str
        Absolute path or fsspec URL of the store.
    step_counts : (cases,) int64 ndarray
        Steps of each case; 0 for one whose final state alone is known.
    lengths : mapping of str to int
        Rows of each variable, by the names of `lpbf_dataset.schema.HISTORY_VARIABLES`.
    reader : RaggedReader
        Reads the rows.
    """

    def __init__(
        self,
        location: Path | str,
        step_counts: NDArray[Any],
        lengths: Mapping[str, int],
        reader: RaggedReader,
    ) -> None:
        self.step_counts = step_counts
        self.reader = reader
        self._location = location
        self._lengths = lengths

    @property
    def fields(self) -> tuple[str, ...]:
        """Simulated fields of each step, by the names of `lpbf_dataset.schema.VARIABLES`."""
        return tuple(
            name.removeprefix(HISTORY_PREFIX)
            for name in self._lengths
            if HISTORY_VARIABLES[name].dim == "step_node"
        )

    @cached_property
    def tables(self) -> StepTables:
        """What is known of every step of the store.  Raises `StoreError` if it is damaged."""
        with reporting(f"cannot read {self._location}"):
            columns = read_columns(open_group(self._location), list(history_columns()))
        try:
            return StepTables(columns, self._lengths)
        except ValueError as error:
            raise StoreError(f"{self._location} is damaged, copy or build it again: {error}") from error


class StoredHistory:
    """The history of one case of a store, as `lpbf_dataset.steps.Steps` reads it.

    Parameters
    ----------
    histories : StoredHistories
        Those of the store.
    row : int
        Of the case in the case table.
    """

    def __init__(self, histories: StoredHistories, row: int) -> None:
        self._histories = histories
        self._row = row

    def __len__(self) -> int:
        return int(self._histories.step_counts[self._row])

    @property
    def fields(self) -> tuple[str, ...]:
        """Simulated fields of each step."""
        return self._histories.fields

    @property
    def table(self) -> StepTable:
        """What is known of each step."""
        return self._histories.tables.table(self._row)

    @cached_property
    def _offsets(self) -> dict[RaggedDim, int]:
        return self._histories.tables.offsets(self._row)

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Read rows, counted from the first of the case, of stored variables.  Raises `StoreError`."""
        first = {name: self._offsets[HISTORY_VARIABLES[name].dim] for name in rows}
        moved = {
            name: slice(first[name] + part.start, first[name] + part.stop) for name, part in rows.items()
        }
        return self._histories.reader.read(moved)
