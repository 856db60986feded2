import numpy as np
import pytest
import trimesh

from lpbf_dataset.distortion import CompensationError, refined
from lpbf_dataset.distortion.soundness import sound_move
from lpbf_dataset.mesh.self_intersection import piercing_triangles


@pytest.fixture
def slit():
    """Return two plates with a gap of 1 mm, joined at one end."""
    outline = [(0, 0), (10, 0), (10, 1), (1, 1), (1, 2), (10, 2), (10, 3), (0, 3)]
    triangles = [(0, 1, 2), (0, 2, 3), (0, 3, 7), (7, 3, 4), (7, 4, 5), (7, 5, 6)]
    return refined(
        trimesh.creation.extrude_triangulation(np.array(outline, dtype=float), np.array(triangles), 3.0), 0.7
    )


def test_a_small_move_is_made_in_full(slit):
    wanted = slit.vertices + 0.1 * np.sin(slit.vertices)
    reached, damped = sound_move(slit, wanted)
    np.testing.assert_array_equal(reached, wanted.astype(np.float32))
    assert not damped.any()


def test_walls_that_would_run_through_each_other_are_held_back(slit):
    bend = np.zeros(slit.vertices.shape)
    upper = slit.vertices[:, 1] > 1.5
    bend[upper, 1] = -0.15 * slit.vertices[upper, 0]
    bend[upper, 2] = 0.01
    wanted = slit.vertices + bend
    assert piercing_triangles(wanted, slit.faces).any()

    reached, damped = sound_move(slit, wanted)
    surface = trimesh.Trimesh(reached, slit.faces, process=False)
    assert surface.is_watertight
    assert damped.any()
    np.testing.assert_array_equal(reached[~damped], wanted[~damped].astype(np.float32))
    assert not piercing_triangles(reached, slit.faces).any()
    lower, upper = (reached[(slit.vertices[:, 1] == y) & (slit.vertices[:, 0] > 2)] for y in (1, 2))
    assert upper[:, 1].min() > lower[:, 1].max()


def test_a_fold_is_held_back():
    box = refined(trimesh.creation.box((4, 4, 4)), 1.0)
    wanted = box.vertices.copy()
    wanted[np.argmin(np.linalg.norm(box.vertices - [0, 0, 2], axis=1))] += [2.5, 0, 0]
    reached, damped = sound_move(box, wanted)
    normals = trimesh.Trimesh(reached, box.faces, process=False).face_normals
    assert (np.einsum("ij,ij->i", normals, box.face_normals) > 0).all()
    assert 0 < damped.sum() < len(damped)


def test_a_sliver_goes_along_with_its_neighbours():
    """A vertex nearly on a straight edge would pass it at the least bend."""
    height = 0.001
    vertices = np.array([(-1, 0, 0), (1, 0, 0), (0, height, 0), (0, 2, 0), (0, 0.5, -1)], dtype=float)
    faces = [(0, 1, 2), (0, 2, 3), (2, 1, 3), (1, 0, 4), (0, 3, 4), (3, 1, 4)]
    surface = trimesh.Trimesh(vertices, faces, process=False)
    wanted = vertices.copy()
    wanted[:, 1] += 0.2
    wanted[2, 1] -= 3 * height
    reached, _ = sound_move(surface, wanted)
    assert reached[2, 1] > reached[:2, 1].max()
    np.testing.assert_allclose(reached, wanted, atol=3 * height)


@pytest.mark.parametrize("jump", [0.01, 0.1, 1.0])
def test_a_move_that_jumps_is_made_even(jump):
    """However wild, a move becomes one that a surface with slivers can make."""
    cylinder = trimesh.creation.cylinder(radius=5, height=10, sections=200)
    cylinder.vertices[:200:3, 2] += 1e-3
    rng = np.random.default_rng(0)
    wanted = cylinder.vertices + np.array([0.2, 0, 0]) + rng.uniform(-jump, jump, cylinder.vertices.shape)
    reached, damped = sound_move(cylinder, wanted)
    surface = trimesh.Trimesh(reached, cylinder.faces, process=False)
    turn = trimesh.triangles.cross(surface.triangles) * trimesh.triangles.cross(cylinder.triangles)
    assert (turn.sum(axis=1) >= 0).all()
    assert not piercing_triangles(reached, cylinder.faces).any()
    assert np.isfinite(reached).all()
    np.testing.assert_array_equal(reached[~damped], wanted[~damped].astype(np.float32))


def test_what_intersected_before_is_let_be():
    box = trimesh.creation.box((2, 2, 2))
    overlapping = trimesh.util.concatenate([box, box.copy().apply_translation((1, 0.9, 0.8))])
    reached, damped = sound_move(overlapping, overlapping.vertices * 1.01)
    np.testing.assert_allclose(reached, overlapping.vertices * 1.01, rtol=1e-6)
    assert not damped.any()


def test_a_surface_that_cannot_move_at_all_is_refused():
    box = refined(trimesh.creation.box((4, 4, 4)), 1.0)
    rng = np.random.default_rng(0)
    with pytest.raises(CompensationError, match="repair the part"):
        sound_move(box, box.vertices + rng.normal(scale=1e6, size=box.vertices.shape))
