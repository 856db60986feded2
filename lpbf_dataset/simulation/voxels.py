"""A part surface on a voxel grid: a voxel is solid when its centre lies inside the surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
from scipy import ndimage

from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS_PER_BASE = 32
"""Fine cells along one side of a base cell: five refinement levels, as in Netfabb."""

MAX_VOXELS = 200_000_000
"""Largest grid worth trying: 200 MB of flags, some 60 times a 60 mm cube at 0.6 mm."""

_MAX_OPEN_COLUMNS = 0.01
"""Share of pierced voxel columns that may leave the surface unclosed before it is refused."""


@dataclass(frozen=True)
class VoxelGrid:
    """Solid voxels of a part on a regular grid.

    Parameters
    ----------
    solid : (nx, ny, nz) bool ndarray
        Whether the centre of each voxel is inside the part; nx and ny are multiples of
        `CELLS_PER_BASE`, nz is a multiple of the group height.
    origin : (3,) float64 ndarray
        Lower corner of the grid in mm; z = 0 is the top of the plate.
    cell : (3,) float64 ndarray
        Edge lengths of a voxel in mm.
    """

    solid: NDArray[np.bool_]
    origin: NDArray[np.float64]
    cell: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of solid voxels."""
        return int(np.count_nonzero(self.solid))

    def centres(self, axis: int) -> NDArray[np.float64]:
        """Centre coordinates along one axis, (n,) float64, mm."""
        return self.origin[axis] + (np.arange(self.solid.shape[axis]) + 0.5) * self.cell[axis]


def voxelise(triangles: NDArray[np.floating], *, cell_height: float, group_cells: int) -> VoxelGrid:
    """Mark the voxels whose centre is inside a closed surface.

    The footprint is cut into whole base cells of about 32 cell heights, so the horizontal cell
    edges adapt to the part; vertically cells are exactly `cell_height` high, from z = 0.

    Parameters
    ----------
    triangles : (n, 3, 3) ndarray
        Corners of the surface triangles in mm, oriented outwards, standing on z = 0.
    cell_height : float
        Height of a fine cell in mm.
    group_cells : int
        Fine cells in a layer group; the grid height is rounded up to whole groups.

    Returns
    -------
    VoxelGrid

    Raises
    ------
    CaseError
        If the surface is empty, not finite, flat, open, or needs more than `MAX_VOXELS`.
    """
    corners = np.asarray(triangles, dtype=np.float64)
    if len(corners) == 0:
        raise CaseError(
            FailureReason.EMPTY_GEOMETRY, "the surface has no triangles; export the part as a closed mesh"
        )
    if not np.isfinite(corners).all():
        raise CaseError(
            FailureReason.MALFORMED_FILE, "the surface has vertices that are not finite; repair the mesh"
        )
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    if np.any(high - low <= 0.0):
        raise CaseError(
            FailureReason.ZERO_VOLUME, "the surface is flat along one axis; a part needs a volume"
        )
    base_cells = np.ceil((high - low)[:2] / (CELLS_PER_BASE * cell_height)).astype(int)
    layers = int(np.ceil(high[2] / cell_height / group_cells)) * group_cells
    shape = (*(base_cells * CELLS_PER_BASE), layers)
    if np.prod(shape, dtype=float) > MAX_VOXELS:
        raise CaseError(
            FailureReason.TOO_LARGE,
            f"the part needs a grid of {shape[0]} x {shape[1]} x {shape[2]} voxels; "
            "scale it down or choose a larger cell",
        )
    cell = np.array([*((high - low)[:2] / shape[:2]), cell_height])
    origin = np.array([low[0], low[1], 0.0])
    solid, pierced, unclosed = _fill_columns(corners, origin, cell, shape)
    if unclosed > _MAX_OPEN_COLUMNS * max(pierced, 1):
        raise CaseError(
            FailureReason.OPEN_SURFACE,
            f"the surface is not closed: {unclosed} of {pierced} vertical lines through it enter "
            "and never leave; repair the mesh",
        )
    return VoxelGrid(solid, origin, cell)


@numba.njit(cache=True)
def _side(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> int:
    """Side of the line a-b on which p lies, never zero.

    The two triangles at an edge see it from its two ends, so the ends are sorted first: both get
    the same rounding.  A p exactly on the line counts as p + (e, e^2) with an infinitesimal e
    (simulation of simplicity, Edelsbrunner and Muecke 1990), so a column through an edge or a
    vertex pierces exactly one triangle of a closed fan.
    """
    swap = ax > bx or (ax == bx and ay > by)
    if swap:
        ax, ay, bx, by = bx, by, ax, ay
    area = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    if area == 0.0:
        area = -(by - ay) if by != ay else bx - ax
    if area == 0.0:
        return 0
    return 1 if (area > 0.0) != swap else -1


@numba.njit(cache=True)
def _add_crossings(
    triangles: NDArray[np.float64],
    origin: NDArray[np.float64],
    cell: NDArray[np.float64],
    winding: NDArray[np.int16],
) -> None:
    """Add the winding change of every crossing to the first voxel centre above it."""
    nx, ny, top = winding.shape
    for t in range(triangles.shape[0]):
        ax, ay, az = triangles[t, 0]
        bx, by, bz = triangles[t, 1]
        cx, cy, cz = triangles[t, 2]
        first_x = max(0, int(np.floor((min(ax, bx, cx) - origin[0]) / cell[0] - 0.5)))
        last_x = min(nx - 1, int(np.ceil((max(ax, bx, cx) - origin[0]) / cell[0] - 0.5)))
        first_y = max(0, int(np.floor((min(ay, by, cy) - origin[1]) / cell[1] - 0.5)))
        last_y = min(ny - 1, int(np.ceil((max(ay, by, cy) - origin[1]) / cell[1] - 0.5)))
        normal_x = (by - ay) * (cz - az) - (bz - az) * (cy - ay)
        normal_y = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)
        normal_z = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        low, high = min(az, bz, cz), max(az, bz, cz)
        for i in range(first_x, last_x + 1):
            px = origin[0] + (i + 0.5) * cell[0]
            for j in range(first_y, last_y + 1):
                py = origin[1] + (j + 0.5) * cell[1]
                side = _side(ax, ay, bx, by, px, py)
                if (
                    side == 0
                    or side != _side(bx, by, cx, cy, px, py)
                    or side != _side(cx, cy, ax, ay, px, py)
                ):
                    continue
                z = high
                if normal_z != 0.0:
                    z = az - (normal_x * (px - ax) + normal_y * (py - ay)) / normal_z
                # Rounding on a near-vertical triangle must not throw the crossing off it.
                z = min(max(z, low), high)
                k = int(np.ceil((z - origin[2]) / cell[2] - 0.5))
                winding[i, j, min(max(k, 0), top - 1)] -= side


@numba.njit(cache=True)
def _accumulate(winding: NDArray[np.int16], solid: NDArray[np.bool_]) -> tuple[int, int]:
    """Run up every column; return how many are pierced and how many never close."""
    nx, ny, nz = solid.shape
    pierced = unclosed = 0
    for i in range(nx):
        for j in range(ny):
            depth = 0
            last = -1
            for k in range(nz + 1):
                if winding[i, j, k] != 0:
                    last = k
                depth += winding[i, j, k]
                if k < nz:
                    solid[i, j, k] = depth != 0
            pierced += last >= 0
            if depth != 0:
                unclosed += 1
                solid[i, j, max(last, 0) :] = False
    return pierced, unclosed


def _fill_columns(
    triangles: NDArray[np.float64],
    origin: NDArray[np.float64],
    cell: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> tuple[NDArray[np.bool_], int, int]:
    """Fill vertical columns between the crossings of the surface, by non-zero winding number."""
    winding = np.zeros((shape[0], shape[1], shape[2] + 1), dtype=np.int16)
    _add_crossings(triangles, origin, cell, winding)
    solid = np.empty(shape, dtype=np.bool_)
    pierced, unclosed = _accumulate(winding, solid)
    return solid, pierced, unclosed


def drop_islands(grid: VoxelGrid) -> tuple[VoxelGrid, list[int]]:
    """Leave out what could not be printed: pieces that never touch the plate.

    Voxels that share a corner share a node, so they hold together.

    Parameters
    ----------
    grid : VoxelGrid

    Returns
    -------
    kept : VoxelGrid
        The grid without islands.
    dropped : list of int
        Voxel count of each island, largest first.

    Raises
    ------
    CaseError
        If most of the part would be left out: it is thinner than the cells, or floats.
    """
    labels, count = ndimage.label(grid.solid, ndimage.generate_binary_structure(3, 3))
    standing = np.zeros(count + 1, dtype=np.bool_)
    standing[labels[:, :, 0]] = True
    standing[0] = False
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    dropped = sorted((int(n) for n in sizes[~standing[1:]]), reverse=True)
    if sum(dropped) >= grid.count / 2:
        raise CaseError(
            FailureReason.TOO_THIN,
            f"{sum(dropped)} of {grid.count} voxels do not hang together with the plate; "
            "the part is thinner than the cells: scale it up or choose a smaller cell",
        )
    if not dropped:
        return grid, []
    return VoxelGrid(standing[labels], grid.origin, grid.cell), dropped
