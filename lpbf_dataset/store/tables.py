"""The tables of a store: one row per stored case, and one per case found (the catalog)."""

from __future__ import annotations

import math
from asyncio import gather
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from zarr.core.sync import sync

from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS
from lpbf_dataset.store.layout import (
    CASE_DIM,
    CATALOG_DIM,
    CATALOG_GROUP,
    SHAPE_DESCRIPTOR,
    STATISTIC_PREFIX,
    StoreError,
    table_attributes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.step_table import StepTable
    from lpbf_dataset.store.case_rows import CaseRows


@dataclass(frozen=True, eq=False)
class Member:
    """A case that goes into a store.

    Parameters
    ----------
    case_id, design_id, source : str
        As in `lpbf_dataset.Case`.
    counts : mapping of str to int
        Number of rows along each ragged dimension.
    rows : CaseRows
        Its arrays.
    statistics : mapping of str to float or int
        Those known.
    descriptor : (k,) float ndarray, optional
        Its shape in numbers, see `lpbf_dataset.curation.shape`.
    history : StepTable, optional
        Its steps, if they are stored.
    """

    case_id: str
    design_id: str
    source: str
    counts: Mapping[RaggedDim, int]
    rows: CaseRows
    statistics: Mapping[str, float | int] = field(default_factory=dict)
    descriptor: NDArray[np.floating] | None = None
    history: StepTable | None = None


def write_case_table(group: zarr.Group, members: Sequence[Member], splits: Mapping[str, str]) -> None:
    """Write one array of length ``case`` per variable of the case table.

    Parameters
    ----------
    group : zarr.Group
        Root of the store.
    members : sequence of Member
        The cases, in the order in which they are stored.
    splits : mapping of str to str
        By case id.
    """
    columns: dict[str, NDArray[np.generic]] = {
        "case_id": _text([member.case_id for member in members]),
        "design_id": _text([member.design_id for member in members]),
        "source": _text([member.source for member in members]),
        "split": _text([splits[member.case_id] for member in members]),
    }
    for dim in RAGGED_DIMS:
        counts = np.array([member.counts[dim] for member in members], dtype=np.int64)
        columns[f"{dim}_count"] = counts
        columns[f"{dim}_offset"] = np.cumsum(counts) - counts
    for name, statistic in STATISTICS.items():
        unknown = -1 if np.issubdtype(np.dtype(statistic.dtype), np.integer) else math.nan
        values = [member.statistics.get(name, unknown) for member in members]
        columns[STATISTIC_PREFIX + name] = np.array(values, dtype=statistic.dtype)
    for name, attributes in table_attributes().items():
        write_column(group, name, columns[name], CASE_DIM, attributes)
    descriptors = [member.descriptor for member in members if member.descriptor is not None]
    if members and len(descriptors) == len(members):
        group.create_array(
            SHAPE_DESCRIPTOR,
            data=np.stack(descriptors),
            dimension_names=(CASE_DIM, "descriptor"),
            attributes={
                "units": "1",
                "long_name": "shape of the part, for finding near-duplicates",
            },
        )


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
        write_column(subgroup, name, _column_values(catalog[name]), CATALOG_DIM, attributes)


def read_catalog(group: zarr.Group) -> pd.DataFrame:
    """Read what `write_catalog` wrote, with a fresh index."""
    import pandas as pd

    subgroup = group[CATALOG_GROUP]
    assert isinstance(subgroup, zarr.Group)
    columns: list[str] = subgroup.attrs["columns"]  # type: ignore[assignment]
    return pd.DataFrame(read_columns(subgroup, columns), columns=columns)


def read_columns(group: zarr.Group, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Read whole arrays, all at the same time; text becomes an object array of str."""
    arrays = [cast("zarr.Array[Any]", group[name]) for name in names]
    columns = dict(zip(names, sync(_read_whole(arrays)), strict=True))
    return {name: _as_objects(values) for name, values in columns.items()}


async def _read_whole(arrays: Sequence[zarr.Array[Any]]) -> list[NDArray[np.generic]]:
    reading = (array.async_array.getitem(...) for array in arrays)
    return [np.asarray(values) for values in await gather(*reading)]


def _as_objects(values: NDArray[np.generic]) -> NDArray[np.generic]:
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


def write_column(
    group: zarr.Group, name: str, values: NDArray[np.generic], dim: str, attributes: Mapping[str, Any]
) -> None:
    """Write one array of a table, text as objects, in one chunk."""
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
