import meshio
import numpy as np
import pytest
import trimesh

from lpbf_dataset.export.files import ExportError
from lpbf_dataset.export.surface import vertex_colors, write_surface


@pytest.fixture
def ball():
    return trimesh.creation.icosphere(2)


@pytest.fixture
def fields(ball):
    return {"displacement": 0.1 * ball.vertices, "displacement_z": 0.1 * ball.vertices[:, 2]}


def test_stl_is_closed_when_read_back(tmp_path, ball, fields):
    write_surface(tmp_path / "part.stl", ball, fields)
    read = trimesh.load(tmp_path / "part.stl")
    assert read.is_watertight
    assert read.volume == pytest.approx(ball.volume, rel=1e-6)


def test_ply_has_colours_and_components(tmp_path, ball, fields):
    write_surface(tmp_path / "part.ply", ball, {"displacement_z": fields["displacement_z"], **fields})
    read = trimesh.load(tmp_path / "part.ply", process=False)
    np.testing.assert_array_equal(read.visual.vertex_colors, vertex_colors(fields["displacement_z"]))
    mesh = meshio.read(tmp_path / "part.ply")
    np.testing.assert_allclose(mesh.point_data["displacement_x"], 0.1 * ball.vertices[:, 0], rtol=1e-6)
    np.testing.assert_allclose(mesh.point_data["displacement_z"], 0.1 * ball.vertices[:, 2], rtol=1e-6)


def test_vtp_is_read_by_vtk(tmp_path, ball, fields):
    pv = pytest.importorskip("pyvista")
    write_surface(tmp_path / "part.vtp", ball, fields)
    read = pv.read(tmp_path / "part.vtp")
    assert read.n_cells == len(ball.faces)
    np.testing.assert_allclose(read.point_data["displacement"], fields["displacement"], rtol=1e-6)


def test_colours_of_signed_and_unsigned_values():
    ends = vertex_colors(np.array([-2.0, 0.0, 2.0]))
    assert ends[0, 2] > ends[0, 0]  # blue below zero, red above
    assert ends[2, 0] > ends[2, 2]
    assert np.ptp(ends[1, :3].astype(int)) < 10
    magnitude = vertex_colors(np.array([[0.0, 0, 0], [3, 4, 0]]))
    np.testing.assert_array_equal(magnitude, vertex_colors(np.array([0.0, 5.0])))
    assert vertex_colors(np.zeros(3)).shape == (3, 4)


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path, ball):
    with pytest.raises(ExportError, match=r"\.stl, \.ply, \.vtp; choose one"):
        write_surface(tmp_path / "part.xyz", ball)
    with pytest.raises(ValueError, match="2 values for 162 vertices"):
        write_surface(tmp_path / "part.ply", ball, {"field": np.zeros(2)})
    assert not list(tmp_path.iterdir())
