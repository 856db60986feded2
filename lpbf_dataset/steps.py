"""The states of a case over its build, read when asked for."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, overload

from lpbf_dataset.case import Case
from lpbf_dataset.schema import HISTORY_PREFIX, HISTORY_VARIABLES, history_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.step_table import StepTable


@dataclass(frozen=True, eq=False, kw_only=True)
class CaseStep(Case):
    """The part, without the plate, after one step of its build.

    A case like any other, with the mesh and the simulated fields of the step.  A step that could not be read
    has no nodes.

    Parameters
    ----------
    index : int
        Position in the history, from 0.
    kind : {"deposited", "dwelt", "cooled", "removed", "cut"}
        What the step is, see `lpbf_dataset.sources.base.Step`.
    time : float
        Process time in s.
    height : float
        Top of the part above the plate in mm; NaN for a missing step.
    group : int
        Layer groups deposited so far.
    fault : str
        Why the step is missing; empty if it is there.
    """

    index: int
    kind: StepKind
    time: float
    height: float
    group: int
    fault: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether the step could not be read, so that it has no nodes."""
        return bool(self.fault)

    @property
    def edges(self) -> NDArray[np.int32]:
        """Unique undirected mesh edges, (edges, 2) int32, first node < second; computed each time."""
        # Compiled code, which importing the package must not load.
        from lpbf_dataset.mesh import unique_edges

        return unique_edges(self.cells, self.node_count)

    def __repr__(self) -> str:
        state = f"missing: {self.fault}" if self.is_missing else f"{self.node_count} nodes"
        return f"CaseStep({self.case_id!r}, {self.index}, {self.kind}, {self.time:g} s, {state})"


class HistoryReader(Protocol):
    """Where the rows of the history of one case lie; picklable."""

    def __len__(self) -> int:
        """Return the number of steps, missing ones included, without reading."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Simulated fields of each step, by the names of `lpbf_dataset.schema.VARIABLES`."""

    @property
    def table(self) -> StepTable:
        """What is known of each step."""

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Read rows, counted from the first of the case, of stored variables.  Raises `StoreError`."""


class Steps(Sequence[CaseStep]):
    """The history of a case: a sequence of `CaseStep`, each read when it is asked for.

    Parameters
    ----------
    case : Case
        The case, of which names and split are taken.
    reader : HistoryReader
        Where its history lies.
    """

    def __init__(self, case: Case, reader: HistoryReader) -> None:
        self._names: dict[str, Any] = {
            "case_id": case.case_id,
            "design_id": case.design_id,
            "source": case.source,
            "split": case.split,
        }
        self._reader = reader

    def __len__(self) -> int:
        return len(self._reader)

    def __repr__(self) -> str:
        return f"<Steps of {self._names['case_id']!r}: {len(self)} steps, {', '.join(self.fields)}>"

    @overload
    def __getitem__(self, index: SupportsIndex) -> CaseStep: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[CaseStep]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> CaseStep | Sequence[CaseStep]:
        if isinstance(index, slice):
            return tuple(self.read(position) for position in range(*index.indices(len(self))))
        return self.read(index)

    def read(self, index: SupportsIndex, fields: Sequence[str] | None = None) -> CaseStep:
        """Read the mesh and some fields of a step.

        Parameters
        ----------
        index : int
            Position, negative ones from the end.
        fields : sequence of str, optional
            Fields to read; all by default, see `fields`.

        Returns
        -------
        CaseStep
            Without nodes if the step is missing.

        Raises
        ------
        IndexError
            If there is no such step.
        KeyError
            If a field is not kept.
        StoreError
            If the store is damaged.
        """
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"step {position} of {len(self)}")
        position %= len(self)
        wanted = self.fields if fields is None else fields
        if unknown := [name for name in wanted if name not in self.fields]:
            raise KeyError(f"the history has no field {unknown[0]!r}; it has {', '.join(self.fields)}")
        table, rows = self.table, self.table.rows(position)
        names = [HISTORY_PREFIX + name for name in ("points", "cells", *wanted)]
        values = self._reader.read({name: rows[HISTORY_VARIABLES[name].dim] for name in names})
        return CaseStep(
            **self._names,
            variables={name.removeprefix(HISTORY_PREFIX): values[name] for name in names},
            index=position,
            kind=table.kinds[position],
            time=float(table.time[position]),
            height=float(table.height[position]),
            group=int(table.group[position]),
            fault=str(table.fault[position]),
        )

    def arrays(self, fields: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """Read the meshes and some fields of all steps, end to end as a store holds them.

        Parameters
        ----------
        fields : sequence of str
            Some of `fields`.

        Returns
        -------
        dict of str to ndarray
            By the names of `lpbf_dataset.schema.history_variables`; `table` tells where a step begins.

        Raises
        ------
        StoreError
            If the store is damaged.
        """
        counts = self.table.counts
        names = history_variables(fields)
        return self._reader.read({name: slice(0, counts[HISTORY_VARIABLES[name].dim]) for name in names})

    @property
    def fields(self) -> tuple[str, ...]:
        """Simulated fields of each step, by the names of `lpbf_dataset.schema.VARIABLES`."""
        return self._reader.fields

    @cached_property
    def table(self) -> StepTable:
        """Kind, time, height and so on of every step, without reading their states."""
        return self._reader.table


@dataclass(frozen=True, eq=False)
class HistoryInMemory:
    """The history of a case that is in no store.

    Parameters
    ----------
    table : StepTable
        What is known of each step.
    variables : mapping of str to ndarray
        By the names of `lpbf_dataset.schema.HISTORY_VARIABLES`, the steps end to end.
    """

    table: StepTable
    variables: Mapping[str, NDArray[np.generic]]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def fields(self) -> tuple[str, ...]:
        """Simulated fields of each step."""
        return tuple(
            name.removeprefix(HISTORY_PREFIX)
            for name in self.variables
            if HISTORY_VARIABLES[name].dim == "step_node"
        )

    def read(self, rows: Mapping[str, slice]) -> dict[str, NDArray[np.generic]]:
        """Return rows of the variables."""
        return {name: self.variables[name][part] for name, part in rows.items()}
