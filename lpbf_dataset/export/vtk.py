"""Files for ParaView and other programs built on VTK, written without VTK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np

from lpbf_dataset.export.files import write_cases
from lpbf_dataset.schema import TENSOR_COMPONENTS, VARIABLES, component_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset.case import Case

VTKHDF_VERSION = (2, 0)
"""The oldest of the second major version; later minor ones add dataset types that are not used here."""

VTK_HEXAHEDRON = 12
"""Cell type of VTK, vtkCellType.h."""

VTK_TENSOR_COMPONENTS = ("xx", "yy", "zz", "xy", "yz", "xz")
"""Order of symmetric tensor components in VTK."""

_TENSOR_ORDER = [TENSOR_COMPONENTS.index(component) for component in VTK_TENSOR_COMPONENTS]


def export_vtu(cases: Iterable[Case], folder: str | PathLike[str]) -> list[Path]:
    """Write each case as ``<case id>.vtu``, VTK's XML format, with the units of the fields.

    Symmetric tensors are in VTK's component order; components carry their names.

    Parameters
    ----------
    cases : iterable of Case
        With points and cells: a `lpbf_dataset.Dataset`, for example.
    folder : path
        Where to write; files that are there are replaced.

    Returns
    -------
    list of Path
        The files, in order of the cases.

    Raises
    ------
    ExportError
        If the id of a case cannot name a file, or the folder cannot be one.
    """
    return write_cases(cases, ".vtu", lambda _: Path(folder), write_case_vtu)


def export_vtkhdf(cases: Iterable[Case], folder: str | PathLike[str]) -> list[Path]:
    """Write each case as ``<case id>.vtkhdf``, VTK's HDF5 format; as `export_vtu` otherwise.

    Units and meaning of each field are attributes of its array; the format has no place for names of
    components.  Needs the ``export`` extra.
    """
    return write_cases(cases, ".vtkhdf", lambda _: Path(folder), _write_vtkhdf)


def write_vtu(
    path: Path,
    points: NDArray[np.floating],
    cells: NDArray[np.integer],
    point_data: Mapping[str, NDArray[np.generic]],
    units: Mapping[str, str],
) -> None:
    """Write a hexahedral mesh with fields on its nodes.

    Parameters
    ----------
    path : Path
        The file.
    points : (nodes, 3) float ndarray
        In mm.
    cells : (cells, 8) int ndarray
        Nodes of each hexahedron in VTK order.
    point_data : mapping of str to (nodes, ...) ndarray
        Fields, in types and order of components that VTK knows.
    units : mapping of str to str
        Unit of each field.
    """
    import meshio

    mesh = meshio.Mesh(points, [("hexahedron", cells)], point_data=dict(point_data))
    meshio.write(path, mesh, file_format="vtu")
    # What was just written, not somebody's XML.
    document = ET.parse(path)  # noqa: S314
    for array in document.iterfind(".//PointData/DataArray"):
        name = array.attrib["Name"]
        for index, component in enumerate(_component_names(name)):
            array.set(f"ComponentName{index}", component)
        # After the data: VTK looks for these right behind the opening tag.
        key = ET.SubElement(array, "InformationKey", name="UNITS_LABEL", location="vtkDataArray")
        key.text = units[name]
    document.write(path, xml_declaration=True)


def write_case_vtu(case: Case, path: Path) -> None:
    """Write one case as `export_vtu` does, to a path of any name."""
    units = {name: VARIABLES[name].units for name in case.field_names}
    write_vtu(path, case.points, case.cells, dict(_point_data(case)), units)


def _write_vtkhdf(case: Case, path: Path) -> None:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "w") as file:
        file.attrs.update(case_id=case.case_id, design_id=case.design_id, source=case.source)
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = VTKHDF_VERSION
        # The reader wants a text of fixed length.
        root.attrs["Type"] = np.bytes_("UnstructuredGrid")
        cells = case.cells
        for name, count in (
            ("Points", len(case.points)),
            ("Cells", len(cells)),
            ("ConnectivityIds", cells.size),
        ):
            root[f"NumberOf{name}"] = np.array([count], dtype=np.int64)
        mesh = {
            "Points": case.points,
            "Connectivity": cells.ravel().astype(np.int64),
            "Offsets": np.arange(0, cells.size + 1, cells.shape[1], dtype=np.int64),
            "Types": np.full(case.cell_count, VTK_HEXAHEDRON, dtype=np.uint8),
        }
        for name, values in mesh.items():
            root.create_dataset(name, data=values, compression="gzip", shuffle=True)
        fields = root.create_group("PointData")
        for name, values in _point_data(case):
            array = fields.create_dataset(name, data=values, compression="gzip", shuffle=True)
            array.attrs.update(units=VARIABLES[name].units, long_name=VARIABLES[name].long_name)


def _component_names(field: str) -> tuple[str, ...]:
    """Names of the components of a field in the order of VTK; none for fields that are not of the schema."""
    names = component_names(VARIABLES[field]) if field in VARIABLES else ()
    return VTK_TENSOR_COMPONENTS if names == TENSOR_COMPONENTS else names


def _point_data(case: Case) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for name in case.field_names:
        values = case.variables[name]
        is_tensor = VARIABLES[name].component == ("tensor", len(TENSOR_COMPONENTS))
        if is_tensor:
            values = np.ascontiguousarray(values[:, _TENSOR_ORDER])
        # VTK has no booleans.
        yield name, values.astype(np.uint8) if values.dtype.kind == "b" else values
