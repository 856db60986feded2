from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree, leaves_on_line


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 100])
def test_every_node_encloses_its_children_and_every_box_is_a_leaf(count):
    rng = np.random.default_rng(count)
    low = rng.uniform(-10, 10, (count, 3))
    high = low + 10.0 ** rng.uniform(-3, 1, (count, 1))
    tree = box_tree(low, high, leaf_size=1)
    np.testing.assert_array_equal(np.sort(tree.order), np.arange(count))
    first_leaf = len(tree.low) // 2
    np.testing.assert_array_equal(tree.low[first_leaf:][:count], low[tree.order])
    np.testing.assert_array_equal(tree.high[first_leaf:][:count], high[tree.order])
    for node in range(first_leaf):
        np.testing.assert_array_equal(tree.low[node], tree.low[2 * node + 1 : 2 * node + 3].min(axis=0))
        np.testing.assert_array_equal(tree.high[node], tree.high[2 * node + 1 : 2 * node + 3].max(axis=0))
    assert len(tree.low) <= 4 * count


def test_octants_of_a_cube_stay_together():
    corner = np.argwhere(np.ones((4, 4, 4))).astype(float)
    order = box_tree(corner, corner + 1, leaf_size=1).order
    for eight in corner[order].reshape(8, 8, 3):
        np.testing.assert_array_equal(np.ptp(eight, axis=0), 1)


def test_boxes_with_one_centre():
    half = np.arange(1.0, 4)[:, None].repeat(3, axis=1)
    tree = box_tree(-half, half, leaf_size=1)
    np.testing.assert_array_equal(tree.high[0], [3, 3, 3])


@pytest.mark.parametrize("axis", range(3))
def test_leaves_on_a_line_hold_all_boxes_that_it_meets(axis):
    random = np.random.default_rng(axis)
    low = random.uniform(0, 10, (200, 3))
    high = low + random.uniform(0, 2, (200, 3))
    tree = box_tree(low, high)
    leaves = np.empty(len(tree.low) // 2 + 1, dtype=np.int64)
    for u, v in random.uniform(0, 10, (50, 2)):
        line = np.roll([0, u, v], axis)
        meets = ((low <= line) & (line <= high))[:, [(axis + 1) % 3, (axis + 2) % 3]].all(axis=1)
        found = leaves[: leaves_on_line(tree.low, tree.high, axis, u, v, leaves)]
        assert len(np.unique(found)) == len(found)
        items = [item for leaf in found for item in tree.order[LEAF_SIZE * leaf :][:LEAF_SIZE]]
        assert set(np.flatnonzero(meets)) <= set(items)
        assert len(found) < len(leaves) / 2
