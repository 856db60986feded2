import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from lpbf_dataset.mesh import edge_splitting
from lpbf_dataset.mesh.edge_splitting import split_long_edges


def edge_lengths(vertices, faces):
    return np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=2)


def splitting_twin(vertices, faces, longest):
    """One edge at a time, the longest first, in all the triangles that have it."""
    vertices, faces = [tuple(v) for v in vertices], [tuple(int(v) for v in f) for f in faces]
    while True:
        edges = {tuple(sorted(e)) for a, b, c in faces for e in ((a, b), (b, c), (c, a))}
        length, (p, q) = max(
            (np.linalg.norm(np.subtract(vertices[p], vertices[q])), (p, q)) for p, q in edges
        )
        if length <= longest:
            return np.array(vertices), np.array(faces)
        vertices.append(tuple(np.add(vertices[p], vertices[q]) / 2))
        m, old, faces = len(vertices) - 1, faces, []
        for face in old:
            if p in face and q in face:
                faces += [tuple(m if v == p else v for v in face), tuple(m if v == q else v for v in face)]
            else:
                faces.append(face)


solids = st.sampled_from(
    [
        trimesh.creation.box((3, 1, 0.2)),
        trimesh.creation.icosphere(1),
        trimesh.creation.cylinder(radius=1, height=7, sections=17),
        trimesh.creation.annulus(r_min=0.9, r_max=1, height=2, sections=11),
        trimesh.creation.torus(2, 0.5, major_sections=9, minor_sections=5),
    ]
)


@settings(max_examples=30, deadline=None)
@given(solids, st.floats(0.3, 3), st.integers(0, 1000))
def test_a_closed_surface_keeps_its_shape_and_stays_closed(solid, longest, seed):
    rng = np.random.default_rng(seed)
    solid = solid.copy()
    solid.vertices = solid.vertices @ rng.normal(size=(3, 3)) + rng.normal(size=3)
    vertices, faces = split_long_edges(solid.vertices, solid.faces, longest)
    split = trimesh.Trimesh(vertices, faces, process=False)

    assert edge_lengths(vertices, faces).max() <= longest
    np.testing.assert_array_equal(vertices[: len(solid.vertices)], solid.vertices)
    assert split.is_watertight
    assert split.is_winding_consistent
    assert split.euler_number == solid.euler_number
    assert split.volume == pytest.approx(solid.volume, rel=1e-9)
    assert split.area == pytest.approx(solid.area, rel=1e-12)
    assert split.area_faces.min() > 0
    assert np.unique(faces) == pytest.approx(np.arange(len(vertices)))


@pytest.mark.parametrize("longest", [1.2, 2.0])
def test_no_more_triangles_than_twice_those_of_the_twin(longest):
    """The twin splits one edge at a time; both tile the same surface."""
    solid = trimesh.creation.cylinder(radius=1, height=5, sections=7)
    vertices, faces = split_long_edges(solid.vertices, solid.faces, longest)
    twin_vertices, twin_faces = splitting_twin(solid.vertices, solid.faces, longest)
    assert len(faces) <= 2 * len(twin_faces)
    twin = trimesh.Trimesh(twin_vertices, twin_faces, process=False)
    assert trimesh.Trimesh(vertices, faces, process=False).area == pytest.approx(twin.area, rel=1e-12)


@pytest.mark.parametrize(("long_edges", "pieces"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_a_triangle_falls_into_one_more_piece_than_it_has_long_edges(long_edges, pieces):
    corners = {
        0: [(0, 0, 0), (0.9, 0, 0), (0.5, 0.8, 0)],
        1: [(0, 0, 0), (1.4, 0, 0), (0.7, 0.3, 0)],
        2: [(0, 0, 0), (0.2, 0, 0), (0.1, 1.1, 0)],
        3: [(0, 0, 0), (1.5, 0, 0), (0.7, 1.5, 0)],
    }[long_edges]
    for turn in range(3):
        faces = np.roll([[0, 1, 2]], turn, axis=1)
        vertices, split = split_long_edges(np.array(corners), faces, 1.0)
        assert len(split) == pieces
        normals = np.cross(
            vertices[split[:, 1]] - vertices[split[:, 0]], vertices[split[:, 2]] - vertices[split[:, 0]]
        )
        assert (normals[:, 2] > 0).all()


def test_an_open_surface_keeps_its_rim():
    patch = trimesh.Trimesh([(0, 0, 0), (4, 0, 0), (4, 1, 0), (0, 1, 0)], [(0, 1, 2), (0, 2, 3)])
    split = trimesh.Trimesh(*split_long_edges(patch.vertices, patch.faces, 0.5), process=False)
    rim = split.edges_sorted[trimesh.grouping.group_rows(split.edges_sorted, require_count=1)]
    assert np.linalg.norm(np.diff(split.vertices[rim], axis=1), axis=2).sum() == pytest.approx(10)


def test_three_sheets_at_an_edge_stay_joined():
    vertices = np.array([(0, 0, 0), (0, 0, 3), (1, 0, 0), (-1, 1, 0), (-1, -1, 0)], dtype=float)
    faces = np.array([(0, 1, 2), (0, 1, 3), (0, 1, 4)])
    vertices, faces = split_long_edges(vertices, faces, 0.8)
    split = trimesh.Trimesh(vertices, faces, process=False)
    triple = trimesh.grouping.group_rows(split.edges_sorted, require_count=3)
    assert np.linalg.norm(
        np.diff(split.vertices[split.edges_sorted[triple[:, 0]]], axis=1), axis=2
    ).sum() == (pytest.approx(3))


def test_nothing_to_split():
    box = trimesh.creation.box()
    vertices, faces = split_long_edges(box.vertices, box.faces, 10.0)
    np.testing.assert_array_equal(vertices, box.vertices)
    np.testing.assert_array_equal(faces, box.faces)
    assert len(split_long_edges(np.zeros((0, 3)), np.zeros((0, 3), dtype=int), 1.0)[1]) == 0


@pytest.mark.parametrize("longest", [0.0, -1.0, np.nan])
def test_a_length_that_is_none_is_refused(longest):
    box = trimesh.creation.box()
    with pytest.raises(ValueError, match="must be positive"):
        split_long_edges(box.vertices, box.faces, longest)


def test_positions_that_are_none_are_refused():
    with pytest.raises(ValueError, match="no finite position"):
        split_long_edges(np.full((3, 3), np.inf), np.array([[0, 1, 2]]), 1.0)


def test_an_absurd_number_of_triangles_is_refused(monkeypatch):
    monkeypatch.setattr(edge_splitting, "MAX_TRIANGLES", 1000)
    box = trimesh.creation.box()
    with pytest.raises(ValueError, match="more than 1000 triangles; allow longer"):
        split_long_edges(box.vertices, box.faces, 0.01)
