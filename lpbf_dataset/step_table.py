"""What is known of each step of a history, and where its rows lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.schema import HISTORY_DIMS, STEP_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim, StepKind

_DTYPES: dict[str, np.dtype[Any]] = {
    "kind": np.dtype(np.int8),
    "time": np.dtype(np.float64),
    "height": np.dtype(np.float32),
    "group": np.dtype(np.int32),
    "number": np.dtype(np.int32),
    "mesh": np.dtype(np.int32),
    "fault": np.dtype(object),
    "step_node_count": np.dtype(np.int64),
    "mesh_node_count": np.dtype(np.int64),
    "mesh_cell_count": np.dtype(np.int64),
}


@dataclass(frozen=True, eq=False)
class StepTable:
    """The steps of one case, s of them, on m different meshes.

    A step that could not be read has a ``fault``, no nodes, and no mesh.

    Parameters
    ----------
    kind : (s,) int8 ndarray
        Index in `lpbf_dataset.schema.STEP_KINDS`.
    time : (s,) float64 ndarray
        Process time in s.
    height : (s,) float32 ndarray
        Top of the part above the plate in mm; NaN for a missing step.
    group : (s,) int32 ndarray
        Layer groups deposited so far.
    number : (s,) int32 ndarray
        Number of the result as its source counts them.
    mesh : (s,) int32 ndarray
        Mesh of the step, -1 for a missing step.
    fault : (s,) object ndarray of str
        Why a step is missing; empty for one that is there.
    step_node_count : (s,) int64 ndarray
        Nodes of each step.
    mesh_node_count, mesh_cell_count : (m,) int64 ndarray
        Nodes and cells of each mesh.
    """

    kind: NDArray[np.int8]
    time: NDArray[np.float64]
    height: NDArray[np.float32]
    group: NDArray[np.int32]
    number: NDArray[np.int32]
    mesh: NDArray[np.int32]
    fault: NDArray[np.object_]
    step_node_count: NDArray[np.int64]
    mesh_node_count: NDArray[np.int64]
    mesh_cell_count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def counts(self) -> dict[RaggedDim, int]:
        """Rows of the case along each ragged dimension of a history."""
        return {dim: int(self._counts(dim).sum()) for dim in HISTORY_DIMS}

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Whether each step could not be read, (s,) bool."""
        return self.mesh < 0

    @property
    def kinds(self) -> tuple[StepKind, ...]:
        """What each step is, in words."""
        return tuple(STEP_KINDS[index] for index in self.kind)

    def rows(self, step: int) -> dict[RaggedDim, slice]:
        """Rows of a step, counted from the first of the case, by ragged dimension."""
        mesh = int(self.mesh[step])
        chosen: dict[RaggedDim, int] = {"step_node": step, "mesh_node": mesh, "mesh_cell": mesh}
        return {dim: self._row_range(dim, index) for dim, index in chosen.items()}

    def to_json(self) -> dict[str, list[Any]]:
        """Return the columns as lists of plain values, from which `from_json` makes the same table."""
        return {name: getattr(self, name).tolist() for name in _DTYPES}

    @classmethod
    def from_json(cls, columns: Mapping[str, list[Any]]) -> StepTable:
        """Undo `to_json`; missing columns are empty."""
        return cls(**{name: np.array(columns.get(name, []), dtype) for name, dtype in _DTYPES.items()})

    def _counts(self, dim: RaggedDim) -> NDArray[np.int64]:
        """Rows along a dimension of each step or mesh."""
        if dim == "step":
            return np.ones_like(self.step_node_count)
        if dim == "mesh":
            return np.ones_like(self.mesh_node_count)
        counts: NDArray[np.int64] = getattr(self, f"{dim}_count")
        return counts

    def _row_range(self, dim: RaggedDim, index: int) -> slice:
        if index < 0:
            return slice(0, 0)
        counts = self._counts(dim)
        start = int(counts[:index].sum())
        return slice(start, start + int(counts[index]))
