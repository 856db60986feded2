"""The catalog of a store as a Parquet table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.export.files import written_whole
from lpbf_dataset.schema import STATISTICS

if TYPE_CHECKING:
    from os import PathLike

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
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pa.Table.from_pandas(dataset.catalog(), preserve_index=False)
    fields = [field.with_metadata(_metadata(field.name)) for field in table.schema]
    path = Path(folder, CATALOG_FILE)
    with written_whole(path) as partial:
        pq.write_table(table.cast(pa.schema(fields, metadata=table.schema.metadata)), partial)
    return [path]


def _metadata(column: str) -> dict[str, str]:
    statistic = STATISTICS.get(column)
    return {"units": statistic.units, "long_name": statistic.long_name} if statistic else {}
