from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import pyvista as pv

from lpbf_dataset.export import export_pvd, export_vtkhdf, export_vtkhdf_series, export_vtu
from tests.builds import GrowingBar
from tests.viz.blocks import block
from viz.subjects import FileSubject, SubjectError

if TYPE_CHECKING:
    from pathlib import Path

    from lpbf_dataset import Case


@pytest.mark.parametrize("export", [export_vtu, export_vtkhdf])
def test_exported_cases_come_back_with_units(tilted_bar: Case, tmp_path: Path, export) -> None:
    [path] = export([tilted_bar], tmp_path)
    part = FileSubject(path).load(path.name, 0)
    np.testing.assert_array_equal(part.displacement, tilted_bar.displacement)
    assert part.field("von_mises_stress").units == "MPa"
    assert part.field("displacement").components == ("x", "y", "z")
    np.testing.assert_array_equal(part.scalar("displacement", "z"), tilted_bar.displacement[:, 2])
    assert part.node_count == tilted_bar.node_count


def test_fields_of_other_programs_are_taken_as_they_are(tmp_path: Path) -> None:
    grid = block()
    grid.point_data["Displacement"] = np.ones((grid.n_points, 3))
    grid.point_data["flux"] = np.full((grid.n_points, 2), 3.0)
    grid.save(tmp_path / "other.vtu")
    part = FileSubject(tmp_path / "other.vtu").load("other.vtu", 0)
    assert part.displacement is not None
    assert part.field("flux").components == ("0", "1")
    np.testing.assert_allclose(part.scalar("flux", ""), 3 * np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".obj"])
def test_surfaces_are_shapes_alone(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"part{suffix}"
    pv.Cube().triangulate().clean().save(path)
    part = FileSubject(path).load(path.name, 0)
    assert part.mesh.n_cells == 12
    assert part.fields == ()
    if suffix == ".stl":
        assert part.node_count == 8


def test_a_collection_has_steps(tmp_path: Path) -> None:
    names = []
    for step in range(3):
        grid = block()
        grid.point_data["heat"] = np.full(grid.n_points, float(step))
        names.append(f"step{step}.vtu")
        grid.save(tmp_path / names[-1])
    entries = "".join(f'<DataSet timestep="{2 * i}" part="0" file="{n}"/>' for i, n in enumerate(names))
    path = tmp_path / "build.pvd"
    path.write_text(f'<VTKFile type="Collection" version="0.1"><Collection>{entries}</Collection></VTKFile>')
    subject = FileSubject(path)
    assert subject.step_labels(path.name) == ["step 0, time 0", "step 1, time 2", "step 2, time 4"]
    part = subject.load(path.name, 1)
    assert part.scalar("heat", "").max() == 1.0
    assert part.title == "build.pvd (step 1, time 2)"


@pytest.mark.parametrize("export", [export_pvd, export_vtkhdf_series])
def test_an_exported_build_has_its_steps(tmp_path: Path, export) -> None:
    bar = GrowingBar("t", layers=2)
    path = export(bar, tmp_path)
    subject = FileSubject(path)
    labels = subject.step_labels(path.name)
    assert labels == [f"step {number}, time {10 * number}" for number in range(6)]
    for number in (5, 0, 3):
        part, expected = subject.load(path.name, number), list(bar.history())[number]
        np.testing.assert_array_equal(part.mesh.points, expected.points)
        np.testing.assert_array_equal(part.displacement, expected.fields["displacement"])
        assert part.title == f"{path.name} ({labels[number]})"


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("half.vtu", b"<VTKFile type='UnstructuredGrid'><Unst", "half.vtu cannot be read"),
        ("words.vtk", b"not a mesh", "words.vtk"),
        ("half.stl", b"x" * 84, "half.stl cannot be read"),
        ("none.stl", b"", "none.stl cannot be read"),
        ("none.ply", b"", "none.ply"),
        ("empty.obj", b"", "empty.obj holds no mesh"),
        ("empty.vtkhdf", b"", "empty.vtkhdf cannot be read"),
        ("open.pvd", b"<VTKFile", "open.pvd cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, contents: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(contents)
    subject = FileSubject(tmp_path / name)
    with pytest.raises(SubjectError, match=message) as caught:
        subject.load(name, len(subject.step_labels(name)) - 1)
    assert "\n" not in str(caught.value)


def test_only_files_of_known_formats_are_taken(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"there is no file .*part.stl"):
        FileSubject(tmp_path / "part.stl")
    with pytest.raises(SubjectError, match=r"expected a file that ends in \.vtu"):
        FileSubject(tmp_path / "part.docx")


def test_points_must_be_somewhere(tmp_path: Path) -> None:
    grid = block()
    grid.points[0, 0] = np.nan
    grid.save(tmp_path / "lost.vtu")
    with pytest.raises(SubjectError, match="a coordinate is not finite"):
        FileSubject(tmp_path / "lost.vtu").load("lost.vtu", 0)
