"""Faces of coarse cells that the faces of finer cells cover, wholly or in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE_TOLERANCE = 1e-2
"""Positions closer than this fraction of the shortest edge are one; single precision resolves it on meshes
of up to 10^5 cells along an axis."""

MAX_HALVINGS = 16
"""Edges longer than 2^16 of the shortest are searched for hanging nodes no more finely than this."""


def subtract_finer(
    corners: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Take from each face the finer faces that lie on it.

    Parameters
    ----------
    corners : (f, 4, 3) float64 ndarray
        Corners of faces that belong to one cell each, turning outwards.

    Returns
    -------
    untouched : int64 ndarray
        The faces that lie on none and on which none lie.
    owner : (q,) int64 ndarray
        The face that each quarter belongs to.
    quarters : (q, 4, 3) float64 ndarray
        What is left of the faces that are covered in part.

    Raises
    ------
    ValueError
        If a face lies on another but is not one of its quarters (of quarters).
    """
    coarse, fine = _faces_on_coarser(corners)
    untouched = np.ones(len(corners), dtype=bool)
    untouched[coarse] = False
    untouched[fine] = False

    owner, quad_of_fine = np.unique(coarse, return_inverse=True)
    quads = corners[owner]
    left_owner, left = [np.zeros(0, np.int64)], [np.zeros((0, 4, 3))]
    for _ in range(MAX_HALVINGS):
        owner, quads, fine, quad_of_fine = _quarter(owner, quads, corners, fine, quad_of_fine)
        pieces = np.bincount(quad_of_fine, minlength=len(quads))
        left_owner.append(owner[pieces == 0])
        left.append(quads[pieces == 0])
        same = _area(quads[quad_of_fine]) < 2 * _area(corners[fine])
        # What is the same as a finer face is covered by it; the rest is cut again.
        done = pieces == 0
        done[quad_of_fine[same]] = True
        if (same & (pieces[quad_of_fine] > 1)).any():
            face = int(fine[same & (pieces[quad_of_fine] > 1)][0])
            raise ValueError(f"faces overlap at {corners[face].mean(axis=0)}: cells do not form an octree")
        renumbered = np.cumsum(~done) - 1
        fine, quad_of_fine = fine[~same], renumbered[quad_of_fine[~same]]
        owner, quads = owner[~done], quads[~done]
        if not len(quads):
            return np.flatnonzero(untouched), np.concatenate(left_owner), np.concatenate(left)
    raise ValueError(f"a face is more than 2^{MAX_HALVINGS} times as long as one that lies on it")


def _quarter(
    owner: NDArray[np.int64],
    quads: NDArray[np.float64],
    corners: NDArray[np.float64],
    fine: NDArray[np.int64],
    quad_of_fine: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut each quad into four, and say in which quarter each finer face lies."""
    middle = quads.mean(axis=1, keepdims=True)
    ahead, behind = (quads + np.roll(quads, -1, axis=1)) / 2, (quads + np.roll(quads, 1, axis=1)) / 2
    quarters = np.stack([quads, ahead, np.broadcast_to(middle, quads.shape), behind], axis=2)
    # Each quarter starts at its own corner of the whole, so all turn as the whole does.
    u, v, _ = _local_coordinates(quads[quad_of_fine], corners[fine].mean(axis=1)[:, None])
    corner = np.array([[0, 3], [1, 2]])[(u[:, 0] > 0.5).astype(int), (v[:, 0] > 0.5).astype(int)]
    return np.repeat(owner, 4), quarters.reshape(-1, 4, 3), fine, 4 * quad_of_fine + corner


def _faces_on_coarser(corners: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a coarse face and a finer one that lies on it, turned against it."""
    area = _area(corners)
    centres = corners.mean(axis=1)
    candidates = np.flatnonzero(area > 2 * area.min())
    radius = np.sqrt(((corners[candidates] - centres[candidates, None]) ** 2).sum(axis=-1).max(axis=1))
    near = cKDTree(centres, balanced_tree=False).query_ball_point(centres[candidates], radius)
    coarse = np.repeat(candidates, [len(found) for found in near])
    fine = np.concatenate([np.zeros(0, np.int64), *(np.asarray(found, np.int64) for found in near)])
    finer = area[coarse] > 2 * area[fine]
    coarse, fine = coarse[finer], fine[finer]

    u, v, height = _local_coordinates(corners[coarse], corners[fine])
    slack = RELATIVE_TOLERANCE
    inside = (np.minimum(u, v).min(axis=1) > -slack) & (np.maximum(u, v).max(axis=1) < 1 + slack)
    flat = np.abs(height).max(axis=1) < slack * np.sqrt(area[fine])
    against = (_normal(corners[coarse]) * _normal(corners[fine])).sum(axis=1) < 0
    on = inside & flat & against
    return coarse[on], fine[on]


def _local_coordinates(
    quads: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of positions (k, p, 3) along the sides of parallelograms (k, 4, 3) and off their plane."""
    first, second = quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    normal = np.cross(first, second)
    squared = (normal**2).sum(axis=1)[:, None]
    offset = positions - quads[:, :1]
    u = np.einsum("kpi,ki->kp", offset, np.cross(second, normal)) / squared
    v = np.einsum("kpi,ki->kp", offset, np.cross(normal, first)) / squared
    return u, v, np.einsum("kpi,ki->kp", offset, normal) / np.sqrt(squared)


def _normal(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vector area of quads (k, 4, 3)."""
    return np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]) / 2


def _area(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    normal = _normal(quads)
    return np.sqrt(np.einsum("ki,ki->k", normal, normal))
