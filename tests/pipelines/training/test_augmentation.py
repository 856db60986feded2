from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

import lpbf_dataset as lpbf
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import AXIS_DIRECTIONS, TENSOR_COMPONENTS, VARIABLES
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import simulate
from pipelines.console import UserError
from pipelines.training.augmentation import SYMMETRIES, check_symmetries, signed_columns, symmetry_group, turn

WHOLE_GROUP = symmetry_group(tuple(SYMMETRIES))
CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], np.int64
)


def blocks(cells, size=(0.75, 0.5, 1.25)):
    """Points and hexahedra of cells of a grid."""
    corners = np.array(cells)[:, None] + CORNERS
    grid, numbers = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return (grid * size).astype(np.float32), numbers.reshape(-1, 8).astype(np.int32)


@pytest.fixture
def case():
    """An L with a column on one arm, away from the origin; without any symmetry."""
    points, cells = blocks([(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (2, 0, 1)])
    points += np.float32([10, -4, 0])
    rng = np.random.default_rng(0)
    fields = {
        name: rng.normal(size=(len(points), *VARIABLES[name].row_shape)).astype(np.float32)
        for name in ("displacement", "von_mises_stress", "cauchy_stress", "principal_stress_direction_max")
    }
    features = geometry_features(points, cells, mesh_surface(points, cells))
    edges = unique_edges(cells, len(points))
    variables = {"points": points, "cells": cells, "edges": edges, **fields, **features}
    return lpbf.Case("a", "a", "synthetic", variables)


def test_groups_are_closed_and_as_large_as_they_should_be():
    sizes = {(): 1, ("mirror_x",): 2, ("mirror_x", "mirror_y"): 4, ("rotate_z",): 4, tuple(SYMMETRIES): 8}
    for names, size in sizes.items():
        group = symmetry_group(names)
        assert len(group) == size
        np.testing.assert_array_equal(group[0], np.eye(3))
        elements = {element.tobytes() for element in group}
        assert {(a @ b).tobytes() for a in group for b in group} == elements
        assert {np.ascontiguousarray(a.T).tobytes() for a in group} == elements
    assert len(symmetry_group(("mirror_y", "rotate_z"))) == 8


def test_an_unknown_symmetry():
    with pytest.raises(
        UserError, match="no symmetry named 'mirror_z'; there are mirror_x, mirror_y, rotate_z"
    ):
        check_symmetries(["mirror_x", "mirror_z"])


def test_a_quarter_turn_by_hand():
    points = np.float32([[0, 0, 0], [4, 0, 1], [0, 2, 0]])
    case = lpbf.Case("a", "a", "s", {"points": points, "displacement": np.float32([[1, 2, 3]] * 3)})
    turned = turn(case, SYMMETRIES["rotate_z"])
    np.testing.assert_array_equal(turned.points, [[3, -1, 0], [3, 3, 1], [1, -1, 0]])
    np.testing.assert_array_equal(turned.displacement[0], [-2, 1, 3])


@pytest.mark.parametrize("matrix", WHOLE_GROUP)
def test_vectors_and_tensors_turn_as_matrices_do(case, matrix):
    turned = turn(case, matrix)
    np.testing.assert_array_equal(turned.displacement, case.displacement @ matrix.T)
    np.testing.assert_array_equal(
        turned.principal_stress_direction_max, case.principal_stress_direction_max @ matrix.T
    )
    np.testing.assert_array_equal(turned.von_mises_stress, case.von_mises_stress)
    assert tensors(turned.cauchy_stress) == pytest.approx(matrix @ tensors(case.cauchy_stress) @ matrix.T)


def tensors(components):
    """Symmetric matrices of their six components."""
    full = np.empty((len(components), 3, 3))
    for column, name in enumerate(TENSOR_COMPONENTS):
        i, j = ("xyz".index(axis) for axis in name)
        full[:, i, j] = full[:, j, i] = components[:, column]
    return full


@pytest.mark.parametrize("matrix", WHOLE_GROUP)
def test_features_are_those_of_the_turned_mesh(case, matrix):
    turned = turn(case, matrix)
    expected = geometry_features(turned.points, turned.cells, mesh_surface(turned.points, turned.cells))
    for name in ("sdf", "axis_distance"):
        np.testing.assert_allclose(turned.variables[name], expected[name], atol=2e-6)
    np.testing.assert_array_equal(turned.on_surface, expected["on_surface"])
    # Where several surface points are equally near, either direction is right.
    away = np.abs(expected["sdf"])[:, None] * (turned.sdf_direction - expected["sdf_direction"])
    np.testing.assert_allclose(away, 0, atol=2e-6)


@pytest.mark.parametrize("matrix", WHOLE_GROUP)
def test_the_part_stays_where_it_was_and_what_it_was(case, matrix):
    turned = turn(case, matrix)
    centres = [(points.min(axis=0) + points.max(axis=0)) / 2 for points in (case.points, turned.points)]
    np.testing.assert_allclose(*centres, atol=1e-6)
    np.testing.assert_array_equal(turned.points[:, 2], case.points[:, 2])
    np.testing.assert_array_equal(turned.edges, case.edges)
    corner, *neighbours = (turned.points[turned.cells[:, vertex]] for vertex in (0, 1, 3, 4))
    along = np.stack([neighbour - corner for neighbour in neighbours], axis=1)
    assert (np.linalg.det(along) > 0).all()
    assert all(turned.variables[name].dtype == values.dtype for name, values in case.variables.items())


@pytest.mark.parametrize("matrix", WHOLE_GROUP)
def test_turning_back_restores_a_case(case, matrix):
    restored = turn(turn(case, matrix), matrix.T)
    np.testing.assert_allclose(restored.points, case.points, atol=1e-6)
    for name in set(case.variables) - {"points", "cells"}:
        np.testing.assert_array_equal(restored.variables[name], case.variables[name])


def test_the_identity_changes_nothing(case):
    same = turn(case, WHOLE_GROUP[0])
    for name, values in case.variables.items():
        np.testing.assert_array_equal(same.variables[name], values)


def test_distances_are_permuted_only():
    columns, signs = signed_columns("axis_distance", SYMMETRIES["mirror_x"])
    assert [AXIS_DIRECTIONS[column] for column in columns] == ["+x", "-y", "-z", "-x", "+y", "+z"]
    assert (signs == 1).all()


def simulated(matrix):
    """Print an L with arms of two heights, in one layer group, mirrored or turned beforehand."""
    pytest.importorskip("manifold3d")
    boxes = [trimesh.creation.box(bounds=[[0, 0, 0], top]) for top in ([12, 4, 2.4], [4, 8, 3.2])]
    part = boxes[0].union(boxes[1])
    transform = np.eye(4)
    transform[:3, :3] = matrix
    step = simulate(part.apply_transform(transform), MATERIALS["inconel625"]).steps[-1]
    # So that the nodes of two parts can be told from their positions.
    variables = {"points": (step.points - step.points.min(axis=0)).astype(np.float32)}
    for name in ("displacement", "von_mises_stress", "cauchy_stress"):
        variables[name] = step.fields[name].astype(np.float32)
    return lpbf.Case("a", "a", "solver", variables)


def test_the_solver_has_these_symmetries():
    case = simulated(np.eye(3))
    for name in ("mirror_x", "rotate_z"):
        expected, turned = simulated(SYMMETRIES[name]), turn(case, SYMMETRIES[name])
        distance, node = cKDTree(turned.points - turned.points.min(axis=0)).query(expected.points)
        assert distance.max() < 1e-5
        for field in ("displacement", "von_mises_stress", "cauchy_stress"):
            scale = np.abs(expected.variables[field]).max()
            assert np.abs(turned.variables[field][node] - expected.variables[field]).max() < 1e-4 * scale
