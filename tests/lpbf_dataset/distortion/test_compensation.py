import numpy as np
import pytest
import trimesh

from lpbf_dataset.distortion import (
    CompensationError,
    compensate,
    deviation,
    displacement_at,
    moved,
    refined,
    simulated_displacement,
)
from lpbf_dataset.export.surface import write_surface
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.sources.part_files import read_part
from lpbf_dataset.sources.stl import parse_stl


@pytest.fixture(scope="module")
def beam():
    return refined(trimesh.creation.box(bounds=[(0, 0, 0), (30, 6, 4)]), 1.6)


def curl(surface):
    """Displace as residual stress does: shrink in the plane and curl up, the more the higher."""
    x, y, z = surface.vertices.T
    return np.stack([-0.004 * x, -0.004 * y, 0.0008 * (x - 15) ** 2 * (1 + 0.02 * z)], axis=1)


def test_a_smooth_displacement_is_compensated_to_the_tolerance(beam):
    result = compensate(beam, curl, evaluations=8, tolerance=1e-6)
    assert result.before.rms > 0.04
    assert result.after.rms <= 1e-6
    rms = [iterate.deviation.rms for iterate in result.iterates]
    assert rms == sorted(rms, reverse=True)
    assert len(rms) < 8
    assert deviation(beam, result.surface.vertices + curl(result.surface)).rms == result.after.rms


def test_topology_and_watertightness_stay(beam):
    surface = compensate(beam, curl).surface
    np.testing.assert_array_equal(surface.faces, beam.faces)
    assert surface.is_watertight
    assert surface.volume == pytest.approx(beam.volume, rel=0.02)


def test_the_nominal_surface_is_left_as_it_is(beam):
    vertices = beam.vertices.copy()
    compensate(beam, curl)
    np.testing.assert_array_equal(beam.vertices, vertices)


def test_a_rigid_displacement_needs_no_compensation(beam):
    result = compensate(beam, lambda surface: np.tile([0.1, -0.2, 0.3], (len(surface.vertices), 1)))
    assert len(result.iterates) == 1
    np.testing.assert_array_equal(result.surface.vertices, beam.vertices)


def test_an_iteration_that_takes_turns_is_settled(beam):
    """Where u grows by as much as the surface is moved, whole steps take turns between two shapes."""

    def stubborn(surface):
        return (surface.vertices - beam.vertices) + curl(beam)

    result = compensate(beam, stubborn, evaluations=6, tolerance=1e-6)
    assert result.after.rms < 0.01 * result.before.rms


def test_the_best_is_kept_where_nothing_helps(beam):
    rng = np.random.default_rng(0)
    result = compensate(beam, lambda surface: 0.05 * rng.normal(size=surface.vertices.shape), evaluations=3)
    assert result.after.rms == min(iterate.deviation.rms for iterate in result.iterates)


def test_one_component_alone(beam):
    """A surrogate of the z displacement leaves x and y all but as they are."""

    def vertical(surface):
        return curl(surface) * [0, 0, 1]

    result = compensate(beam, vertical)
    assert result.after.rms < 0.01 * result.before.rms
    shift = result.surface.vertices - beam.vertices
    assert np.abs(shift[:, 2]).max() > 10 * np.abs(shift[:, :2]).max()


def test_bad_input_is_refused_in_one_line(beam):
    opened = trimesh.Trimesh(beam.vertices, beam.faces[1:], process=False)
    with pytest.raises(CompensationError, match="not closed"):
        compensate(opened, curl)
    with pytest.raises(CompensationError, match="does the field hold NaN"):
        compensate(beam, lambda surface: np.full(surface.vertices.shape, np.nan))
    with pytest.raises(CompensationError, match="as many finite vectors"):
        compensate(beam, lambda surface: np.zeros((3, 3)))
    with pytest.raises(ValueError, match="at least 2"):
        compensate(beam, curl, evaluations=1)


def test_a_surface_in_the_air_takes_the_field_of_the_mesh_on_the_plate(synthetic_case):
    case = synthetic_case(3, 3, 2)
    part = trimesh.creation.box(bounds=[(0, 0, 7), (3, 3, 9)])
    found = displacement_at(part, case.points, case.cells, case.points)
    np.testing.assert_allclose(found, part.vertices - [0, 0, 7], atol=1e-6)


@pytest.mark.slow
def test_the_solver_confirms_the_written_file(tmp_path):
    part = trimesh.creation.box((24, 8, 6))
    part.apply_translation((100, -50, 30))
    nominal = refined(part, 1.6)
    solver = simulated_displacement(MATERIALS["inconel625"])
    write_surface(tmp_path / "compensated.stl", compensate(nominal, solver, evaluations=3).surface)

    read = read_part(tmp_path / "compensated.stl")
    assert read.mesh.is_watertight
    assert not read.warnings
    vertices = np.array(nominal.vertices)
    vertices[nominal.faces.ravel()] = parse_stl((tmp_path / "compensated.stl").read_bytes()).reshape(-1, 3)
    compensated = moved(nominal, vertices)
    before = deviation(nominal, nominal.vertices + solver(nominal))
    after = deviation(nominal, compensated.vertices + solver(compensated))
    assert before.rms > 0.03
    assert after.rms <= 0.2 * before.rms
