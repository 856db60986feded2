"""Figures of the displacement of a surface, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpbf_dataset.distortion import refined
from lpbf_dataset.distortion.magnitude import magnitude


def test_a_linear_displacement_has_the_figures_of_a_uniform_distribution():
    plate = refined(trimesh.creation.box(extents=(10.0, 10.0, 1e-3)), 0.25)
    x = plate.vertices[:, 0] + 5.0
    displacement = np.column_stack([np.zeros_like(x), np.zeros_like(x), 0.1 * x])
    figures = magnitude(plate, displacement, tolerance=0.4)
    assert figures.maximum == pytest.approx(1.0)
    assert plate.vertices[figures.vertex, 0] == pytest.approx(5.0)
    assert figures.rms == pytest.approx(3**-0.5, rel=2e-3)
    assert figures.p95 == pytest.approx(0.95, abs=0.03)
    assert figures.beyond == pytest.approx(0.6, abs=0.03)


def test_a_translation_counts():
    box = trimesh.creation.box()
    figures = magnitude(box, np.tile([0.3, 0.0, 0.4], (8, 1)), tolerance=0.5)
    assert figures.rms == pytest.approx(figures.maximum) == pytest.approx(0.5)
    assert figures.p95 == pytest.approx(0.5)


def test_vertices_count_by_their_area_not_their_number():
    # One end is refined to many vertices, and they alone move.
    box = trimesh.creation.box(extents=(10.0, 1.0, 1.0))
    end = box.triangles_center[:, 0] > 4.9
    fine = trimesh.Trimesh(
        *trimesh.remesh.subdivide(box.vertices, box.faces, face_index=np.flatnonzero(end)), process=False
    )
    displacement = np.where(fine.vertices[:, :1] > 4.9, [[0.0, 0.0, 1.0]], 0.0)
    assert magnitude(fine, displacement, tolerance=0.1).beyond < 0.6
    assert np.mean(displacement[:, 2] > 0) > 0.6


def test_a_displacement_of_something_else_is_refused():
    box = trimesh.creation.box()
    with pytest.raises(ValueError, match="8 vertices need as many finite vectors"):
        magnitude(box, np.zeros((7, 3)), 0.1)
    with pytest.raises(ValueError, match="finite"):
        magnitude(box, np.full((8, 3), np.nan), 0.1)
