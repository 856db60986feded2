"""Writing a store: case after case, then in place at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from lpbf_dataset.schema import field_names, history_variables
from lpbf_dataset.step_table import StepTable
from lpbf_dataset.steps import Steps
from lpbf_dataset.store.assemble import assemble
from lpbf_dataset.store.case_rows import SpooledRows, spool_case
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.manifest import write_manifest
from lpbf_dataset.store.replacement import Replacement
from lpbf_dataset.store.tables import Member
from lpbf_dataset.store.validate import check_case, check_history

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset.case import Case


class StoreWriter:
    """Write cases to a new store.

    >>> with StoreWriter("lpbf.zarr", fields=("displacement",)) as writer:  # doctest: +SKIP
    ...     for case in cases:
    ...         writer.append(case)
    ...     writer.finish(splits, catalog)

    The store grows beside the target and is renamed into place by `finish` (see `Replacement`); an
    earlier store at the target is removed only then.  Leaving the ``with`` block before that, for
    whatever reason, removes what was written and leaves the target as it was.  The same cases in the
    same order give the same bytes.

    Parameters
    ----------
    path : path
        The store to write.  Missing parent folders are made.
    fields : sequence of str
        Nodal variables that every case has, by the names of `lpbf_dataset.schema.VARIABLES`; of a history,
        if there is one, the simulated ones among them.
    encoding : Encoding, optional
        Chunks, shards and codec.

    Raises
    ------
    StoreError
        If something that is not a store is at `path`, another process writes it, or nothing can be
        written there.
    """

    def __init__(
        self, path: str | PathLike[str], fields: Sequence[str], encoding: Encoding | None = None
    ) -> None:
        self._replacement = Replacement(path)
        self._fields = tuple(fields)
        self._simulated = tuple(name for name in field_names(include_optional=True) if name in self._fields)
        self._encoding = encoding
        self._members: dict[str, Member] = {}

    def __enter__(self) -> Self:
        self._replacement.__enter__()
        self._replacement.create_scratch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replacement.__exit__(kind, error, trace)

    def append(self, case: Case) -> None:
        """Add a case.

        Parameters
        ----------
        case : Case
            With the mesh, the fields of this store and, as far as known, the statistics.  Other
            variables are left out; its split is given to `finish`.  If it has steps, of another store or of
            `lpbf_dataset.steps.HistoryInMemory`, they are stored, too; without them, it goes in as
            ``dataclasses.replace(case, steps=())``.

        Raises
        ------
        StoreError
            If a variable is missing or is not as the schema says, or the case was added before.
        """
        if case.case_id in self._members:
            raise StoreError(f"case {case.case_id!r} was added before; case ids must be unique")
        counts = check_case(case, self._fields)
        table, of_history = self._history(case)
        path = self._replacement.scratch / f"{len(self._members)}.safetensors"
        spool_case(path, {**case.variables, **of_history}, {})
        self._members[case.case_id] = Member(
            case.case_id,
            case.design_id,
            case.source,
            counts | table.counts,
            SpooledRows(path),
            dict(case.statistics),
            history=table,
        )

    def _history(self, case: Case) -> tuple[StepTable, dict[str, NDArray[np.generic]]]:
        """Read and check the steps of a case."""
        if not case.steps:
            return StepTable.from_json({}), {}
        if not isinstance(case.steps, Steps):
            raise StoreError(
                f"case {case.case_id!r}: steps that are stored must be lpbf_dataset.steps.Steps, "
                f"not {type(case.steps).__name__}"
            )
        if missing := [name for name in self._simulated if name not in case.steps.fields]:
            raise StoreError(
                f"case {case.case_id!r}: its steps have no field {missing[0]!r}, which the store holds"
            )
        values = case.steps.arrays(self._simulated)
        check_history(case.case_id, case.steps.table, values)
        return case.steps.table, values

    def finish(
        self,
        splits: Mapping[str, str],
        catalog: pd.DataFrame,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Complete the store and put it in place.

        Parameters
        ----------
        splits : mapping of str to str
            "train", "val" or "test" for each case that was added, by case id.
        catalog : DataFrame
            Every case found, kept or not, one a row; columns of text, numbers or booleans.
        attributes : mapping of str to JSON values, optional
            Root attributes on top of those every store has, for example the build configuration.

        Raises
        ------
        StoreError
            If a case has no split or an unknown one, or a column of the catalog cannot be stored.
        """
        members = list(self._members.values())
        assemble(
            self._replacement.folder,
            members,
            self._fields,
            splits,
            catalog,
            attributes or {},
            self._encoding,
            history=history_variables(self._simulated),
        )
        write_manifest(self._replacement.folder)
        self._replacement.commit()
