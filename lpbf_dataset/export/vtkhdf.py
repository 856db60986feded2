"""VTKHDF, VTK's HDF5 format, for ParaView and other programs built on VTK; written without VTK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lpbf_dataset.export.files import write_cases
from lpbf_dataset.export.vtk import point_data
from lpbf_dataset.schema import STEP_COLUMNS, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset.case import Case
    from lpbf_dataset.schema import StepColumn, Variable
    from lpbf_dataset.sources.base import RawCase
    from lpbf_dataset.steps import CaseStep

VTKHDF_VERSION = (2, 0)
"""The oldest of the second major version; later minor ones add dataset types that are not used here."""

VTK_HEXAHEDRON = 12
"""Cell type of VTK, vtkCellType.h."""

CHUNK_ROWS = 16_384
"""Rows of a chunk, as in a store: 64 kB of a float32."""

_COUNTS = ("NumberOfPoints", "NumberOfCells", "NumberOfConnectivityIds")


def export_vtkhdf(cases: Iterable[Case], folder: str | PathLike[str]) -> list[Path]:
    """Write each case as ``<case id>.vtkhdf``; as `export_vtu` otherwise.

    Units and meaning of each field are attributes of its array; the format has no place for names of
    components.  Needs the ``export`` extra.
    """
    return write_cases(cases, ".vtkhdf", lambda _: Path(folder), _write)


def _write(case: Case, path: Path) -> None:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "w") as file:
        grids = GridWriter(file, case)
        grids.append_mesh(case)
        grids.append_fields(case)


class MeshPlace(NamedTuple):
    """Where a mesh is in a file: its number, and its first node, cell and entry of the connectivity."""

    part: int = 0
    point: int = 0
    cell: int = 0
    connectivity: int = 0


class GridWriter:
    """The grids of a VTKHDF file, which stand one after another.

    Parameters
    ----------
    file : h5py.File
        A new file.
    case : Case or RawCase
        The case, of which names are taken.

    Attributes
    ----------
    root : h5py.Group
        What VTK reads.
    """

    def __init__(self, file: Any, case: Case | RawCase) -> None:
        file.attrs.update(case_id=case.case_id, design_id=case.design_id, source=case.source)
        self.root = file.create_group("VTKHDF")
        self.root.attrs["Version"] = VTKHDF_VERSION
        # The reader wants a text of fixed length.
        self.root.attrs["Type"] = np.bytes_("UnstructuredGrid")
        for name in _COUNTS:
            self.root.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(64,), dtype=np.int64)
        self.root.create_group("PointData")
        self._next = MeshPlace()

    def append_mesh(self, case: Case) -> MeshPlace:
        """Write nodes and cells of a case after what is there, and say where."""
        points, cells, place = case.points, case.cells, self._next
        self._next = MeshPlace(
            part=place.part + 1,
            point=place.point + len(points),
            cell=place.cell + len(cells),
            connectivity=place.connectivity + cells.size,
        )
        for name, count in zip(_COUNTS, (len(points), len(cells), cells.size), strict=True):
            _extend(self.root[name], np.array([count]))
        self._append("Points", points)
        self._append("Connectivity", cells.ravel().astype(np.int64))
        self._append("Offsets", np.arange(0, cells.size + 1, cells.shape[1], dtype=np.int64))
        self._append("Types", np.full(len(cells), VTK_HEXAHEDRON, dtype=np.uint8))
        return place

    def append_fields(self, case: Case) -> None:
        """Write the fields of a case after those that are there."""
        for name, values in point_data(case):
            array = self._append(f"PointData/{name}", values)
            array.attrs.update(_meaning(VARIABLES[name]))

    def _append(self, name: str, rows: NDArray[np.generic]) -> Any:
        """Add rows to an array, which is made if need be; return it."""
        if name not in self.root:
            row_shape = rows.shape[1:]
            self.root.create_dataset(
                name,
                shape=(0, *row_shape),
                maxshape=(None, *row_shape),
                # A component by itself compresses better than all of them in turn.
                chunks=(CHUNK_ROWS, *(1 for _ in row_shape)),
                dtype=rows.dtype,
                compression="gzip",
                shuffle=True,
            )
        _extend(self.root[name], rows)
        return self.root[name]


class SeriesWriter:
    """The steps of a build in a VTKHDF file, over time; consecutive ones on one mesh share it.

    Parameters
    ----------
    file : h5py.File
        A new file.
    case : Case or RawCase
        The case, of which names are taken.
    """

    def __init__(self, file: Any, case: Case | RawCase) -> None:
        self._grids = GridWriter(file, case)
        self._latest: CaseStep | None = None
        self._mesh = MeshPlace()
        self._value_count = 0
        self._entries: list[_Entry] = []

    def append(self, step: CaseStep) -> None:
        """Write a step, which is there, after those before it."""
        if self._latest is None or not step.shares_mesh(self._latest):
            self._mesh = self._grids.append_mesh(step)
        self._latest = step
        self._entries.append(
            _Entry(step.time, self._mesh, self._value_count, step.kind, step.height, step.group)
        )
        self._grids.append_fields(step)
        self._value_count += step.node_count

    def finish(self) -> None:
        """Write where each step is, which makes the file a series."""
        import h5py

        root, entries = self._grids.root, self._entries
        steps = root.create_group("Steps")
        steps.attrs["NSteps"] = len(entries)
        steps["Values"] = np.array([entry.time for entry in entries], np.float64)
        steps["NumberOfParts"] = np.ones(len(entries), np.int64)
        meshes = np.array([entry.mesh for entry in entries], np.int64)
        steps["PartOffsets"], steps["PointOffsets"] = meshes[:, 0], meshes[:, 1]
        # Two-dimensional: other kinds of grids have more than one list of cells.
        steps["CellOffsets"], steps["ConnectivityIdOffsets"] = meshes[:, 2:3], meshes[:, 3:4]
        first_values = np.array([entry.first_value for entry in entries], np.int64)
        for name in root["PointData"]:
            steps[f"PointDataOffsets/{name}"] = first_values
        known = {
            # VTK reads texts of no fixed length alone, and of those none in UTF-8.
            "kind": np.array([entry.kind for entry in entries], h5py.string_dtype("ascii")),
            "height": np.array([entry.height for entry in entries], np.float32),
            "group": np.array([entry.group for entry in entries], np.int32),
        }
        for name, values in known.items():
            root[f"FieldData/{name}"] = values
            root[f"FieldData/{name}"].attrs.update(_meaning(STEP_COLUMNS[f"step_{name}"]))
            steps[f"FieldDataOffsets/{name}"] = np.arange(len(entries), dtype=np.int64)


class _Entry(NamedTuple):
    """What is known of a step in the file."""

    time: float
    mesh: MeshPlace
    first_value: int
    kind: str
    height: float
    group: int


def _meaning(described: Variable | StepColumn) -> dict[str, str]:
    return {"units": described.units, "long_name": described.long_name}


def _extend(array: Any, rows: NDArray[np.generic]) -> None:
    start = len(array)
    array.resize(start + len(rows), axis=0)
    array[start:] = rows
