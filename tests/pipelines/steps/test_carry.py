from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.mesh import interpolate
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.steps import part_at_step
from pipelines.steps.carry import carry


def column(*heights, width=1.0, shift=0.0):
    """Cells on top of each other between these heights."""
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * width + [shift, 0]
    points = np.concatenate([np.column_stack([square, np.full(4, height)]) for height in heights])
    cells = np.arange(8) + 4 * np.arange(len(heights) - 1)[:, None]
    variables = {"points": points.astype(np.float32), "cells": cells.astype(np.int32)}
    return lpbf.Case("c", "c", "synthetic", variables)


def field(case):
    return np.column_stack([case.points @ [1, 2, 3], case.points[:, 0] ** 2]).astype(np.float32)


def test_a_mesh_that_stays_keeps_every_value():
    case = column(0, 1, 2)
    np.testing.assert_array_equal(carry(case, column(0, 1, 2))(field(case)), field(case))


def test_known_nodes_keep_their_values_and_new_ones_take_those_below():
    before, after = column(0, 1), column(0, 1, 2, 3)
    values = field(before)
    expected = np.concatenate([values, values[4:], values[4:]])
    np.testing.assert_array_equal(carry(before, after)(values), expected)


def test_within_the_mesh_before_values_are_trilinear():
    before, after = column(0, 2, width=2), column(0, 1, width=1)
    linear = field(before)[:, 0]
    np.testing.assert_allclose(carry(before, after)(linear), field(after)[:, 0], rtol=1e-6)


def test_an_overhang_takes_the_nearest_value():
    before, after = column(0, 1), column(1, 2, shift=3)
    values = field(before)
    # Nodes 5 and 6 are on top, at x = 1.
    np.testing.assert_array_equal(carry(before, after)(values), values[[5, 5, 6, 6] * 2])


@pytest.mark.parametrize("shape", [(), (3,)])
def test_the_weights_are_a_partition_of_one(shape):
    before, after = column(0, 1), column(0, 0.3, 0.7, 4)
    ones = np.ones((before.node_count, *shape), np.float64)
    result = carry(before, after)(ones)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.ones((after.node_count, *shape)), rtol=1e-6)


def jittered(heights, generator):
    """Return a column whose nodes lie at numbers without pattern, none of them shared by chance."""
    case = column(*heights)
    points = case.points + generator.uniform(-0.1, 0.1, case.points.shape).astype(np.float32)
    return replace(case, variables={**case.variables, "points": points})


def test_shared_nodes_are_looked_up_as_they_are_located():
    """Each node has the trilinear value in its cell, whether it is found by its position or not."""
    generator = np.random.default_rng(0)
    before = jittered((0, 1, 2, 3), generator)
    values = generator.normal(size=(before.node_count, 2)).astype(np.float32)
    shared = generator.permutation(before.node_count)[:9]
    within = before.points[before.cells].mean(axis=1)
    targets = np.concatenate([before.points[shared], within])
    after = lpbf.Case("c", "c", "synthetic", {"points": targets})
    slow = interpolate(before.points, before.cells, values, targets).values
    fast = carry(before, after)(values)
    np.testing.assert_array_equal(fast[:9], values[shared])
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-6)


def test_zero_is_found_whatever_its_sign():
    before = column(0, 1)
    points = np.where(before.points[4:] == 0, np.float32(-0.0), before.points[4:])
    after = lpbf.Case("c", "c", "synthetic", {"points": points})
    np.testing.assert_array_equal(carry(before, after)(field(before)), field(before)[4:])


def test_steps_of_a_real_build_are_carried_as_they_are_interpolated(step2):
    """Nodes of the octree, hanging ones too, keep their value; the others lie in the cells before."""
    (case,) = NetfabbSource(step2).cases()
    first, second = (part_at_step(step) for step in islice(case.history(("displacement",)), 2))
    before, after = (
        lpbf.Case("c", "c", "netfabb", {"points": step.points, "cells": step.cells})
        for step in (first, second)
    )
    values = first.fields["displacement"]
    inside = after.points[:, 2] <= before.points[:, 2].max()
    slow = interpolate(before.points, before.cells, values, after.points[inside])
    fast = carry(before, after)(values)
    np.testing.assert_allclose(fast[inside], slow.values, rtol=1e-4, atol=1e-6)
    assert slow.inside.all()
