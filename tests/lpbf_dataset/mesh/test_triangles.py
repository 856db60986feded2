from __future__ import annotations

import numpy as np
import pytest
from trimesh import Trimesh
from trimesh.creation import box, icosphere, torus

from lpbf_dataset.mesh.triangles import is_closed, welded


def naive(triangles):
    """Weld corners one by one, each to the first that is equal."""
    vertices, faces = [], []
    for triangle in triangles.astype(np.float64):
        face = []
        for corner in triangle:
            equal = [i for i, vertex in enumerate(vertices) if np.abs(vertex - corner).max() < 1e-8]
            face.append(equal[0] if equal else len(vertices))
            if not equal:
                vertices.append(corner)
        if len(set(face)) == 3:
            faces.append(face)
    return np.array(vertices)[faces]


def collapsed():
    """Return a box, two corners of which are closer than single precision resolves."""
    solid = box().subdivide()
    vertices = solid.vertices.copy()
    near, far = solid.edges_unique[0]
    vertices[near] = vertices[far] + 1e-12
    return Trimesh(vertices, solid.faces, process=False)


@pytest.mark.parametrize(
    ("solid", "faces", "euler"),
    [(box(), 12, 2), (icosphere(1), 80, 2), (torus(2.0, 0.5), 2048, 0), (collapsed(), 46, 2)],
    ids=["box", "sphere", "torus", "collapsed"],
)
def test_a_closed_surface_stays_closed(solid, faces, euler):
    surface = welded(solid.triangles.astype(np.float32))
    assert is_closed(surface)
    assert (len(surface.faces), surface.euler_number) == (faces, euler)
    assert surface.volume == pytest.approx(solid.volume, rel=1e-5)


@pytest.mark.parametrize("solid", [icosphere(1), collapsed()], ids=["sphere", "collapsed"])
def test_like_corners_welded_one_by_one(solid):
    triangles = solid.triangles.astype(np.float32)
    np.testing.assert_array_equal(welded(triangles).triangles, naive(triangles))


def test_both_zeros_are_one_corner():
    triangles = box(bounds=[(0, 0, 0), (1, 1, 1)]).triangles.astype(np.float32)
    triangles[::2][triangles[::2] == 0] = -0.0
    assert is_closed(welded(triangles))


def test_a_gap_stays_open():
    assert not is_closed(welded(box().triangles[1:]))


def test_nothing_but_collapsed_triangles_is_no_surface():
    surface = welded(np.ones((5, 3, 3), np.float32))
    assert len(surface.faces) == 0
    assert not is_closed(surface)
