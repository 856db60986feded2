"""Cases of stores built earlier: a source of their own, and a reason not to read a raw case again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpbf_dataset.build.extraction import CaseRecord
from lpbf_dataset.build.reading import Extraction
from lpbf_dataset.schema import STATISTICS, field_names
from lpbf_dataset.sources.base import CaseError, FailureReason, SourceError
from lpbf_dataset.store.case_rows import StoredRows
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.manifest import MANIFEST, StoreFiles, read_manifest
from lpbf_dataset.store.reader import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    from lpbf_dataset.schema import RaggedDim, Split
    from lpbf_dataset.store.reader import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StoredCase:
    """A case that an earlier build found.

    Parameters
    ----------
    case_id, design_id, source, location : str
        As in the catalog of that build.
    fields : tuple of str
        Simulated fields of the store.
    outcome : CaseRecord or CaseError
        What that build found out, or why the case could not be used.
    simulation : mapping of str to JSON values, or None
        How the embedded solver computed it, as far as the store tells.
    """

    case_id: str
    design_id: str
    source: str
    location: str
    fields: tuple[str, ...]
    outcome: CaseRecord | CaseError
    simulation: Mapping[str, Any] | None = None

    def field_names(self) -> Sequence[str]:
        """Name the fields of the store."""
        return self.fields


class StoreSource:
    """Every case of the catalog of a store, so that it can be selected and split anew.

    Parameters
    ----------
    path : path
        A local store of `lpbf_dataset.build.build_store`.

    Raises
    ------
    SourceError
        If it is none.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path).absolute()
        try:
            self._store = open_dataset(self._path)
            self.extraction = _extraction(self._store)
        except StoreError as error:
            raise SourceError(str(error)) from error
        if self.extraction is None:
            raise SourceError(f"{path} does not say how it was built; build anew from the raw results")

    @property
    def splits(self) -> dict[str, Split]:
        """Split of each case that is in the store, by case id."""
        table = self._store.case_table
        return dict(zip(map(str, table.index), table["split"], strict=True))

    def check(self, wanted: Extraction, history_bits: int | None) -> None:
        """Check that the cases can be taken over: they were made as is wanted now, and are whole.

        Parameters
        ----------
        wanted : Extraction
            How cases are to be made.
        history_bits : int or None
            Bits to which histories are to be rounded; None to keep all.

        Raises
        ------
        SourceError
            If not.
        """
        assert self.extraction is not None
        if not self.extraction.covers(wanted):
            raise SourceError(
                f"{self._path} holds {self.extraction}, but wanted are {wanted}: "
                "choose the same options or build from the raw results"
            )
        if not _is_precise_enough(self._store, wanted, history_bits):
            raise SourceError(
                f"the history of {self._path} is rounded to {self._store.history_bits} bits, which gives no "
                f"other precision: give --round_history {self._store.history_bits} or build from the raw "
                "results"
            )
        try:
            _check_whole(self._path)
        except StoreError as error:
            raise SourceError(str(error)) from error

    def cases(self) -> Iterator[StoredCase]:
        """Yield the cases of the catalog, those that could be read first: a duplicate may bear their name."""
        records = _records(self._store)
        fields = tuple(name for name in field_names(include_optional=True) if name in self._store.variables)
        catalog = self._store.catalog().astype(str)
        by_reading = catalog.iloc[(catalog["content_hash"] == "").argsort(kind="stable")]
        rows: list[dict[str, str]] = by_reading.to_dict("records")  # type: ignore[assignment]
        for row in rows:
            yield StoredCase(
                row["case_id"],
                row["design_id"],
                row["source"],
                row["location"],
                fields,
                records[row["case_id"]] if row["content_hash"] else _failure(row),
                self._store.attributes.get("simulation"),
            )


def _failure(row: Mapping[str, str]) -> CaseError:
    return CaseError(FailureReason(row["failure"]), row["reason"].partition(": ")[2])


def earlier_records(store: Path, wanted: Extraction, history_bits: int | None) -> dict[str, CaseRecord]:
    """Find what an earlier build at the same place knows of its cases.

    Parameters
    ----------
    store : Path
        Absolute path of the store, which may not exist.
    wanted : Extraction
        Cases made otherwise are of no use.
    history_bits : int or None
        Bits to which histories are to be rounded; None to keep all.

    Returns
    -------
    dict of str to CaseRecord
        By case id; empty if there is no store, or not one made alike that is whole.
    """
    if not store.exists():
        return {}
    try:
        dataset = open_dataset(store)
        extraction = _extraction(dataset)
        if extraction is None or not extraction.covers(wanted):
            return {}
        if not _is_precise_enough(dataset, wanted, history_bits):
            return {}
        _check_whole(store)
        return _records(dataset)
    except StoreError as error:
        logger.warning("%s is damaged, so every case is read again: %s", store, error)
        return {}


def _is_precise_enough(store: Dataset, wanted: Extraction, history_bits: int | None) -> bool:
    """Tell whether the history of a store serves: rounded twice, values err by more than the bound."""
    return wanted.steps == "final" or store.history_bits in (None, history_bits)


def _check_whole(store: Path) -> None:
    """Raise `StoreError` unless every file of the Zarr hierarchy is as it was written.

    What is damaged would otherwise go into the new store and be sound by its checksums.
    """
    files = StoreFiles(store)
    sizes, records = files.sizes(), read_manifest(files)
    if records is None:
        raise StoreError(f"{store} has no {MANIFEST}")
    for name, record in records.items():
        if "/" not in name and name != "zarr.json":
            continue  # a document, which nothing is taken from
        try:
            is_whole = sizes.get(name) == record.size and files.sha256(name) == record.sha256
        except OSError as error:
            raise StoreError(f"cannot read {store}/{name}: {error.strerror}") from error
        if not is_whole:
            raise StoreError(f"{store} is damaged: {name} is not as it was written; see lpbf-verify --deep")


def _extraction(store: Dataset) -> Extraction | None:
    """Tell how a store was made, if it says so and was made by `build_store`."""
    try:
        made = store.attributes["build"]["extraction"]
        # Stores of final states alone did not always say so.
        steps = made.get("steps", "final")
        extraction = Extraction(tuple(made["fields"]), made["sdf_surface"], made["version"], steps)
    except (KeyError, TypeError):
        return None
    is_whole = set(extraction.variables) <= set(store.variables)
    # Of sources that know final states alone, every step may have been asked for in vain.
    if store.has_history:
        is_whole &= set(extraction.fields) <= set(store.history_fields)
    return extraction if is_whole else None


def _records(store: Dataset) -> dict[str, CaseRecord]:
    catalog = store.catalog()
    known = catalog[catalog["content_hash"] != ""]
    rows = _rows(store)
    descriptors = store.shape_descriptors()
    records = {}
    for entry in known.to_dict("records"):
        case_id = str(entry["case_id"])
        counts, stored = rows.get(case_id, ({}, None))
        statistics = {name: entry[name] for name in STATISTICS}
        history = store.step_table(case_id) if store.has_history and stored else None
        records[case_id] = CaseRecord(
            str(entry["content_hash"]), counts, statistics, descriptors.get(case_id), stored, history
        )
    return records


def _rows(store: Dataset) -> dict[str, tuple[dict[RaggedDim, int], StoredRows]]:
    """Return counts and rows of each case in the store."""
    location = Path(store.location)
    stamp = (location / "zarr.json").stat().st_mtime_ns
    rows = {}
    for case_id in store.case_ids:
        ranges = store.row_ranges(case_id)
        counts = {dim: part.stop - part.start for dim, part in ranges.items()}
        offsets = {dim: part.start for dim, part in ranges.items()}
        rows[case_id] = counts, StoredRows(location, stamp, offsets)
    return rows
