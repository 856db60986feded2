"""What a store looks like on disk: names, attributes, chunks and codecs.

`lpbf_dataset.schema` lists the ragged variables and the statistics; here is how they are laid out
as Zarr format 3 arrays, shared by the writer and the reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lpbf_dataset.schema import (
    HISTORY_DIMS,
    RAGGED_DIMS,
    STATISTICS,
    STEP_COLUMNS,
    STEP_KINDS,
    component_names,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from lpbf_dataset.schema import Variable

CASE_DIM = "case"
CATALOG_GROUP = "catalog"
CATALOG_DIM = "entry"
STATISTIC_PREFIX = "case_"
SHAPE_DESCRIPTOR = "case_shape_descriptor"

CASE_TEXTS = {
    "case_id": "unique name of the printed body",
    "design_id": "name of the parent CAD model",
    "source": "kind of source the case came from",
    "split": "train, val or test",
}
"""Text variables of the case table, with their long names."""

HISTORY_MARK = "step_count"
"""The array by which a store with a history is told from one of final states."""


class StoreError(ValueError):
    """A store cannot be read or written: one line that names the store and what to do."""


@dataclass(frozen=True)
class Encoding:
    """How the rows of ragged variables are cut and packed.

    The defaults were chosen by ``benchmarks/random_access.py``, which shows the times to read all of a case
    with each codec.

    Parameters
    ----------
    chunk_rows : int
        Rows per chunk, the least that is read at once.  A typical case has 21 000 nodes.
    shard_bytes : int
        Upper bound on the uncompressed bytes of a shard, which is one file and what the writer
        keeps in memory per variable.
    codec : {"none", "lz4", "zstd"}
        No compression, or Blosc with byte shuffle (bit shuffle for what is rounded) and LZ4 (level 5) or
        Zstandard (level 1).
    history_bits : int, optional
        Bits to which fields of histories are rounded, see `lpbf_dataset.store.rounding`; none to keep all.
    """

    chunk_rows: int = 16_384
    shard_bytes: int = 32 * 2**20
    codec: Literal["none", "lz4", "zstd"] = "lz4"
    history_bits: int | None = None

    def rows_per_shard(self, variable: Variable) -> int:
        """Rows of a variable in one shard, a whole number of chunks."""
        row_bytes = np.dtype(variable.dtype).itemsize * math.prod(variable.row_shape)
        return self.chunk_rows * max(1, self.shard_bytes // (self.chunk_rows * row_bytes))

    def kept_bits(self, variable: Variable) -> int | None:
        """Bits to which a variable is rounded; None if it is stored as it is."""
        return self.history_bits if variable.dim == "step_node" else None


def fill_value(dtype: DTypeLike) -> float | int:
    """Value of rows that were never written: one that no valid array holds, but False for booleans."""
    kind = np.dtype(dtype).kind
    return math.nan if kind == "f" else False if kind == "b" else -1


def variable_attributes(variable: Variable) -> dict[str, Any]:
    """Attributes of the Zarr array of a ragged variable."""
    attributes: dict[str, Any] = {"units": variable.units, "long_name": variable.long_name}
    if components := component_names(variable):
        attributes["components"] = list(components)
    return attributes


def table_attributes() -> dict[str, dict[str, Any]]:
    """Attributes of every variable of the case table, by name and in order.

    Counts carry ``sample_dimension``, by which the CF conventions (section 9.3.3) recognise a
    contiguous ragged array.
    """
    table: dict[str, dict[str, Any]] = {
        name: {"units": "1", "long_name": long_name} for name, long_name in CASE_TEXTS.items()
    }
    for dim in RAGGED_DIMS:
        table[f"{dim}_count"] = _count_attributes(dim)
    for dim in RAGGED_DIMS:
        table[f"{dim}_offset"] = _offset_attributes(dim, CASE_DIM)
    for name, statistic in STATISTICS.items():
        table[STATISTIC_PREFIX + name] = {"units": statistic.units, "long_name": statistic.long_name}
    return table


@dataclass(frozen=True)
class HistoryColumn:
    """A column of the tables of a history.

    Parameters
    ----------
    dim : {"case", "step", "mesh"}
        Along what it lies.
    dtype : str
        NumPy dtype name, or "string".
    attributes : dict of str to JSON values
        Of its array.
    """

    dim: str
    dtype: str
    attributes: dict[str, Any]


def history_columns() -> dict[str, HistoryColumn]:
    """Columns that a store with a history has, by name and in order."""
    columns: dict[str, HistoryColumn] = {}
    for dim, parent in HISTORY_DIMS.items():
        columns[f"{dim}_count"] = HistoryColumn(parent, "int64", _count_attributes(dim))
        columns[f"{dim}_offset"] = HistoryColumn(parent, "int64", _offset_attributes(dim, parent))
    for name, column in STEP_COLUMNS.items():
        attributes: dict[str, Any] = {"units": column.units, "long_name": column.long_name}
        if name == "step_kind":
            # As the CF conventions, section 3.5, write an enumeration.
            attributes |= {
                "flag_values": list(range(len(STEP_KINDS))),
                "flag_meanings": " ".join(STEP_KINDS),
            }
        columns[name] = HistoryColumn("step", column.dtype, attributes)
    return columns


def _count_attributes(dim: str) -> dict[str, Any]:
    return {"units": "1", "long_name": f"number of {_plural(_words(dim))}", "sample_dimension": dim}


def _offset_attributes(dim: str, parent: str) -> dict[str, Any]:
    return {"units": "1", "long_name": f"first {_words(dim)} of the {parent}"}


def _plural(word: str) -> str:
    return f"{word}es" if word.endswith("sh") else f"{word}s"


def _words(dim: str) -> str:
    return dim.rpartition("_")[2]
