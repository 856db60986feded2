from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from lpbf_dataset.export import ExportError, export_vtkhdf, export_vtu
from lpbf_dataset.schema import VARIABLES

if TYPE_CHECKING:
    from pathlib import Path

    import lpbf_dataset as lpbf

pv = pytest.importorskip("pyvista")

EXPORTS = pytest.mark.parametrize("export", [export_vtu, export_vtkhdf])


def assert_grid(path: Path, case: lpbf.Case) -> None:
    """VTK sees what `Case.to_pyvista` makes."""
    grid, expected = pv.read(path), case.to_pyvista()
    np.testing.assert_array_equal(grid.points, expected.points)
    assert grid.points.dtype == np.float32
    np.testing.assert_array_equal(grid.cells, expected.cells)
    np.testing.assert_array_equal(grid.celltypes, expected.celltypes)
    assert set(grid.point_data) == set(expected.point_data)
    for name, values in expected.point_data.items():
        # VTK has no booleans; PyVista remembers which bytes were.
        assert grid.point_data[name].dtype == (np.uint8 if values.dtype == bool else values.dtype)
        np.testing.assert_array_equal(grid.point_data[name], values, err_msg=name)
    assert grid.volume == pytest.approx(case.cell_count)


@EXPORTS
def test_vtk_reads_them(cases, tmp_path, export):
    paths = export(cases, tmp_path / "out")
    assert [path.stem for path in paths] == [case.case_id for case in cases]
    for path, case in zip(paths, cases, strict=True):
        assert_grid(path, case)
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)


def vtk_names(array) -> tuple[str, ...]:
    return tuple(array.GetComponentName(k) for k in range(array.GetNumberOfComponents()))


def test_paraview_sees_names_units_and_components(cases, tmp_path):
    """By the reader that ParaView itself has, from the file as it is."""
    from vtkmodules.vtkCommonCore import vtkDataArray
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridReader

    (path,) = export_vtu(cases[:1], tmp_path)
    reader = vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(path))
    reader.Update()
    fields = reader.GetOutput().GetPointData()
    assert fields.GetNumberOfArrays() == len(cases[0].field_names)
    for name in cases[0].field_names:
        array, variable = fields.GetArray(name), VARIABLES[name]
        assert array.GetInformation().Get(vtkDataArray.UNITS_LABEL()) == variable.units
        assert array.GetNumberOfComponents() == (variable.component or ("", 1))[1]
    named = {name: vtk_names(fields.GetArray(name)) for name in ("displacement", "axis_distance")}
    assert named == {"displacement": ("x", "y", "z"), "axis_distance": ("-x", "-y", "-z", "+x", "+y", "+z")}
    stress = fields.GetArray("cauchy_stress")
    assert vtk_names(stress) == ("xx", "yy", "zz", "xy", "yz", "xz")
    yz = [stress.GetComponent(node, 4) for node in range(cases[0].node_count)]
    np.testing.assert_array_equal(np.float32(yz), cases[0].scalar("cauchy_stress_yz"))


def test_paraview_sees_the_fields_of_vtkhdf(cases, tmp_path):
    from vtkmodules.vtkCommonDataModel import VTK_HEXAHEDRON
    from vtkmodules.vtkIOHDF import vtkHDFReader

    (path,) = export_vtkhdf(cases[:1], tmp_path)
    reader = vtkHDFReader()
    assert reader.CanReadFile(str(path))
    reader.SetFileName(str(path))
    reader.Update()
    grid = reader.GetOutput()
    assert {grid.GetCellType(cell) for cell in range(grid.GetNumberOfCells())} == {VTK_HEXAHEDRON}
    fields = grid.GetPointData()
    read = {
        fields.GetArrayName(k): fields.GetArray(k).GetNumberOfComponents()
        for k in range(fields.GetNumberOfArrays())
    }
    assert read == {name: (VARIABLES[name].component or ("", 1))[1] for name in cases[0].field_names}


@EXPORTS
def test_a_store_is_exported_case_by_case(dataset, tmp_path, export):
    paths = export(dataset.test, tmp_path)
    assert [path.stem for path in paths] == ["55199_4d57661f_0"]
    assert_grid(paths[0], dataset["55199_4d57661f_0"])


def test_vtkhdf_has_units_and_names(cases, tmp_path):
    (path,) = export_vtkhdf(cases[1:2], tmp_path)
    with h5py.File(path) as file:
        assert file.attrs["case_id"] == "Düse_部品_7"
        assert file.attrs["design_id"] == cases[1].design_id
        root = file["VTKHDF"]
        assert root.attrs["Version"].tolist() == [2, 0]
        assert root.attrs["Type"] == b"UnstructuredGrid"
        assert [root[f"NumberOf{name}"][:].tolist() for name in ("Points", "Cells", "ConnectivityIds")] == [
            [cases[1].node_count],
            [cases[1].cell_count],
            [8 * cases[1].cell_count],
        ]
        for name, array in root["PointData"].items():
            assert dict(array.attrs) == {
                "units": VARIABLES[name].units,
                "long_name": VARIABLES[name].long_name,
            }


@EXPORTS
def test_a_case_read_in_part(dataset, tmp_path, export):
    case = dataset.read(0, ("points", "cells", "temperature"))
    (path,) = export([case], tmp_path)
    assert pv.read(path).point_data.keys() == ["temperature"]


@EXPORTS
@pytest.mark.parametrize("case_id", ["../evil", "a/b", ""])
def test_unsafe_ids_are_refused(cases, tmp_path, export, case_id):
    with pytest.raises(ExportError, match="cannot name a file"):
        export([replace(cases[0], case_id=case_id)], tmp_path / "out")
    assert not list(tmp_path.iterdir())


@EXPORTS
def test_a_failure_leaves_the_files_before_it(cases, tmp_path, export):
    def half():
        yield cases[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(half(), tmp_path)
    (path,) = tmp_path.iterdir()
    assert_grid(path, cases[0])
