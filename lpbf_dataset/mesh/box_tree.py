"""Tree of bounding boxes, to find the boxes around a point among boxes of very different size.

A uniform grid would list a large cell in every bin of the size of the small ones; the tree holds each box
once, so that its memory is linear in their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 21
"""Resolution of the Morton code along each axis; three axes fill 63 bits."""


class BoxTree(NamedTuple):
    """Complete binary tree over boxes in Morton order.

    Node 1 is the root, nodes 2 i and 2 i + 1 are the children of node i, the second half are the leaves; leaf
    number j holds the box `order[j]`.  A leaf without a box contains nothing: its low corner is infinite.

    Attributes
    ----------
    order : (m,) int32 ndarray
        Boxes along the Morton curve.
    low, high : (nodes, 3) float64 ndarray
        Box around all boxes under each node; row 0 is unused.
    """

    order: NDArray[np.int32]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def build_box_tree(low: NDArray[np.float64], high: NDArray[np.float64]) -> BoxTree:
    """Build the tree of m > 0 boxes.

    Boxes that are close on the Morton curve through their centres (Morton, *A computer oriented geodetic
    data base*, IBM, 1966) are close in space, and those of an octree follow one another as its branches do.

    Parameters
    ----------
    low, high : (m, 3) float64 ndarray
        Opposite corners of each box, finite.

    Returns
    -------
    BoxTree
        At most 4 m nodes.
    """
    order = np.argsort(_morton_codes(low + high), kind="stable").astype(np.int32)
    first_leaf = 1 << (len(order) - 1).bit_length()
    node_low = np.full((2 * first_leaf, 3), np.inf)
    node_high = np.full((2 * first_leaf, 3), -np.inf)
    node_low[first_leaf : first_leaf + len(order)] = low[order]
    node_high[first_leaf : first_leaf + len(order)] = high[order]
    _enclose_children(node_low, node_high)
    return BoxTree(order, node_low, node_high)


def _morton_codes(positions: NDArray[np.float64]) -> NDArray[np.uint64]:
    origin = positions.min(axis=0)
    extent = float((positions - origin).max())
    scale = (2**BITS - 1) / extent if extent > 0 else 0.0
    return _interleave(((positions - origin) * scale).astype(np.uint64))


@njit(cache=True, nogil=True)
def _interleave(coordinates: NDArray[np.uint64]) -> NDArray[np.uint64]:
    codes = np.zeros(len(coordinates), dtype=np.uint64)
    for i in range(len(coordinates)):
        for bit in range(BITS):
            for axis in range(3):
                codes[i] |= ((coordinates[i, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(
                    3 * bit + axis
                )
    return codes


@njit(cache=True, nogil=True)
def _enclose_children(low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    for node in range(len(low) // 2 - 1, 0, -1):
        for axis in range(3):
            low[node, axis] = min(low[2 * node, axis], low[2 * node + 1, axis])
            high[node, axis] = max(high[2 * node, axis], high[2 * node + 1, axis])
