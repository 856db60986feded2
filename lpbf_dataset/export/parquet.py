"""The catalog of a store, and the steps of its histories, as Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.curation.histories import STEPS_FILE
from lpbf_dataset.export.files import written_whole
from lpbf_dataset.schema import STATISTICS, STEP_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    import pandas as pd

    from lpbf_dataset.schema import Statistic, StepColumn
    from lpbf_dataset.store.reader import Dataset

CATALOG_FILE = "catalog.parquet"


def export_catalog(dataset: Dataset, folder: str | PathLike[str]) -> list[Path]:
    """Write the catalog of a store as ``catalog.parquet``.

    Each statistic carries ``units`` and ``long_name`` in the metadata of its column
    (``pyarrow.parquet.read_schema(path).field("max_z").metadata``).  Needs the ``export`` extra.

    Parameters
    ----------
    dataset : Dataset
        Any view of the store: the catalog lists every case that the build found, kept or not.
    folder : path
        Where to write; a file that is there is replaced.

    Returns
    -------
    list of Path
        The one file.

    Raises
    ------
    ExportError
        If the folder cannot be one.
    """
    path = Path(folder, CATALOG_FILE)
    _write(dataset.catalog(), path, STATISTICS)
    return [path]


def export_steps(dataset: Dataset, folder: str | PathLike[str]) -> Path:
    """Write the steps of the histories of a store as ``steps.parquet``, one a row.

    Columns are those of `lpbf_dataset.store.dataset.Dataset.step_frame`, with their units as `export_catalog`
    has them.

    Parameters
    ----------
    dataset : Dataset
        Cases of a store with a history.
    folder : path
        Where to write; a file that is there is replaced.

    Raises
    ------
    ExportError
        If the folder cannot be one.
    StoreError
        If the store is damaged.
    """
    path = Path(folder, STEPS_FILE)
    _write(dataset.step_frame(), path, STEP_COLUMNS)
    return path


def _write(frame: pd.DataFrame, path: Path, described: Mapping[str, Statistic | StepColumn]) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [
        field.with_metadata(_metadata(described[field.name])) if field.name in described else field
        for field in table.schema
    ]
    with written_whole(path) as partial:
        pq.write_table(table.cast(pa.schema(fields, metadata=table.schema.metadata)), partial)


def _metadata(column: Statistic | StepColumn) -> dict[str, str]:
    return {"units": column.units, "long_name": column.long_name}
