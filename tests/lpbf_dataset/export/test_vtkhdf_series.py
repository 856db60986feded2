"""A series over time in one file, as VTK's own reader of the format sees it."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.export import ExportError, export_pvd, export_vtkhdf_series
from lpbf_dataset.schema import STEP_COLUMNS
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.netfabb.layout import RESULT_NAMES
from tests.builds import FIELDS, GrowingBar, write_builds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pv = pytest.importorskip("pyvista")


def read_series(path: Path) -> Iterator[tuple[float, pv.UnstructuredGrid]]:
    """Give time and grid of each step as ParaView asks for them."""
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
    from vtkmodules.vtkIOHDF import vtkHDFReader

    reader = vtkHDFReader()
    assert reader.CanReadFile(str(path))
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    assert reader.GetHasTemporalData()
    for time in reader.GetOutputInformation(0).Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS()):
        reader.UpdateTimeStep(time)
        yield time, pv.wrap(reader.GetOutput()).copy()


def assert_same(grid: pv.UnstructuredGrid, expected: pv.UnstructuredGrid) -> None:
    """Compare two grids bit for bit."""
    np.testing.assert_array_equal(grid.points, expected.points)
    np.testing.assert_array_equal(
        grid.cells_dict[pv.CellType.HEXAHEDRON], expected.cells.reshape(-1, 9)[:, 1:]
    )
    assert set(grid.point_data) == set(expected.point_data)
    for name, values in expected.point_data.items():
        assert grid.point_data[name].dtype == values.dtype
        np.testing.assert_array_equal(grid.point_data[name], values, err_msg=name)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> lpbf.Case:
    """Return a bar of five layers whose third step is lost."""
    bar = GrowingBar("t", layers=5, missing=(2,))
    return lpbf.open_dataset(write_builds(tmp_path_factory.mktemp("series") / "s.zarr", bar)).read("t", ())


def test_every_step_of_a_real_run_is_as_vtk_reads_its_results(step2, tmp_path):
    (run,) = NetfabbSource(step2).cases()
    path = export_vtkhdf_series(run, tmp_path / "out")
    assert path == tmp_path / "out" / "step2.series.vtkhdf"
    results = pv.get_reader(str(step2 / "results" / "step2_mechanical.case"))
    series = list(read_series(path))
    assert [time for time, _ in series] == results.time_values
    for time, grid in series:
        results.set_active_time_value(time)
        whole = results.read()[0]
        part = whole.extract_cells(whole.cell_centers().points[:, 2] > 0)
        np.testing.assert_array_equal(grid.points, part.points)
        np.testing.assert_array_equal(
            grid.cells_dict[pv.CellType.HEXAHEDRON], part.cells_dict[pv.CellType.HEXAHEDRON]
        )
        assert set(grid.point_data) == {n for n in RESULT_NAMES if RESULT_NAMES[n].title in part.point_data}
        for name, values in grid.point_data.items():
            np.testing.assert_array_equal(values, part.point_data[RESULT_NAMES[name].title], err_msg=name)


def test_it_says_what_the_collection_says(step2, tmp_path):
    (run,) = NetfabbSource(step2).cases()
    collection = pv.get_reader(export_pvd(run, tmp_path))
    for (time, grid), expected in zip(
        read_series(export_vtkhdf_series(run, tmp_path)), collection.time_values, strict=True
    ):
        assert time == expected
        collection.set_active_time_value(time)
        assert_same(grid, collection.read()[0])


def test_every_step_of_a_store_comes_back_but_a_missing_one(case, tmp_path, caplog):
    series = list(read_series(export_vtkhdf_series(case, tmp_path)))
    there = [step for step in case.steps if not step.is_missing]
    assert len(there) == 11
    assert [time for time, _ in series] == [step.time for step in there]
    for (_, grid), step in zip(series, there, strict=True):
        assert_same(grid, step.to_pyvista())
        assert list(grid.field_data["kind"]) == [step.kind]
        assert grid.field_data["height"].tolist() == [step.height]
        assert grid.field_data["group"].tolist() == [step.group]
    assert caplog.messages == ["case t: step 3 (deposited) is missing and left out: missing_file: lost"]


def test_a_source_and_its_store_give_one_file(case, tmp_path):
    stored, computed = (
        export_vtkhdf_series(steps, tmp_path / name)
        for name, steps in (("stored", case), ("computed", GrowingBar("t", layers=5, missing=(2,))))
    )
    assert stored.read_bytes() == computed.read_bytes()


def test_steps_on_one_mesh_share_it(case, tmp_path):
    """Of the meshes of 1 to 5 layers the last is that of four steps."""
    with h5py.File(export_vtkhdf_series(case, tmp_path)) as file:
        root, steps = file["VTKHDF"], file["VTKHDF/Steps"]
        layers = np.arange(1, 6)
        nodes, cells = 8 * (layers + 1), 3 * layers
        assert root["NumberOfPoints"][:].tolist() == nodes.tolist()
        assert root["NumberOfCells"][:].tolist() == cells.tolist()
        assert root["NumberOfConnectivityIds"][:].tolist() == (8 * cells).tolist()
        assert len(root["Points"]) == nodes.sum()
        assert len(root["Types"]) == cells.sum()
        assert len(root["Offsets"]) == (cells + 1).sum()
        mesh = np.array([0, 0, 1, 2, 2, 3, 3, 4, 4, 4, 4])
        assert steps["PartOffsets"][:].tolist() == mesh.tolist()
        assert steps["PointOffsets"][:].tolist() == (np.cumsum(nodes) - nodes)[mesh].tolist()
        assert steps["CellOffsets"][:, 0].tolist() == (np.cumsum(cells) - cells)[mesh].tolist()
        begin = np.cumsum(nodes[mesh]) - nodes[mesh]
        for name in FIELDS:
            assert len(root["PointData"][name]) == nodes[mesh].sum()
            assert steps["PointDataOffsets"][name][:].tolist() == begin.tolist()


def test_the_file_is_as_the_format_wants_it(case, tmp_path):
    with h5py.File(export_vtkhdf_series(case, tmp_path)) as file:
        assert file.attrs["case_id"] == "t"
        root, steps = file["VTKHDF"], file["VTKHDF/Steps"]
        kind = root.attrs.get_id("Type").get_type()
        assert not kind.is_variable_str()
        assert (kind.get_size(), kind.get_cset()) == (len("UnstructuredGrid"), h5py.h5t.CSET_ASCII)
        assert root.attrs["Version"].tolist() == [2, 0]
        assert steps.attrs["NSteps"] == 11
        assert root["Types"].dtype == np.uint8
        assert steps["Values"].dtype == np.float64
        integers = [root[name] for name in ("Connectivity", "Offsets", "NumberOfPoints", "NumberOfCells")]
        integers += [steps[name] for name in ("PartOffsets", "PointOffsets", "NumberOfParts")]
        integers += steps["PointDataOffsets"].values()
        integers += steps["FieldDataOffsets"].values()
        assert {array.dtype for array in integers} == {np.dtype(np.int64)}
        for name in ("CellOffsets", "ConnectivityIdOffsets"):
            assert steps[name].shape == (11, 1)
        for array in (root["Points"], *root["PointData"].values()):
            assert (array.compression, array.shuffle) == ("gzip", True)
        for name, array in root["FieldData"].items():
            assert array.attrs["long_name"] == STEP_COLUMNS[f"step_{name}"].long_name


def test_steps_are_taken_one_at_a_time(case, tmp_path):
    taken: list[weakref.ref[lpbf.Case]] = []

    def watched():
        for step in case.steps:
            taken.append(weakref.ref(step))
            assert sum(reference() is not None for reference in taken) <= 3
            yield step

    export_vtkhdf_series(replace(case, steps=watched()), tmp_path)
    assert len(taken) == 12


def test_what_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(CaseError, match="case t has no step that can be read"):
        export_vtkhdf_series(GrowingBar("t", layers=1, missing=(0, 1, 2, 3)), tmp_path)
    store = write_builds(tmp_path / "s.zarr", GrowingBar("t"), steps="final")
    with pytest.raises(ExportError, match="case t holds its final state alone"):
        export_vtkhdf_series(lpbf.open_dataset(store)["t"], tmp_path / "out")
    with pytest.raises(ExportError, match="cannot name a file"):
        export_vtkhdf_series(GrowingBar("../evil"), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s.json", "s.zarr"]
