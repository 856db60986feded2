"""Files of meshes and surfaces, as VTK and others write them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pyvista as pv
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline

from lpbf_dataset.schema import VARIABLES, component_names
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.stl import parse_stl
from viz.annotations import field_units
from viz.subjects.base import DISPLACEMENT, FINAL, Field, Part, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset import Case

MESH_SUFFIXES = (".vtu", ".vtk", ".vtkhdf", ".vtp", ".pvd")
SERIES_SUFFIXES = (".pvd", ".vtkhdf")
"""Those of the meshes that may have several steps."""

SURFACE_SUFFIXES = (".stl", ".ply", ".obj")
FILE_SUFFIXES = MESH_SUFFIXES + SURFACE_SUFFIXES
"""Files that `FileSubject` reads."""

_FOR_DRAWING = ("Normals", "TCoords")

VTK_TENSOR_COMPONENTS = ("xx", "yy", "zz", "xy", "yz", "xz")
"""Order of symmetric tensor components in VTK."""


class FileSubject:
    """One file: a case, over several steps where it is a series (``.pvd``, ``.vtkhdf``).

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    SubjectError
        If it does not exist, or its name tells no format that is read.
    """

    predicted: tuple[str, ...] = ()

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.name = str(path)
        if self.path.suffix.lower() not in FILE_SUFFIXES:
            raise SubjectError(f"{path}: expected a file that ends in {', '.join(FILE_SUFFIXES)}")
        if not self.path.is_file():
            raise SubjectError(f"there is no file {path}")

    @property
    def case_names(self) -> Sequence[str]:
        """Name of the file."""
        return (self.path.name,)

    @property
    def first_case(self) -> str:
        """Name of the file."""
        return self.path.name

    @cached_property
    def _times(self) -> tuple[float, ...]:
        if self.path.suffix.lower() not in SERIES_SUFFIXES:
            return (0.0,)
        with _reporting(self.path):
            return _time_values(pv.get_reader(self.path))

    def step_labels(self, case_name: str) -> Sequence[str]:  # noqa: ARG002  (of the protocol)
        """Return the times of a series."""
        if len(self._times) == 1:
            return (FINAL,)
        return [f"step {number}, time {time:g}" for number, time in enumerate(self._times)]

    def load(self, case_name: str, step: int) -> Part:
        """Read the file."""
        mesh = self._read(step)
        if not mesh.n_points or not mesh.n_cells:
            raise SubjectError(f"{self.path} holds no mesh: it has no points or no cells")
        if not np.isfinite(mesh.points).all():
            raise SubjectError(f"{self.path} cannot be drawn: a coordinate is not finite")
        title = case_name if len(self._times) == 1 else f"{case_name} ({self.step_labels(case_name)[step]})"
        values = {
            _known_name(name, array): array
            for name, array in mesh.point_data.items()
            if array.dtype.kind in "fiub" and array.ndim <= 2 and name not in _FOR_DRAWING
        }
        fields = tuple(_describe(name, array, mesh) for name, array in values.items())
        bare = mesh.copy(deep=False)
        bare.clear_data()
        return Part(title, bare, fields, {name: np.asarray(array) for name, array in values.items()})

    def build(self, case_name: str) -> Case:
        """Refuse: what happened in a build is not told by a file."""
        raise SubjectError(f"{case_name} is a file, which tells no kinds and layer groups of its steps")

    def _read(self, step: int) -> pv.UnstructuredGrid | pv.PolyData:
        with _reporting(self.path):
            if self.path.suffix.lower() == ".stl":
                return _surface(parse_stl(self.path.read_bytes()))
            reader = pv.get_reader(self.path)
            if len(self._times) > 1:
                _choose_step(reader, step)
            mesh = reader.read()
        if isinstance(mesh, pv.MultiBlock):
            mesh = mesh.combine() if len(mesh) > 1 else mesh[0]
        if isinstance(mesh, (pv.UnstructuredGrid, pv.PolyData)):
            return mesh
        if isinstance(mesh, pv.DataSet):
            return mesh.cast_to_unstructured_grid()
        raise SubjectError(f"{self.path} holds no mesh")


def _time_values(reader: pv.PVDReader | pv.HDFReader) -> tuple[float, ...]:
    if isinstance(reader, pv.PVDReader):
        return tuple(reader.time_values)
    reader.reader.UpdateInformation()
    information = reader.reader.GetOutputInformation(0)
    return tuple(information.Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS()) or (0.0,))


def _choose_step(reader: pv.PVDReader | pv.HDFReader, step: int) -> None:
    if isinstance(reader, pv.PVDReader):
        reader.set_active_time_point(step)
    else:
        reader.reader.SetStep(step)


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Turn what readers complain about into a `SubjectError`."""
    try:
        with pv.VtkErrorCatcher(raise_errors=True, send_to_logging=False):
            yield
    except CaseError as error:
        raise SubjectError(f"{path} cannot be read: {error.detail}") from error
    except (pv.VTKExecutionError, ET.ParseError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SubjectError(f"{path} cannot be read: {reason}") from error


def _surface(triangles: NDArray[np.float32]) -> pv.PolyData:
    """Join equal corners of triangles, so that a corner is one node."""
    corners, index = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
    faces = np.column_stack([np.full(len(triangles), 3), index.reshape(-1, 3)])
    return pv.PolyData(corners, faces.ravel())


def _known_name(name: str, array: NDArray[np.generic]) -> str:
    """``Displacement`` of other programs is our displacement."""
    return DISPLACEMENT if name.lower() == DISPLACEMENT and array.shape[1:] == (3,) else name


def _describe(name: str, array: NDArray[np.generic], mesh: pv.DataSet) -> Field:
    width = array.shape[1] if array.ndim == 2 else 0
    known = VARIABLES.get(name)
    if known is not None and known.row_shape == array.shape[1:]:
        is_tensor = known.component is not None and known.component[0] == "tensor"
        return Field(name, field_units(name), VTK_TENSOR_COMPONENTS if is_tensor else component_names(known))
    components = {3: ("x", "y", "z"), 6: VTK_TENSOR_COMPONENTS}.get(width, tuple(map(str, range(width))))
    return Field(name, _units(mesh, name), components)


def _units(mesh: pv.DataSet, name: str) -> str:
    """Units that the file itself states, as the files of ``lpbf-export`` do."""
    array = mesh.GetPointData().GetAbstractArray(name)
    if array is None or not array.HasInformation():
        return ""
    return str(array.GetInformation().Get(array.UNITS_LABEL()) or "")
