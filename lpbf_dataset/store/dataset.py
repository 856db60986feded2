"""The cases of an open store, and views of some of them."""

from __future__ import annotations

import difflib
import operator
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np

from lpbf_dataset.schema import SPLITS, STEP_COLUMNS, STEP_KINDS
from lpbf_dataset.store.filesystem import reporting
from lpbf_dataset.store.layout import SHAPE_DESCRIPTOR, StoreError
from lpbf_dataset.store.location import open_group
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.tables import read_catalog, read_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    from lpbf_dataset.case import Case
    from lpbf_dataset.schema import RaggedDim, Split
    from lpbf_dataset.step_table import StepTable
    from lpbf_dataset.store.open_store import OpenStore


class Dataset:
    """Cases of a store, read when asked for; `open_dataset` makes one.

    Index it by position or case id for a `Case`, by a slice for a view; iterate over it for every
    case in turn.  It may be pickled and forked, so data loaders may have workers.

    A store that is built anew in the same place must be opened again.
    """

    def __init__(self, store: OpenStore, rows: NDArray[np.int64]) -> None:
        self._store = store
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Dataset {self._store.location}: {len(self)} cases, {', '.join(self.variables)}>"

    def __iter__(self) -> Iterator[Case]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, case_id: object) -> bool:
        row = self._store.row_of.get(case_id) if isinstance(case_id, str) else None
        return row is not None and row in self._rows

    @overload
    def __getitem__(self, key: SupportsIndex | str) -> Case: ...

    @overload
    def __getitem__(self, key: slice) -> Dataset: ...

    def __getitem__(self, key: SupportsIndex | str | slice) -> Case | Dataset:
        if isinstance(key, slice):
            return Dataset(self._store, self._rows[key])
        return self.read(key, self.variables)

    def read(self, key: SupportsIndex | str, variables: Sequence[str]) -> Case:
        """Read some variables of a case.

        Parameters
        ----------
        key : int or str
            Position in this view, negative ones from its end, or case id.
        variables : sequence of str
            What to read, for example ``("points", "displacement")``; see `variables`.

        Returns
        -------
        Case
            With these variables alone.

        Raises
        ------
        IndexError, KeyError
            If there is no such case in this view.
        StoreError
            If the store does not hold a variable, or is damaged.
        """
        return self._store.read_case(self._row(key), variables)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables of each case, of `lpbf_dataset.schema.VARIABLES`."""
        return self._store.variables

    @property
    def has_history(self) -> bool:
        """Whether the store holds the states of its cases over the build, see `lpbf_dataset.Case.steps`."""
        return self._store.histories is not None

    @property
    def history_fields(self) -> tuple[str, ...]:
        """Simulated fields of each step of a history, of `lpbf_dataset.schema.VARIABLES`."""
        return self._store.histories.fields if self._store.histories else ()

    @property
    def history_bits(self) -> int | None:
        """Bits to which the history is rounded, see `lpbf_dataset.store.rounding`; None if it is not."""
        return self._store.history_bits

    def step_table(self, key: SupportsIndex | str) -> StepTable:
        """Tell what is known of each step of a case, without reading their states.

        Parameters
        ----------
        key : int or str
            Position in this view, or case id.

        Raises
        ------
        IndexError, KeyError
            If there is no such case in this view.
        StoreError
            If the store holds no history, or is damaged.
        """
        if self._store.histories is None:
            raise StoreError(
                f"{self.location} holds final states alone; build it with lpbf-build --steps all"
            )
        return self._store.histories.tables.table(self._row(key))

    def step_frame(self) -> pd.DataFrame:
        """Every step of the cases of this view, missing ones included: one a row, none without a history.

        Returns
        -------
        DataFrame
            ``case_id``, ``step`` (its position in the history, from 0), and the columns of the store along
            ``step``, named as there: `lpbf_dataset.schema.STEP_COLUMNS`, of which ``step_kind`` is in words,
            ``step_node_count`` and ``step_node_offset``.

        Raises
        ------
        StoreError
            If the store is damaged.
        """
        import pandas as pd

        if self._store.histories is None:
            return pd.DataFrame(columns=["case_id", "step", *STEP_COLUMNS])
        columns = self._store.histories.tables.of_cases(self._rows)
        case_ids = self._store.table["case_id"][self._rows][columns.pop("case")]
        kinds = np.array(STEP_KINDS, dtype=object)[columns["step_kind"]]
        return pd.DataFrame({"case_id": case_ids, **columns, "step_kind": kinds})

    def row_ranges(self, key: SupportsIndex | str) -> dict[RaggedDim, slice]:
        """Where the rows of a case lie along each ragged dimension of the store.

        Parameters
        ----------
        key : int or str
            Position in this view, or case id.

        Raises
        ------
        IndexError, KeyError
            If there is no such case in this view.
        StoreError
            If the store is damaged.
        """
        row = self._row(key)
        ranges = self._store.row_ranges(row)
        if self._store.histories is not None:
            tables = self._store.histories.tables
            counts = tables.table(row).counts
            ranges |= {dim: slice(start, start + counts[dim]) for dim, start in tables.offsets(row).items()}
        return ranges

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Case ids of this view, in order."""
        return tuple(self._store.table["case_id"][self._rows])

    @property
    def case_table(self) -> pd.DataFrame:
        """Per-case variables of this view, named as in the store; the index is the case id."""
        import pandas as pd

        frame = pd.DataFrame({name: values[self._rows] for name, values in self._store.table.items()})
        return frame.set_index("case_id")

    @property
    def location(self) -> Path | str:
        """Absolute path of a local store, or URL of a remote one."""
        return self._store.location

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Root attributes: layout, producer, build configuration, licence and so on."""
        return self._store.attributes

    @property
    def normalization(self) -> dict[str, Moments]:
        """Moments of each nodal variable over all nodes of the *training* split, in its unit.

        Those of the fields of histories are over all nodes of all steps, and named as in the store, for
        example ``history_displacement``.
        """
        stored = self._store.attributes["normalization"]
        return {name: Moments.from_json(values) for name, values in stored.items()}

    def split(self, name: Split) -> Dataset:
        """View of the cases of this view that belong to a split.

        Parameters
        ----------
        name : {"train", "val", "test"}
            The split.
        """
        if name not in SPLITS:
            raise ValueError(f"no split named {name!r}; there are {', '.join(SPLITS)}")
        return Dataset(self._store, self._rows[self._store.table["split"][self._rows] == name])

    @property
    def train(self) -> Dataset:
        """Training cases."""
        return self.split("train")

    @property
    def val(self) -> Dataset:
        """Validation cases."""
        return self.split("val")

    @property
    def test(self) -> Dataset:
        """Test cases."""
        return self.split("test")

    def to_xarray(self) -> xr.Dataset:
        """Whole store, whatever the view, as a labelled dataset of lazy dask arrays."""
        import xarray as xr

        return xr.open_zarr(str(self._store.location))

    def catalog(self) -> pd.DataFrame:
        """Every case that the build found, kept or not, and why: one a row."""
        with reporting(f"cannot read the catalog of {self._store.location}"):
            return read_catalog(open_group(self._store.location))

    def shape_descriptors(self) -> dict[str, NDArray[np.float64]]:
        """Shape of each case of this view in numbers, by case id; empty where the store has none.

        See `lpbf_dataset.curation.shape`.
        """
        with reporting(f"cannot read {self._store.location}"):
            group = open_group(self._store.location)
            if SHAPE_DESCRIPTOR not in group:
                return {}
            descriptors = read_columns(group, [SHAPE_DESCRIPTOR])[SHAPE_DESCRIPTOR][self._rows]
        return dict(zip(self.case_ids, descriptors, strict=True))

    def _row(self, key: SupportsIndex | str) -> int:
        """Row of the case table."""
        if isinstance(key, str):
            if key not in self:
                raise KeyError(self._unknown(key))
            return self._store.row_of[key]
        position = operator.index(key)
        if not -len(self) <= position < len(self):
            raise IndexError(f"case {position} of {len(self)}")
        return int(self._rows[position])

    def _unknown(self, case_id: str) -> str:
        if case_id in self._store.row_of:
            split = self._store.table["split"][self._store.row_of[case_id]]
            return f"case {case_id!r} is not in this view; it is a {split} case"
        nearest = difflib.get_close_matches(case_id, self.case_ids, n=3, cutoff=0.0)
        return f"no case {case_id!r} in {self._store.location}; nearest: {', '.join(nearest)}"
