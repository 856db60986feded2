from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import STATISTICS
from lpbf_dataset.sources.base import Surface


@pytest.fixture
def variables() -> dict[str, np.ndarray]:
    """Return one cell, 1 x 2 x 3 mm, standing on the plate."""
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    cells = np.arange(8, dtype=np.int32)[None]
    displacement = np.zeros((8, 3), dtype=np.float32)
    displacement[0] = (0.3, 0.0, -0.4)
    displacement[5, 2] = 0.25
    return {
        "points": np.array(corners, dtype=np.float32) * np.float32([1, 2, 3]),
        "cells": cells,
        "edges": unique_edges(cells, 8),
        "displacement": displacement,
        "von_mises_stress": np.arange(8, dtype=np.float32),
    }


def surface_of(mesh: trimesh.Trimesh) -> Surface:
    return Surface(mesh.triangles.astype(np.float32), "part.stl")


def test_every_statistic_of_one_cell(variables):
    box = trimesh.creation.box(extents=(1, 2, 3))
    statistics = case_statistics(variables, surface_of(box))
    assert statistics.keys() == STATISTICS.keys()
    expected = {
        "nodes": 8,
        "cells": 1,
        "directed_edges": 24,
        "edges_per_node": 3.0,
        "mean_aspect_ratio": 3.0,
        "max_aspect_ratio": 3.0,
        "max_z": 3.0,
        "max_displacement": 0.5,
        "max_displacement_z": 0.25,
        "min_displacement_z": -0.4,
        "max_von_mises_stress": 7.0,
        "volume": 6.0,
        "wall_thickness": 1.0,
        "surface_area": 22.0,
        "genus": 0,
        "watertight": 1,
    }
    assert statistics == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mesh", "genus"),
    [
        (trimesh.creation.icosphere(), 0),
        (trimesh.creation.torus(2.0, 0.5), 1),
        (trimesh.util.concatenate([trimesh.creation.torus(2, 0.5), trimesh.creation.box()]), 1),
    ],
    ids=["sphere", "torus", "torus and box"],
)
def test_genus(variables, mesh, genus):
    assert case_statistics(variables, surface_of(mesh))["genus"] == genus


def test_open_surface_has_no_genus(variables):
    box = trimesh.creation.box()
    open_box = Surface(box.triangles[:-1].astype(np.float32), "open.stl")
    statistics = case_statistics(variables, open_box)
    assert (statistics["watertight"], statistics["genus"]) == (0, -1)


def test_triangles_collapsed_by_rounding_open_nothing(variables):
    # Two corners of a box side, apart by less than single precision resolves.
    sides = trimesh.creation.box().subdivide()
    vertices = sides.vertices.copy()
    near, far = sides.edges_unique[0]
    vertices[near] = vertices[far] + 1e-12
    collapsed = trimesh.Trimesh(vertices, sides.faces, process=False)
    statistics = case_statistics(variables, surface_of(collapsed))
    assert (statistics["watertight"], statistics["genus"]) == (1, 0)


def test_without_a_surface_its_statistics_are_missing(variables):
    statistics = case_statistics(variables, None)
    assert np.isnan(statistics["surface_area"])
    assert (statistics["genus"], statistics["watertight"]) == (-1, -1)


def test_wall_thickness_is_that_of_a_thin_share_of_the_volume(synthetic_case):
    plate = synthetic_case(12, 12, 2)
    assert case_statistics(plate.variables, None)["wall_thickness"] == pytest.approx(2.0)
