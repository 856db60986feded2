"""VTU, VTK's XML format, for ParaView and other programs built on VTK; written without VTK."""

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
    write_vtu(path, case.points, case.cells, dict(point_data(case)), units)


def point_data(case: Case) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Give name and values of each field, in types and order of components that VTK knows."""
    for name in case.field_names:
        values = case.variables[name]
        is_tensor = VARIABLES[name].component == ("tensor", len(TENSOR_COMPONENTS))
        if is_tensor:
            values = np.ascontiguousarray(values[:, _TENSOR_ORDER])
        # VTK has no booleans.
        yield name, values.astype(np.uint8) if values.dtype.kind == "b" else values


def _component_names(field: str) -> tuple[str, ...]:
    """Names of the components of a field in the order of VTK; none for fields that are not of the schema."""
    names = component_names(VARIABLES[field]) if field in VARIABLES else ()
    return VTK_TENSOR_COMPONENTS if names == TENSOR_COMPONENTS else names
