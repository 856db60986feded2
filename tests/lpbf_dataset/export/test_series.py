from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.export import ExportError, export_pvd
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.netfabb import NetfabbSource
from tests.builds import GrowingBar, write_builds

if TYPE_CHECKING:
    from pathlib import Path

    from lpbf_dataset.sources.netfabb import NetfabbCase

pv = pytest.importorskip("pyvista")


@pytest.fixture(scope="module")
def run(step2: Path) -> NetfabbCase:
    return next(NetfabbSource(step2).cases())


def test_a_real_run_is_a_series_over_time(run, tmp_path):
    path = export_pvd(run, tmp_path / "out")
    assert path == tmp_path / "out" / "step2.pvd"
    reader = pv.get_reader(path)
    steps = run.steps()
    assert reader.time_values == [step.time for step in steps]
    for step in steps:
        reader.set_active_time_value(step.time)
        (grid,) = reader.read()
        assert set(grid.point_data) == set(step.fields)
        # The plate is 25 mm thick; it and its nodes are gone, and those of the part keep their values.
        assert grid.bounds.z_min == 0.0
        above = step.points[:, 2] > 0.0
        kept = grid.points[:, 2] > 0.0
        np.testing.assert_array_equal(grid.points[kept], step.points[above])
        for name in ("displacement", "von_mises_stress", "temperature"):
            np.testing.assert_array_equal(grid.point_data[name][kept], step.fields[name][above])
    assert grid.n_cells == len(steps[-1].cells)


def test_the_files_say_which_step_they_are(run, tmp_path):
    export_pvd(run, tmp_path)
    names = [path.name for path in sorted((tmp_path / "step2").iterdir())]
    assert names[:2] == ["0001_deposited.vtu", "0002_dwelt.vtu"]
    assert names[-2:] == ["0007_cooled.vtu", "0008_removed.vtu"]
    listed = re.findall(r'file="(.*?)"', (tmp_path / "step2.pvd").read_text())
    assert listed == [f"step2/{name}" for name in names]


def test_the_steps_of_a_store_are_those_of_the_run(run, step2, tmp_path):
    build_store([NetfabbSource(step2)], tmp_path / "s.zarr", BuildOptions(steps="all", rules="none"))
    case = lpbf.open_dataset(tmp_path / "s.zarr").read("step2", ())
    stored, computed = (
        export_pvd(steps, tmp_path / name) for steps, name in ((case, "stored"), (run, "computed"))
    )
    assert stored.read_bytes() == computed.read_bytes()
    for path in (tmp_path / "stored" / "step2").iterdir():
        grid, expected = (pv.read(tmp_path / name / "step2" / path.name) for name in ("stored", "computed"))
        np.testing.assert_array_equal(grid.points, expected.points)
        np.testing.assert_array_equal(grid.cells, expected.cells)
        assert set(grid.point_data) == {"displacement", "von_mises_stress", "temperature"}
        for name in grid.point_data:
            np.testing.assert_array_equal(grid.point_data[name], expected.point_data[name])


def test_missing_steps_are_left_out(tmp_path):
    bars = (GrowingBar("t", layers=5, missing=(2,)), GrowingBar("v", with_steps=False))
    store = write_builds(tmp_path / "s.zarr", *bars)
    dataset = lpbf.open_dataset(store)
    reader = pv.get_reader(export_pvd(dataset["t"], tmp_path))
    assert reader.time_values == [0.0, 10.0, *(10.0 * index for index in range(3, 12))]
    assert sorted(path.name for path in (tmp_path / "t").iterdir())[2] == "0004_dwelt.vtu"
    with pytest.raises(ExportError, match=r"case v holds its final state alone.*lpbf-build --steps all"):
        export_pvd(dataset["v"], tmp_path)


def test_a_name_with_signs_of_xml(run, tmp_path):
    path = export_pvd(replace(run, case_id="Düse & Ring 'v2'"), tmp_path)
    reader = pv.get_reader(path)
    assert reader.read()[0].n_cells > 0


def test_what_cannot_be_read_or_named_leaves_no_collection(run, tmp_path):
    with pytest.raises(CaseError) as failed:
        export_pvd(replace(run, path=tmp_path), tmp_path)
    assert failed.value.reason is FailureReason.NO_CASE_FILE
    with pytest.raises(ExportError, match="cannot name a file"):
        export_pvd(replace(run, case_id="../evil"), tmp_path / "deep")
    assert not list(tmp_path.iterdir())
