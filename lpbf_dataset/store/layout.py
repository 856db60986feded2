"""What a store looks like on disk: names, attributes, chunks and codecs.

`lpbf_dataset.schema` lists the ragged variables and the statistics; here is how they are laid out
as Zarr format 3 arrays, shared by the writer and the reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS, component_names

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
        No compression, or Blosc with byte shuffle and LZ4 (level 5) or Zstandard (level 1).
    """

    chunk_rows: int = 16_384
    shard_bytes: int = 32 * 2**20
    codec: Literal["none", "lz4", "zstd"] = "lz4"

    def rows_per_shard(self, variable: Variable) -> int:
        """Rows of a variable in one shard, a whole number of chunks."""
        row_bytes = np.dtype(variable.dtype).itemsize * math.prod(variable.row_shape)
        return self.chunk_rows * max(1, self.shard_bytes // (self.chunk_rows * row_bytes))


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
        table[f"{dim}_count"] = {"units": "1", "long_name": f"number of {dim}s", "sample_dimension": dim}
    for dim in RAGGED_DIMS:
        table[f"{dim}_offset"] = {"units": "1", "long_name": f"first {dim} of the case"}
    for name, statistic in STATISTICS.items():
        table[STATISTIC_PREFIX + name] = {"units": statistic.units, "long_name": statistic.long_name}
    return table
