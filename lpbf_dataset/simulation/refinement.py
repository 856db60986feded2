"""Which cells of the octree are leaves: merging solid voxels, refining the plate towards them.

Leaves are flags on nested grids, so that every rule is a coarsening, a dilation or a repetition of
whole arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from lpbf_dataset.simulation.voxels import CELLS_PER_BASE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FACE_ONLY = ndimage.generate_binary_structure(3, 1)
# Neighbours over faces and edges, not over corners.
_FACE_AND_EDGE = ndimage.generate_binary_structure(3, 2)


def _coarsen(flags: NDArray[np.bool_], *, every: bool) -> NDArray[np.bool_]:
    """Merge 2 x 2 x 2 flags into one: all of them (`every`) or any of them."""
    nx, ny, nz = flags.shape
    blocks = flags.reshape(nx // 2, 2, ny // 2, 2, nz // 2, 2)
    return np.asarray((np.all if every else np.any)(blocks, axis=(1, 3, 5)))


def _dilate(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return ndimage.binary_dilation(flags, _FACE_AND_EDGE)


def _repeat(flags: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Undo `_coarsen`: every flag becomes a block of `factor` cubed."""
    for axis in range(3):
        flags = flags.repeat(factor, axis=axis)
    return flags


def merge_part(solid: NDArray[np.bool_], group_cells: int) -> list[NDArray[np.bool_]]:
    """Leaf cells of the part at every level.

    All-solid blocks of 2 cubed and then 4 cubed voxels become one cell, as far as they stay inside
    one layer group and no neighbour over a face or an edge is more than one level finer.

    Parameters
    ----------
    solid : (nx, ny, nz) bool ndarray
        Solid voxels.
    group_cells : int
        Fine cells in a layer group.

    Returns
    -------
    list of bool ndarray
        For the edges of 1, 2 and 4 voxels as far as `group_cells` allows: which blocks of that
        size are leaves, of shape ``(nx // size, ny // size, nz // size)``.
    """
    blocks = [solid]
    while len(blocks) < 3 and group_cells % (2 ** len(blocks)) == 0:
        blocks.append(_coarsen(blocks[-1], every=True))
    # A block whose neighbourhood holds cells two levels finer stays split.  Splitting 4 into 2
    # never forces another split, so one pass from fine to coarse balances the part.
    leaves: list[NDArray[np.bool_]] = []
    for level, block in enumerate(blocks[:-1]):
        above = blocks[level + 1]
        leaf = block & ~_repeat(above, 2)
        leaves.append(leaf)
        if level + 2 < len(blocks):
            too_fine = _coarsen(_coarsen(_dilate(leaf), every=False), every=False)
            blocks[level + 2] &= ~too_fine
    leaves.append(blocks[-1])
    return leaves


def refine_plate(part: list[NDArray[np.bool_]]) -> dict[int, NDArray[np.bool_]]:
    """Leaf cells of the upper layer of the plate.

    Parameters
    ----------
    part : list of bool ndarray
        Leaves of the part, from `merge_part`.

    Returns
    -------
    dict of int to bool ndarray
        For each edge of 2 to 32 units, which blocks of the 32 units below z = 0 are leaves.
    """
    nx, ny = part[0].shape[:2]
    footprint = np.zeros((nx, ny, 1), dtype=np.bool_)  # part cells of at most size / 4, standing on the plate
    split = {2: np.zeros((nx // 2, ny // 2, CELLS_PER_BASE // 2), dtype=np.bool_)}
    for level, size in enumerate((4, 8, 16, 32)):
        split[size] = _coarsen(_dilate(split[size // 2]), every=False)
        if level < len(part):
            footprint |= _repeat(part[level][:, :, :1], 2**level)[:, :, :1]
        # The one layer of the footprint dilates in the plane only: over faces and edges of the plate's top.
        below = ndimage.binary_dilation(footprint, _FACE_ONLY)
        split[size][:, :, -1] |= below.reshape(nx // size, size, ny // size, size).any(axis=(1, 3))
    exists = np.ones_like(split[CELLS_PER_BASE])
    leaves = {}
    for size in (32, 16, 8, 4, 2):
        leaves[size] = exists & ~split[size]
        exists = _repeat(split[size], 2)
    return leaves
