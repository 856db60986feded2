"""Hierarchy of bounding boxes, and work in chunks on several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LEAF_SIZE = 4
CHUNK = 4096


class BoxTree(NamedTuple):
    """Complete binary tree of boxes over items in Morton order.

    Attributes
    ----------
    order : (m,) int64 ndarray
        Items in the order of the leaves; leaf k holds the items `order[leaf_size * k:][:leaf_size]`.  A
        leaf without items has a box that contains nothing: its low corner is infinite.
    low, high : (2 * leaves - 1, 3) float64 ndarray
        Corners of the boxes; the children of box i are 2 i + 1 and 2 i + 2, the leaves come last.
    """

    order: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def box_tree(low: NDArray[np.float64], high: NDArray[np.float64], leaf_size: int = LEAF_SIZE) -> BoxTree:
    """Build the hierarchy over items with the bounding boxes `low` to `high`, each (m, 3), m > 0."""
    order = morton_order((low + high) / 2)
    leaves = 1 << (-(-len(low) // leaf_size) - 1).bit_length()
    tree_low, tree_high = np.full((2 * leaves - 1, 3), np.inf), np.full((2 * leaves - 1, 3), -np.inf)
    _fill_boxes(low[order], high[order], leaf_size, tree_low, tree_high)
    return BoxTree(order, tree_low, tree_high)


def morton_order(points: NDArray[np.floating]) -> NDArray[np.int64]:
    """Order of points (n, 3) along a space-filling curve, so that neighbours come close together."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    origin = points.min(axis=0)
    extent = float((points.max(axis=0) - origin).max()) or 1.0
    return np.argsort(_morton_codes(((points - origin) / extent * 1023).astype(np.int64)), kind="stable")


def in_chunks(kernel: Callable[[int, int], None], count: int, threads: int, size: int = CHUNK) -> None:
    """Call `kernel(start, stop)` on chunks of `range(count)` of a given size, on so many threads."""
    starts = range(0, count, size)
    if threads <= 1 or len(starts) <= 1:
        if count:
            kernel(0, count)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda start: kernel(start, min(start + size, count)), starts))


@njit(cache=True, nogil=True)
def leaves_on_line(  # type: ignore[no-untyped-def]
    low, high, axis: int, across: float, other: float, leaves
) -> int:
    """Find the leaves of a tree whose boxes a line along an axis meets.

    Parameters
    ----------
    low, high : (2 * leaves - 1, 3) float64 ndarray
        Boxes of a `BoxTree`.
    axis : int
        Axis of the line.
    across, other : float
        Coordinates of the line along the axes `axis + 1` and `axis + 2`, modulo 3.
    leaves : (leaves,) int64 ndarray
        Filled with the numbers of the leaves.

    Returns
    -------
    int
        How many there are.
    """
    second, third = (axis + 1) % 3, (axis + 2) % 3
    first_leaf = len(low) // 2
    count = 0
    stack = np.empty(64, dtype=np.int64)
    stack[0], size = 0, 1
    while size:
        size -= 1
        box = stack[size]
        if across < low[box, second] or across > high[box, second]:
            continue
        if other < low[box, third] or other > high[box, third]:
            continue
        if box < first_leaf:
            stack[size], stack[size + 1] = 2 * box + 2, 2 * box + 1
            size += 2
        else:
            leaves[count] = box - first_leaf
            count += 1
    return count


@njit(cache=True, nogil=True)
def _morton_codes(lattice: NDArray[np.int64]) -> NDArray[np.int64]:
    codes = np.zeros(len(lattice), dtype=np.int64)
    for i in range(len(lattice)):
        for bit in range(10):
            for axis in range(3):
                codes[i] |= ((lattice[i, axis] >> bit) & 1) << (3 * bit + axis)
    return codes


@njit(cache=True, nogil=True)
def _fill_boxes(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    leaf_size: int,
    tree_low: NDArray[np.float64],
    tree_high: NDArray[np.float64],
) -> None:
    first_leaf = len(tree_low) // 2
    for item in range(len(low)):
        box = first_leaf + item // leaf_size
        for axis in range(3):
            tree_low[box, axis] = min(tree_low[box, axis], low[item, axis])
            tree_high[box, axis] = max(tree_high[box, axis], high[item, axis])
    for box in range(first_leaf - 1, -1, -1):
        for axis in range(3):
            tree_low[box, axis] = min(tree_low[2 * box + 1, axis], tree_low[2 * box + 2, axis])
            tree_high[box, axis] = max(tree_high[2 * box + 1, axis], tree_high[2 * box + 2, axis])
