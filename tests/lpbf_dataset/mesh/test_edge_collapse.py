import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset.mesh.edge_collapse import collapse_short_edges
from lpbf_dataset.mesh.edge_splitting import split_long_edges

SHORTEST = 1e-3


def with_short_edges(solid, rng, count):
    """Split an edge a hair's breadth from its end, over and over."""
    vertices, faces = list(solid.vertices), [tuple(face) for face in solid.faces]
    for _ in range(count):
        a, b, _ = faces[rng.integers(len(faces))]
        towards = vertices[b] - vertices[a]
        vertices.append(vertices[a] + towards / np.linalg.norm(towards) * SHORTEST * rng.uniform(0.1, 0.9))
        new, old, faces = len(vertices) - 1, faces, []
        for face in old:
            if a in face and b in face:
                faces += [
                    tuple(new if v == a else v for v in face),
                    tuple(new if v == b else v for v in face),
                ]
            else:
                faces.append(face)
    return np.array(vertices), np.array(faces)


def shortest_edge(vertices, faces):
    return np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=2).min()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([trimesh.creation.box(), trimesh.creation.icosphere(1), trimesh.creation.torus(2, 0.5)]),
    st.integers(0, 10_000),
)
def test_short_edges_go_and_the_surface_stays(solid, seed):
    vertices, faces = with_short_edges(solid, np.random.default_rng(seed), 5)
    assert shortest_edge(vertices, faces) < SHORTEST
    left = collapse_short_edges(vertices, faces, SHORTEST)
    mesh = trimesh.Trimesh(vertices, left, process=True)
    assert len(left) < len(faces)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == solid.euler_number
    assert mesh.volume == pytest.approx(solid.volume, abs=SHORTEST * solid.area)


def test_no_corner_moves_farther_than_the_shortest_edge():
    """A chain of short edges does not shrink to one point."""
    chain = np.arange(50) * 0.9 * SHORTEST
    vertices = np.concatenate(
        [np.column_stack([chain, 0 * chain, 0 * chain]), [(0.02, 1, 0), (0.02, -1, 0), (0, 0, 1)]]
    )
    top, bottom = 50, 51
    faces = np.array(
        [(k, k + 1, top) for k in range(49)] + [(k + 1, k, bottom) for k in range(49)], dtype=np.int64
    )
    left = collapse_short_edges(vertices, faces, SHORTEST)
    ends = np.unique(left[left < 50])
    assert 24 <= len(ends) < 50
    assert np.diff(vertices[ends, 0]).max() <= 2 * SHORTEST


def test_an_edge_in_a_ring_of_three_stays():
    """A thin tube of three sides would close, a tetrahedron fall flat."""
    tube = trimesh.creation.annulus(r_min=SHORTEST / 10, r_max=1, height=3, sections=3)
    left = collapse_short_edges(tube.vertices, tube.faces, SHORTEST)
    assert trimesh.Trimesh(tube.vertices, left, process=False).is_watertight
    assert trimesh.Trimesh(tube.vertices, left).euler_number == tube.euler_number
    pyramid = np.array([(0, 0, 0), (SHORTEST / 2, 0, 0), (0, 1, 0), (0, 0, 1)], dtype=float)
    faces = np.array([(0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)])
    np.testing.assert_array_equal(collapse_short_edges(pyramid, faces, SHORTEST), faces)


def test_the_rim_of_an_open_surface_stays():
    vertices = np.array([(0, 0, 0), (SHORTEST / 2, 0, 0), (0, 1, 0)])
    faces = np.array([(0, 1, 2)])
    np.testing.assert_array_equal(collapse_short_edges(vertices, faces, SHORTEST), faces)


def test_nothing_short():
    ball = trimesh.creation.icosphere(1)
    vertices, faces = split_long_edges(ball.vertices, ball.faces, 0.3)
    np.testing.assert_array_equal(collapse_short_edges(vertices, faces, SHORTEST), faces)
    assert collapse_short_edges(np.zeros((0, 3)), np.zeros((0, 3), dtype=int), 1.0).shape == (0, 3)
