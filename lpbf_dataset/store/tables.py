"""The tables of a store: one row per stored case, and one per case found (the catalog)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS
from lpbf_dataset.store.layout import (
    CASE_DIM,
    CATALOG_DIM,
    CATALOG_GROUP,
    STATISTIC_PREFIX,
    StoreError,
    table_attributes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim


@dataclass(frozen=True)
class CaseRow:
    """What the case table says of a case beside its id and its split.

    Parameters
    ----------
    design_id, source : str
        As in `lpbf_dataset.Case`.
    counts : mapping of str to int
        Number of nodes, cells and edges.
    statistics : mapping of str to float or int
        Those known.
    """

    design_id: str
    source: str
    counts: Mapping[RaggedDim, int]
    statistics: Mapping[str, float | int]


def write_case_table(group: zarr.Group, rows: Mapping[str, CaseRow], splits: Mapping[str, str]) -> None:
    """Write one array of length ``case`` per variable of the case table.

    Parameters
    ----------
    group : zarr.Group
        Root of the store.
    rows : mapping of str to CaseRow
        By case id, in the order in which the cases are stored.
    splits : mapping of str to str
        By case id.
    """
    columns: dict[str, NDArray[np.generic]] = {
        "case_id": _text(list(rows)),
        "design_id": _text([row.design_id for row in rows.values()]),
        "source": _text([row.source for row in rows.values()]),
        "split": _text([splits[case_id] for case_id in rows]),
    }
    for dim in RAGGED_DIMS:
        counts = np.array([row.counts[dim] for row in rows.values()], dtype=np.int64)
        columns[f"{dim}_count"] = counts
        columns[f"{dim}_offset"] = np.cumsum(counts) - counts
    for name, statistic in STATISTICS.items():
        unknown = -1 if np.issubdtype(np.dtype(statistic.dtype), np.integer) else math.nan
        values = [row.statistics.get(name, unknown) for row in rows.values()]
        columns[STATISTIC_PREFIX + name] = np.array(values, dtype=statistic.dtype)
    for name, attributes in table_attributes().items():
        _write_column(group, name, columns[name], CASE_DIM, attributes)


def write_catalog(group: zarr.Group, catalog: pd.DataFrame) -> None:
    """Write a table as a group of one array per column.

    Parameters
    ----------
    group : zarr.Group
        Root of the store.
    catalog : DataFrame
        Columns of text, numbers or booleans; its index is not stored.

    Raises
    ------
    StoreError
        If a column holds anything else.
    """
    # Members of a group have no order, columns of a table do.
    subgroup = group.create_group(CATALOG_GROUP, attributes={"columns": list(catalog.columns)})
    for name in catalog.columns:
        attributes: dict[str, Any] = {}
        if name in STATISTICS:
            attributes = {"units": STATISTICS[name].units, "long_name": STATISTICS[name].long_name}
        _write_column(subgroup, name, _column_values(catalog[name]), CATALOG_DIM, attributes)


def read_catalog(group: zarr.Group) -> pd.DataFrame:
    """Read what `write_catalog` wrote, with a fresh index."""
    import pandas as pd

    subgroup = group[CATALOG_GROUP]
    assert isinstance(subgroup, zarr.Group)
    columns: list[str] = subgroup.attrs["columns"]  # type: ignore[assignment]
    return pd.DataFrame({name: read_column(subgroup, name) for name in columns}, columns=columns)


def read_column(group: zarr.Group, name: str) -> NDArray[np.generic]:
    """Read a whole array; text becomes an object array of str."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    values = np.asarray(array[:])
    return values.astype(object) if values.dtype.kind == "T" else values


def _column_values(column: pd.Series) -> NDArray[np.generic]:
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    texts = ["" if isinstance(value, float) and math.isnan(value) else value for value in values]
    if not all(isinstance(text, str) for text in texts):
        raise StoreError(f"catalog column {column.name!r} holds neither text, numbers nor booleans")
    return _text(texts)


def _text(values: Sequence[str]) -> NDArray[np.generic]:
    return np.array(values, dtype=object)


def _write_column(
    group: zarr.Group, name: str, values: NDArray[np.generic], dim: str, attributes: Mapping[str, Any]
) -> None:
    is_text = values.dtype.kind == "O"
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(max(1, len(values)),),
        dtype="string" if is_text else values.dtype,
        dimension_names=(dim,),
        attributes=dict(attributes),
    )
    if len(values):
        array[:] = values
