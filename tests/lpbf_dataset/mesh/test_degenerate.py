"""What every function does with the smallest and with broken meshes: the right answer, or a clear refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from lpbf_dataset import mesh as package
from lpbf_dataset.mesh import (
    CellLocator,
    aspect_ratios,
    axis_distances,
    boundary,
    cell_to_node,
    cell_volumes,
    face_components,
    feature_size,
    interpolate,
    node_components,
    node_distance,
    node_to_cell,
    signed_distance,
    surface_axis_distances,
    unique_edges,
)

from .conftest import UNIT_CORNERS, Mesh

if TYPE_CHECKING:
    from collections.abc import Callable

NAN = np.nan


def cubes(*corners: tuple[int, int, int]) -> Mesh:
    """Return unit cubes at the given corners, merged at common nodes."""
    lattice, cells = np.unique(
        (np.array(corners)[:, None] + UNIT_CORNERS).reshape(-1, 3), axis=0, return_inverse=True
    )
    return Mesh(lattice.astype(np.float32), cells.reshape(-1, 8).astype(np.int32))


def surface_distance(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the signed distance of the centres of the cells."""
    surface = boundary(points, cells)
    return signed_distance(points[cells].mean(axis=1), surface.vertices, surface.triangles)[0]


def surface_reach(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return how far the surface is from the centre of the first cell, along each axis."""
    surface = boundary(points, cells)
    return surface_axis_distances(points[cells[:1]].mean(axis=1), surface.vertices, surface.triangles)[0]


def counts(points: np.ndarray, cells: np.ndarray) -> list[int]:
    """Return the numbers of quads, triangles and surface nodes."""
    surface = boundary(points, cells)
    return [len(surface.quads), len(surface.triangles), int(surface.is_surface_node.sum())]


# Each gives something short enough to be written into a table: the longest distance along each axis, what a
# field of ones, or of x, becomes, and so on.
FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
    "aspect_ratios": aspect_ratios,
    "axis_distances": lambda points, cells: axis_distances(points, cells).max(axis=0, initial=0),
    "boundary": counts,
    "cell_to_node": lambda points, cells: cell_to_node(np.ones(len(cells)), cells, len(points)),
    "cell_volumes": cell_volumes,
    "CellLocator": lambda points, cells: CellLocator(points, cells).locate(points[cells].mean(axis=1)).cell,
    "face_components": face_components,
    "feature_size": feature_size,
    "interpolate": lambda points, cells: (
        interpolate(points, cells, points[:, 0], points[cells].mean(axis=1)).values
    ),
    "node_components": lambda points, cells: node_components(cells, len(points)),
    # It is not defined at nodes of no cell.
    "node_distance": lambda points, cells: node_distance(points, boundary(points, cells))[0][
        np.unique(cells)
    ],
    "node_to_cell": lambda points, cells: node_to_cell(points[:, 0], cells),
    "signed_distance": surface_distance,
    "surface_axis_distances": surface_reach,
    "unique_edges": lambda points, cells: len(unique_edges(cells, len(points))),
}
# The interpolator is the class behind `interpolate`, and the boundary is what `boundary` returns.
NOT_IN_TABLE = {"Boundary", "Interpolator"}


class Row(NamedTuple):
    """A mesh and what each function makes of it: a result, or the message with which it is refused."""

    mesh: Mesh
    expected: dict[str, object]


ONE = cubes((0, 0, 0))
TWO = cubes((0, 0, 0), (1, 0, 0))
SURFACELESS = (
    "axis_distances",
    "boundary",
    "feature_size",
    "node_distance",
    "signed_distance",
    "surface_axis_distances",
)


def unreferenced_node() -> Mesh:
    return Mesh(np.concatenate([ONE.points, np.float32([[5, 5, 5]])]), ONE.cells)


def nan_at_first_corner() -> Mesh:
    """Return two cells, the first of which has a corner that is none of the second, at no position."""
    points = TWO.points.copy()
    points[TWO.cells[0, 0], 1] = NAN
    return Mesh(points, TWO.cells)


def index_out_of_range() -> Mesh:
    cells = TWO.cells.copy()
    cells[1, 6] = 12
    return Mesh(TWO.points, cells)


TABLE = {
    "one cell": Row(
        ONE,
        {
            "aspect_ratios": [1],
            "axis_distances": [1] * 6,
            "boundary": [6, 12, 8],
            "cell_to_node": [1] * 8,
            "cell_volumes": [1],
            "CellLocator": [0],
            "face_components": [0],
            "feature_size": [1],
            "interpolate": [0.5],
            "node_components": [0],
            "node_distance": [0] * 8,
            "node_to_cell": [0.5],
            "signed_distance": [-0.5],
            "surface_axis_distances": [0.5] * 6,
            "unique_edges": 12,
        },
    ),
    "two cells share an edge": Row(
        cubes((0, 0, 0), (1, 1, 0)),
        {
            "aspect_ratios": [1, 1],
            # Along the common edge, a ray in the face of one goes on in the face of the other.
            "axis_distances": [2, 2, 1, 2, 2, 1],
            "boundary": [12, 24, 14],
            "cell_to_node": [1] * 14,
            "cell_volumes": [1, 1],
            "CellLocator": [0, 1],
            "face_components": [0, 1],
            "feature_size": [1, 1],
            "interpolate": [0.5, 1.5],
            "node_components": [0, 0],
            "node_distance": [0] * 14,
            "node_to_cell": [0.5, 1.5],
            "signed_distance": [-0.5, -0.5],
            "surface_axis_distances": [0.5] * 6,
            "unique_edges": 23,
        },
    ),
    "two cells share a corner": Row(
        cubes((0, 0, 0), (1, 1, 1)),
        {
            "aspect_ratios": [1, 1],
            "axis_distances": [2] * 6,
            "boundary": [12, 24, 15],
            "cell_to_node": [1] * 15,
            "cell_volumes": [1, 1],
            "CellLocator": [0, 1],
            "face_components": [0, 1],
            "feature_size": [1, 1],
            "interpolate": [0.5, 1.5],
            "node_components": [0, 0],
            "node_distance": [0] * 15,
            "node_to_cell": [0.5, 1.5],
            "signed_distance": [-0.5, -0.5],
            "surface_axis_distances": [0.5] * 6,
            "unique_edges": 24,
        },
    ),
    "two equal cells": Row(
        Mesh(ONE.points, ONE.cells.repeat(2, axis=0)),
        {
            "aspect_ratios": [1, 1],
            "axis_distances": [1] * 6,
            "cell_to_node": [1] * 8,
            "cell_volumes": [1, 1],
            "CellLocator": [0, 0],
            "face_components": [0, 0],
            "interpolate": [0.5, 0.5],
            "node_components": [0, 0],
            "node_to_cell": [0.5, 0.5],
            "unique_edges": 12,
        }
        | dict.fromkeys(SURFACELESS[1:], "cell [01] shares a face .* cells overlap"),
    ),
    "an inverted cell": Row(
        Mesh(ONE.points, ONE.cells[:, [4, 5, 6, 7, 0, 1, 2, 3]]),
        {
            "aspect_ratios": [1],
            "cell_to_node": [1] * 8,
            "cell_volumes": [-1],
            "CellLocator": [0],
            "face_components": [0],
            "interpolate": [0.5],
            "node_components": [0],
            "node_to_cell": [0.5],
            "unique_edges": 12,
        }
        | dict.fromkeys(SURFACELESS, "cell 0 is inverted"),
    ),
    "an unreferenced node": Row(
        unreferenced_node(),
        {
            "aspect_ratios": [1],
            "axis_distances": [1] * 6,
            "boundary": [6, 12, 8],
            "cell_to_node": [1] * 8 + [NAN],
            "cell_volumes": [1],
            "CellLocator": [0],
            "face_components": [0],
            "feature_size": [1],
            "interpolate": [0.5],
            "node_components": [0],
            "node_distance": [0] * 8,
            "node_to_cell": [0.5],
            "signed_distance": [-0.5],
            "surface_axis_distances": [0.5] * 6,
            "unique_edges": 12,
        },
    ),
    "a coordinate is NaN": Row(
        nan_at_first_corner(),
        {
            "aspect_ratios": [NAN, 1],
            "cell_to_node": [1] * 12,
            "cell_volumes": [NAN, 1],
            "CellLocator": "point 0 is at",
            "face_components": "point 0 is at",
            "interpolate": "point 0 is at",
            "node_components": [0, 0],
            "node_to_cell": [0.5, 1.5],
            "unique_edges": 20,
        }
        | dict.fromkeys(SURFACELESS, r"cell 0 (has a corner at no|is inverted, flat or not) finite"),
    ),
    "no cells": Row(
        Mesh(ONE.points, ONE.cells[:0]),
        {
            "aspect_ratios": [],
            "axis_distances": [0] * 6,
            "cell_to_node": [NAN] * 8,
            "cell_volumes": [],
            "CellLocator": "mesh has no cells",
            "face_components": [],
            "interpolate": "mesh has no cells",
            "node_components": [],
            "node_to_cell": [],
            "unique_edges": 0,
        }
        | dict.fromkeys(SURFACELESS[1:], "mesh without cells"),
    ),
    "no nodes either": Row(
        Mesh(ONE.points[:0], ONE.cells[:0]),
        {
            "aspect_ratios": [],
            "axis_distances": [0] * 6,
            "cell_to_node": [],
            "cell_volumes": [],
            "CellLocator": "mesh has no cells",
            "face_components": [],
            "interpolate": "mesh has no cells",
            "node_components": [],
            "node_to_cell": [],
            "unique_edges": 0,
        }
        | dict.fromkeys(SURFACELESS[1:], "mesh without cells"),
    ),
}


def test_the_table_is_complete():
    assert set(FUNCTIONS) == set(package.__all__) - NOT_IN_TABLE
    for row in TABLE.values():
        assert set(row.expected) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_right_answer_or_clear_refusal(row, name):
    expected = row.expected[name]
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            FUNCTIONS[name](*row.mesh)
    else:
        np.testing.assert_allclose(FUNCTIONS[name](*row.mesh), expected, atol=1e-6)


# Those of the table, but with centres of cells that can be computed whatever the connectivity.
WITHOUT_CENTRES = FUNCTIONS | {
    "CellLocator": CellLocator,
    "interpolate": lambda points, cells: interpolate(points, cells, points[:, 0], np.zeros((1, 3))),
    "signed_distance": lambda points, cells: boundary(points, cells),
    "surface_axis_distances": lambda points, cells: boundary(points, cells),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (index_out_of_range(), "cell 1 names node 12, but the mesh has nodes 0 to 11"),
        (Mesh(TWO.points, np.where(TWO.cells == 5, -1, TWO.cells)), "cell [01] names node -1"),
        (Mesh(TWO.points, TWO.cells[:, :4]), r"cells must be an \(m, 8\) integer array, not \(2, 4\) int32"),
        (Mesh(TWO.points, TWO.cells.ravel()), r"cells must be .* not \(16,\)"),
        (Mesh(TWO.points, TWO.cells.astype(float)), r"cells must be .* not \(2, 8\) float64"),
    ],
    ids=["index too large", "negative index", "quads", "one dimension", "cells of floats"],
)
def test_broken_connectivity_is_refused(mesh, message, name):
    with pytest.raises(ValueError, match=message):
        WITHOUT_CENTRES[name](*mesh)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"cell_to_node", "node_components", "unique_edges"}))
@pytest.mark.parametrize("change", [lambda points: points[:, :2], lambda points: points.astype(complex)])
def test_positions_that_are_none_are_refused(change, name):
    # Averages take any real values, positions or not.
    points = TWO.points.astype(complex) if name == "node_to_cell" else change(TWO.points)
    with pytest.raises(ValueError, match=r"must be an? .*array of real numbers"):
        WITHOUT_CENTRES[name](points, TWO.cells)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "change",
    [
        lambda points, cells: (points.astype(np.float64), cells.astype(np.int64)),
        lambda points, cells: (np.asfortranarray(points), np.asfortranarray(cells)),
        lambda points, cells: (points.astype(">f4"), cells.astype(">i4")),
        lambda points, cells: (points.astype(np.int16), cells.astype(np.uint8)),
        lambda points, cells: (np.frombuffer(points.tobytes(), "f4").reshape(-1, 3), cells),
    ],
    ids=["wide", "Fortran", "byte-swapped", "integers", "read-only"],
)
def test_any_kind_of_array_gives_the_same(change, name):
    np.testing.assert_allclose(FUNCTIONS[name](*change(*TWO)), FUNCTIONS[name](*TWO), atol=1e-6)
