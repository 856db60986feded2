"""Every case in turn: its final state decoded and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS, VARIABLES
from lpbf_dataset.store.layout import STATISTIC_PREFIX
from lpbf_dataset.store.verification.metadata import file_of, rows_per_file
from lpbf_dataset.store.verification.problems import UNREADABLE, Code
from lpbf_dataset.store.verification.values import check_values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from lpbf_dataset.store.ragged_reader import RaggedReader
    from lpbf_dataset.store.verification.metadata import Arrays
    from lpbf_dataset.store.verification.problems import Report
    from lpbf_dataset.store.verification.table import Table
    from lpbf_dataset.store.verification.training_moments import TrainingMoments
    from lpbf_dataset.store.verify import Progress


class CaseChecks:
    """Checks of what the cases of a store hold.

    Parameters
    ----------
    reader : RaggedReader
        Reads the rows.
    arrays : dict of str to zarr.Array
        Usable arrays of the store.
    table : dict of str to ndarray
        The case table.
    missing_files : collection of str
        Files that are known to be missing, whose rows are passed over.
    training : TrainingMoments
        Takes in what training cases hold.
    report : Report
        Takes the problems.
    """

    def __init__(
        self,
        reader: RaggedReader,
        arrays: Arrays,
        table: Table,
        missing_files: Collection[str],
        training: TrainingMoments,
        report: Report,
    ) -> None:
        self._reader = reader
        self._arrays = arrays
        self._table = table
        self._report = report
        self._missing_files = missing_files
        self._spoiled: set[tuple[str, int]] = set()
        self._training = training
        dims = [dim for dim in RAGGED_DIMS if f"{dim}_count" in table]
        self._variables = [name for name in VARIABLES if name in arrays and VARIABLES[name].dim in dims]

    def run(self, progress: Progress, *, sdf_of_mesh: bool) -> None:
        """Check every case.

        Parameters
        ----------
        progress : Progress
            Wraps the rows of the case table.
        sdf_of_mesh : bool
            Whether the signed distance is to the surface of the mesh itself.
        """
        for row in progress(range(len(next(iter(self._table.values()), ()))), "case"):
            variables = self._read(row)
            statistics = {
                name: self._table[STATISTIC_PREFIX + name][row].item()
                for name in STATISTICS
                if STATISTIC_PREFIX + name in self._table
            }
            for code, name, message in check_values(variables, statistics, sdf_of_mesh=sdf_of_mesh):
                self._report.add(code, f"case {self._case_id(row)!r}, {name}", message)
            if "split" in self._table and self._table["split"][row] == "train":
                self._training.add(variables)

    def _read(self, row: int) -> dict[str, NDArray[Any]]:
        """Read what can be read of a case."""
        rows = {}
        for name in self._variables:
            dim = VARIABLES[name].dim
            start = int(self._table[f"{dim}_offset"][row])
            rows[name] = slice(start, start + int(self._table[f"{dim}_count"][row]))
        try:
            return dict(self._reader.read(rows))
        except UNREADABLE:
            return self._read_one_by_one(row, rows)

    def _read_one_by_one(self, row: int, rows: Mapping[str, slice]) -> dict[str, NDArray[Any]]:
        readable: dict[str, NDArray[Any]] = {}
        for name, part in rows.items():
            try:
                readable.update(self._reader.read({name: part}))
            except UNREADABLE as error:
                self._training.give_up(name)
                if not self._find_spoiled_chunks(name, part):
                    self._report.add(Code.CORRUPT_CHUNK, f"case {self._case_id(row)!r}, {name}", error)
        return readable

    def _find_spoiled_chunks(self, name: str, part: slice) -> bool:
        """Report each chunk that cannot be decoded, once; tell whether there is one in some rows."""
        array = self._arrays[name]
        length = array.chunks[0]
        found = False
        for chunk in range(part.start // length, -(-part.stop // length)):
            start, stop = chunk * length, min((chunk + 1) * length, array.shape[0])
            file = file_of(array, name, start // rows_per_file(array))
            if (name, chunk) in self._spoiled or file in self._missing_files:
                found = True
                continue
            try:
                self._reader.read({name: slice(start, stop)})
            except UNREADABLE as error:
                found = True
                self._spoiled.add((name, chunk))
                self._report.add(Code.CORRUPT_CHUNK, file, f"rows {start} to {stop - 1}: {error}")
        return found

    def _case_id(self, row: int) -> str:
        return str(self._table["case_id"][row]) if "case_id" in self._table else f"number {row}"
