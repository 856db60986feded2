"""Steps brought onto one mesh, against interpolation point by point."""

from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh import interpolate
from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS
from lpbf_dataset.series import merge_steps
from lpbf_dataset.steps import CaseStep

CORNERS = HEXAHEDRON_CORNERS.astype(int)


def state(boxes, index, fault=""):
    """A step on boxes (corner, size) of unit cells, with random fields."""
    corners = np.concatenate([np.add(corner, size * CORNERS) for corner, size in boxes] or [np.empty((0, 3))])
    lattice, cells = np.unique(corners, axis=0, return_inverse=True)
    random = np.random.default_rng(index)
    variables = {
        "points": lattice.astype(np.float32),
        "cells": cells.reshape(-1, 8).astype(np.int32),
        "displacement": random.normal(size=lattice.shape).astype(np.float32),
        "temperature": random.normal(size=len(lattice)).astype(np.float32),
    }
    height = float(lattice[:, 2].max()) if boxes else np.nan
    names = {"case_id": "a", "design_id": "a", "source": "test", "variables": variables}
    known = {"kind": "dwelt", "time": float(index), "height": height, "group": 1, "fault": fault}
    return CaseStep(**names, index=index, **known)


def layer(z, sizes):
    """Boxes over a square of 4 x 4 fine cells, two fine cells high, one size per quarter."""
    boxes = []
    for (x, y), size in zip([(0, 0), (2, 0), (0, 2), (2, 2)], sizes, strict=True):
        steps = range(0, 2, size)
        boxes += [((x + i, y + j, z + k), size) for i in steps for j in steps for k in steps]
    return boxes


@pytest.fixture
def steps():
    """Two layers of which the first is coarsened in part and refined in part once the second is there."""
    first, second = layer(0, (1, 2, 1, 2)), [*layer(0, (2, 2, 1, 1)), *layer(2, (1, 2, 2, 1))]
    return [state(first, 0), state(first, 1), state([], 2, fault="lost"), state(second, 3), state(second, 4)]


def test_every_value_is_that_of_the_cell_around_it(steps):
    series = merge_steps(steps)
    for row, step in enumerate(steps):
        if step.is_missing:
            assert not series.is_active[row].any()
            continue
        for name, values in series.fields.items():
            expected, inside = interpolate(step.points, step.cells, step.variables[name], series.points)
            np.testing.assert_array_equal(series.is_active[row], inside)
            np.testing.assert_allclose(values[row][inside], expected[inside], rtol=1e-5, atol=1e-6)
            assert np.isnan(values[row][~inside]).all()
    np.testing.assert_array_equal(series.is_missing, [False, False, True, False, False])


def test_nodes_of_a_step_keep_their_values_bit_for_bit(steps):
    series = merge_steps(steps)
    position = {tuple(point): node for node, point in enumerate(series.points.tolist())}
    for row, step in enumerate(steps):
        nodes = [position[tuple(point)] for point in step.points.tolist()]
        for name, values in series.fields.items():
            assert values[row][nodes].tobytes() == step.variables[name].tobytes()


def test_cells_of_a_step_fill_the_same_space(steps):
    series = merge_steps(steps)
    size = series.points[series.cells[:, 6]] - series.points[series.cells[:, 0]]
    volume = series.is_active_cell @ size.prod(axis=1)
    np.testing.assert_array_equal(volume, [32, 32, 0, 64, 64])
    # As fine as each: only the quarter that is 2 in both steps stays so, above it what the second has.
    assert np.count_nonzero(size[:, 0] == 2) == 1 + 2


def test_the_steps_are_told(steps):
    series = merge_steps(steps, ["temperature"])
    assert len(series) == 5
    assert list(series.fields) == ["temperature"]
    assert series.kind == ("dwelt",) * 5
    np.testing.assert_array_equal(series.time, range(5))
    np.testing.assert_array_equal(series.height, np.float32([2, 2, np.nan, 4, 4]))


def test_what_cannot_be_merged_is_refused(steps):
    with pytest.raises(ValueError, match="has no steps"):
        merge_steps([])
    with pytest.raises(ValueError, match="every step of the case is missing"):
        merge_steps([steps[2]])
    with pytest.raises(KeyError, match="no field 'sdf'"):
        merge_steps(steps, ["sdf"])
