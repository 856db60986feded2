"""Cases of stores built earlier: a source of their own, and a reason not to read a raw case again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lpbf_dataset.build.extraction import CaseRecord, Extraction
from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS, field_names
from lpbf_dataset.sources.base import CaseError, FailureReason, SourceError
from lpbf_dataset.store.case_rows import StoredRows
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.reader import open_dataset

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from os import PathLike

    import pandas as pd

    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.sources.base import Step, Surface
    from lpbf_dataset.store.reader import Dataset


@dataclass(frozen=True, eq=False)
class StoredCase:
    """A case that an earlier build found.

    Parameters
    ----------
    case_id, design_id, source, location : str
        As in the catalog of that build.
    hash : str
        Of the content that was read then.
    fields : tuple of str
        Simulated fields of the store.
    record : CaseRecord or None
        What is known of it, if it could be read.
    error : CaseError
        Why its arrays are not in the store, if they are asked for.
    """

    case_id: str
    design_id: str
    source: str
    location: str
    hash: str
    fields: tuple[str, ...]
    record: CaseRecord | None
    error: CaseError

    def content_hash(self) -> str:
        """Hash of what was read by the earlier build."""
        return self.hash

    def field_names(self) -> Sequence[str]:
        """Name the fields of the store."""
        return self.fields

    def steps(self, fields: Collection[str] | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse: the case is read from its record."""
        raise self.error

    def final_step(self, fields: Collection[str] | None = None) -> Step:  # noqa: ARG002
        """Refuse: the case is read from its record."""
        raise self.error

    def surface(self) -> Surface | None:
        """Return None: the part surface is not in a store."""
        return None


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

    def check(self, wanted: Extraction) -> None:
        """Raise `SourceError` unless the store was made as is wanted now."""
        assert self.extraction is not None
        if not self.extraction.covers(wanted):
            raise SourceError(
                f"{self._path} holds {self.extraction}, but {wanted} is wanted: "
                "choose the same options or build from the raw results"
            )

    def cases(self) -> Iterator[StoredCase]:
        """Yield the cases of the catalog, kept or not."""
        records = _records(self._store)
        fields = tuple(name for name in field_names(include_optional=True) if name in self._store.variables)
        for row in self._store.catalog().itertuples():
            error = CaseError(
                FailureReason.NOT_STORED,
                f"rejected ({row.reason}) when {self._path} was built, so it is not in there: "
                f"build from {row.location}",
            )
            if row.status == "failed":
                reason, _, detail = str(row.reason).partition(": ")
                error = CaseError(FailureReason(reason), detail)
            yield StoredCase(
                str(row.case_id),
                str(row.design_id),
                str(row.source),
                str(row.location),
                str(row.content_hash),
                fields,
                records.get(str(row.case_id)),
                error,
            )


def earlier_records(store: Path, wanted: Extraction) -> dict[str, CaseRecord]:
    """Find what an earlier build at the same place knows of its cases.

    Parameters
    ----------
    store : Path
        Absolute path of the store, which may not exist.
    wanted : Extraction
        Cases made otherwise are of no use.

    Returns
    -------
    dict of str to CaseRecord
        By case id; empty if there is no store or not one made alike.
    """
    if not store.exists():
        return {}
    try:
        dataset = open_dataset(store)
        extraction = _extraction(dataset)
        return _records(dataset) if extraction and extraction.covers(wanted) else {}
    except (StoreError, KeyError):
        # A damaged store is about to be replaced: nothing of it is taken over.
        return {}


def _extraction(store: Dataset) -> Extraction | None:
    made = store.attributes.get("build", {}).get("extraction")
    if not made or not set(made["fields"]) <= set(store.variables):
        return None
    return Extraction(tuple(made["fields"]), made["sdf_surface"], made["version"])


def _records(store: Dataset) -> dict[str, CaseRecord]:
    catalog = store.catalog()
    known = catalog[catalog["status"].isin(["kept", "rejected"])]
    hashes = dict(zip(known["case_id"], known["content_hash"], strict=True))
    names = [name for name in STATISTICS if name in known]
    statistics = {row["case_id"]: {name: row[name] for name in names} for row in known.to_dict("records")}
    rows = _rows(store)
    descriptors = store.shape_descriptors()
    return {
        str(case_id): CaseRecord(
            str(hashes[case_id]),
            rows[case_id][0] if case_id in rows else {},
            statistics[case_id],
            descriptors.get(str(case_id)),
            rows[case_id][1] if case_id in rows else None,
        )
        for case_id in known["case_id"]
    }


def _rows(store: Dataset) -> dict[str, tuple[dict[RaggedDim, int], StoredRows]]:
    """Return counts and rows of each case in the store."""
    location = Path(store.location)
    stamp = (location / "zarr.json").stat().st_mtime_ns
    table: pd.DataFrame = store.case_table
    return {
        str(case_id): (
            {dim: int(row[f"{dim}_count"]) for dim in RAGGED_DIMS},
            StoredRows(location, stamp, {dim: int(row[f"{dim}_offset"]) for dim in RAGGED_DIMS}),
        )
        for case_id, row in table.iterrows()
    }
