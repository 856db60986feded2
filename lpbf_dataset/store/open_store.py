"""An open store: where it lies, its case table, and whatever reads its arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lpbf_dataset.case import Case
from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS, VARIABLES
from lpbf_dataset.steps import Steps
from lpbf_dataset.store.layout import CASE_TEXTS, HISTORY_MARK, STATISTIC_PREFIX, StoreError
from lpbf_dataset.store.ragged_reader import RaggedReader
from lpbf_dataset.store.stored_history import StoredHistories, StoredHistory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim


class OpenStore:
    """What every view of an open store shares.

    Parameters
    ----------
    location : Path or str
        Absolute path or fsspec URL.
    attributes : dict of str to JSON values
        Those of the root.
    table : mapping of str to ndarray
        Columns of the case table, those of the history that lie along ``case`` included.
    variables : tuple of str
        Variables of the final states, of `lpbf_dataset.schema.VARIABLES`.
    history_lengths : mapping of str to int
        Rows of each variable of the history; empty for a store without one.
    history_bits : int or None
        Bits to which the history is rounded; None if it is not.
    """

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
        self.history_bits = history_bits
        self.row_of = {case_id: row for row, case_id in enumerate(table["case_id"])}
        self._reader = RaggedReader(location)
        self.histories: StoredHistories | None = None
        if history_lengths:
            self.histories = StoredHistories(location, table[HISTORY_MARK], history_lengths, self._reader)

    def row_ranges(self, row: int) -> dict[RaggedDim, slice]:
        """Rows of the final state of a case along each ragged dimension."""
        starts = {dim: int(self.table[f"{dim}_offset"][row]) for dim in RAGGED_DIMS}
        return {
            dim: slice(start, start + int(self.table[f"{dim}_count"][row])) for dim, start in starts.items()
        }

    def read_case(self, row: int, names: Sequence[str]) -> Case:
        """Read some variables of a case by its row in the case table.  Raises `StoreError`."""
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
        case = Case(**texts, variables=self._reader.read(rows), statistics=statistics)
        if self.histories is None or not self.histories.step_counts[row]:
            return case
        return replace(case, steps=Steps(case, StoredHistory(self.histories, row)))
