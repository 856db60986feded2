import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lpbf_dataset.distortion import deviation, moved, refined
from lpbf_dataset.distortion.surfaces import vertex_areas


@pytest.fixture(scope="module")
def box():
    return refined(trimesh.creation.box((10, 5, 2)), 1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_rigid_motion_is_no_deviation(box, seed):
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-5, 5, 3)
    found = deviation(box, box.vertices @ Rotation.random(random_state=seed).as_matrix().T + shift)
    assert found.rms == pytest.approx(0, abs=1e-9)
    assert found.maximum == pytest.approx(0, abs=1e-9)
    assert found.rms_unaligned > 0.1


def test_shrinking_by_a_per_cent_by_hand(box):
    found = deviation(box, 0.99 * box.vertices + [0, 0, 3])
    centre = np.average(box.vertices, axis=0, weights=vertex_areas(box))
    away = np.linalg.norm(box.vertices - centre, axis=1)
    assert found.rms == pytest.approx(0.01 * np.sqrt(np.average(away**2, weights=vertex_areas(box))))
    assert found.maximum == pytest.approx(0.01 * away.max())
    assert found.rms < found.p95 < found.maximum


def test_areas_make_the_density_of_vertices_not_matter():
    def bent(surface):
        return surface.vertices + np.stack(
            [0 * surface.vertices[:, 0]] * 2 + [0.01 * surface.vertices[:, 0] ** 2], 1
        )

    coarse = refined(trimesh.creation.box((10, 5, 2)), 0.5)
    uneven = refined(coarse.submesh([np.flatnonzero(coarse.triangles_center[:, 0] > 0)], append=True), 0.2)
    rest = coarse.submesh([np.flatnonzero(coarse.triangles_center[:, 0] <= 0)], append=True)
    mixed = trimesh.util.concatenate([uneven, rest])
    assert deviation(mixed, bent(mixed)).rms == pytest.approx(deviation(coarse, bent(coarse)).rms, rel=0.01)


def test_areas_sum_to_that_of_the_surface(box):
    assert vertex_areas(box).sum() == pytest.approx(box.area)


def test_positions_that_do_not_fit_are_refused(box):
    with pytest.raises(ValueError, match="as many finite positions"):
        deviation(box, box.vertices[1:])
    with pytest.raises(ValueError, match="as many finite positions"):
        deviation(box, np.full(box.vertices.shape, np.nan))


def test_moved_keeps_triangles_and_original(box):
    other = moved(box, box.vertices + 1)
    np.testing.assert_array_equal(other.faces, box.faces)
    np.testing.assert_allclose(other.bounds, box.bounds + 1)
