from __future__ import annotations

import pickle

import meshio
import numpy as np
import pytest

from lpbf_dataset import Case
from lpbf_dataset.schema import TENSOR_COMPONENTS


@pytest.fixture
def case(synthetic_case):
    return synthetic_case(3, 2, 2, seed=1, optional=True)


def test_variables_are_attributes(case):
    assert case.von_mises_stress is case.variables["von_mises_stress"]
    assert "temperature" in dir(case)
    assert (case.node_count, case.cell_count) == (4 * 3 * 3, 3 * 2 * 2)


def test_unknown_attribute_names_the_case_and_its_variables(case):
    with pytest.raises(AttributeError, match=r"case_322_1.*no variable 'sigma'.*displacement"):
        _ = case.sigma


def test_part_of_a_case_shows_what_it_has(case):
    part = Case("a", "d", "s", {"displacement": case.displacement})
    assert repr(part) == "Case('a', displacement (36, 3))"
    assert part.field_names == ("displacement",)


def test_survives_pickling(case):
    copy = pickle.loads(pickle.dumps(case))  # noqa: S301
    assert copy.case_id == case.case_id
    np.testing.assert_array_equal(copy.displacement, case.displacement)


def test_scalar(case):
    np.testing.assert_array_equal(case.scalar("temperature"), case.temperature)
    np.testing.assert_array_equal(case.scalar("displacement_y"), case.displacement[:, 1])
    np.testing.assert_array_equal(case.scalar("points_z"), case.points[:, 2])
    magnitude = case.scalar("displacement")
    np.testing.assert_allclose(magnitude, np.linalg.norm(case.displacement, axis=1), rtol=1e-6)
    assert magnitude.dtype == np.float32


@pytest.mark.parametrize("name", ["strain", "cells"])
def test_scalar_refuses_what_is_no_field(case, name):
    with pytest.raises(KeyError):
        case.scalar(name)


def test_scalar_of_a_field_the_case_lacks(synthetic_case):
    with pytest.raises(KeyError, match="it has displacement, von_mises_stress, temperature"):
        synthetic_case(1, 1, 1).scalar("cauchy_stress_xx")


def test_to_pyvista(case):
    pytest.importorskip("pyvista")
    grid = case.to_pyvista()
    np.testing.assert_array_equal(grid.points, case.points)
    np.testing.assert_array_equal(grid.cells.reshape(-1, 9)[:, 1:], case.cells)
    # Positive volumes: the vertex order is VTK's.
    assert grid.compute_cell_sizes()["Volume"] == pytest.approx(np.ones(case.cell_count))
    np.testing.assert_array_equal(grid["displacement"], case.displacement)
    assert grid.user_dict["case_id"] == case.case_id


@pytest.mark.parametrize(("field", "warp"), [("displacement_z", 10.0), ("von_mises_stress", 0.0)])
def test_plot_draws_what_a_notebook_shows(case, field, warp, tmp_path):
    pv = pytest.importorskip("pyvista")
    rendering = pytest.importorskip("viz.rendering")
    rendering.prepare_offscreen()
    path = tmp_path / "case.png"
    case.plot(field, warp=warp, off_screen=True, screenshot=path, window_size=(200, 150))
    image = pv.read(path)
    assert image.dimensions[:2] == (200, 150)
    assert np.asarray(image.active_scalars).std() > 5
    with pytest.raises(KeyError, match="no field named 'colour'"):
        case.plot("colour")


def test_to_pyvista_orders_tensors_as_vtk_does(case):
    pytest.importorskip("pyvista")
    stress = case.to_pyvista()["cauchy_stress"]
    for column, component in enumerate(("xx", "yy", "zz", "xy", "yz", "xz")):
        np.testing.assert_array_equal(
            stress[:, column], case.cauchy_stress[:, TENSOR_COMPONENTS.index(component)]
        )


def test_to_meshio_round_trip_through_a_file(case, tmp_path):
    file = tmp_path / "case.vtu"
    case.to_meshio().write(file)
    mesh = meshio.read(file)
    np.testing.assert_array_equal(mesh.points, case.points)
    np.testing.assert_array_equal(mesh.cells_dict["hexahedron"], case.cells)
    for name in case.field_names:
        np.testing.assert_array_equal(mesh.point_data[name], case.variables[name])
