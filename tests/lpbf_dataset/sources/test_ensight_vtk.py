"""VTK's own EnSight reader as an independent program: it must see what we see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lpbf_dataset.sources.ensight import (
    CaseFile,
    FileSeries,
    Geometry,
    Part,
    TimeSet,
    VariableSeries,
    read_case,
    read_geometry,
    read_variable,
    write_case,
    write_geometry,
    write_variable,
)
from lpbf_dataset.sources.netfabb import NetfabbSource, write_results
from lpbf_dataset.sources.netfabb.layout import RESULT_NAMES

if TYPE_CHECKING:
    from pathlib import Path

pv = pytest.importorskip("pyvista", reason="needs the viz extra")

VTK_TENSOR_ORDER = [0, 1, 2, 3, 5, 4]
"""VTK stores xx, yy, zz, xy, yz, xz; EnSight Gold xx, yy, zz, xy, xz, yz."""


def vtk_steps(case_file: Path) -> list[tuple[float, pv.UnstructuredGrid]]:
    reader = pv.get_reader(str(case_file))
    steps = []
    for time in reader.time_values:
        reader.set_active_time_value(time)
        steps.append((time, reader.read()[0].copy()))
    return steps


def as_vtk(values: np.ndarray) -> np.ndarray:
    return values[:, VTK_TENSOR_ORDER] if values.shape[1:] == (6,) else values


def assert_same_as_vtk(case_file: Path, steps) -> None:
    grids = vtk_steps(case_file)
    assert [step.time for step in steps] == [time for time, _ in grids]
    for step, (_, grid) in zip(steps, grids, strict=True):
        np.testing.assert_array_equal(step.points, grid.points)
        np.testing.assert_array_equal(step.cells, grid.cells_dict[pv.CellType.HEXAHEDRON])
        assert {RESULT_NAMES[name].title for name in step.fields} == set(grid.point_data.keys())
        for name, values in step.fields.items():
            np.testing.assert_array_equal(
                as_vtk(values), grid.point_data[RESULT_NAMES[name].title], err_msg=f"{name} at {step.time}"
            )


def test_every_array_of_every_step_of_a_real_run(step2):
    (case,) = NetfabbSource(step2).cases()
    steps = case.steps()
    assert len(steps) == 8
    assert_same_as_vtk(step2 / "results" / "step2_mechanical.case", steps)


def test_the_element_variable_of_a_real_run(step2):
    folder = step2 / "results"
    case = read_case(folder / "step2_mechanical.case")
    (series,) = [variable for variable in case.variables if variable.location == "element"]
    results, geometries = case.time_sets[series.time_set], case.time_sets[case.geometry.time_set]
    for (time, grid), number in zip(
        vtk_steps(folder / "step2_mechanical.case"), results.file_numbers, strict=True
    ):
        latest = max(g for g, t in zip(geometries.file_numbers, geometries.times, strict=True) if t <= time)
        geometry = read_geometry(folder / case.geometry.file_name(latest))
        values = read_variable(folder / series.file_name(number), geometry, series.components, "element")
        np.testing.assert_array_equal(values[1], grid.cell_data[series.name])


def test_results_in_netfabb_layout(tmp_path, small_case):
    (case,) = NetfabbSource(small_case).cases()
    assert_same_as_vtk(small_case / "results" / "mechanical.case", case.steps())


def test_a_real_run_written_again(tmp_path, step2):
    (case,) = NetfabbSource(step2).cases()
    write_results(tmp_path, case.steps())
    assert_same_as_vtk(tmp_path / "results" / "mechanical.case", case.steps())


@pytest.mark.parametrize(
    ("encoding", "byteorder"), [("binary", "little"), ("binary", "big"), ("ascii", "little")]
)
def test_vtk_reads_what_we_write(tmp_path, encoding, byteorder):
    rng = np.random.default_rng(0)
    options = {"encoding": encoding, "byteorder": byteorder}
    kinds = {"scalar": 1, "vector": 3, "tensor symm": 6}
    written = {}
    for number in (1, 2):
        points = rng.normal(size=(20 + number, 3)).astype(np.float32)
        cells = np.arange(16, dtype=np.int32).reshape(2, 8)
        geometry = Geometry((Part(points, {"hexa8": cells}),), ("a mesh", "of two cells"))
        write_geometry(tmp_path / f"a_{number}.geo", geometry, **options)
        for kind, components in kinds.items():
            shape = (len(points),) if components == 1 else (len(points), components)
            values = rng.normal(size=shape).astype(np.float32)
            written[kind, number] = values
            write_variable(tmp_path / f"{kind[0]}_{number}.ens", kind, geometry, {1: values}, **options)
    variables = tuple(VariableSeries(f"{kind[0]}_*.ens", 1, kind.split()[0], kind) for kind in kinds)
    write_case(
        tmp_path / "a.case", CaseFile(FileSeries("a_*.geo", 1), variables, {1: TimeSet((0.0, 1.0), (1, 2))})
    )
    rtol = 0 if encoding == "binary" else 6e-6
    for number, (_, grid) in enumerate(vtk_steps(tmp_path / "a.case"), start=1):
        assert grid.n_points == 20 + number
        for kind in kinds:
            np.testing.assert_allclose(
                grid.point_data[kind.split()[0]], as_vtk(written[kind, number]), rtol=rtol, atol=0
            )
