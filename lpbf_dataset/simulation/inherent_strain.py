"""The inherent strain that deposition leaves behind, voxel by voxel.

The strain is in the plane of the layers.  Deep inside the part it is isotropic; near an edge of
the slice it relaxes across the edge and, less, along it, the more the shorter the material runs
on along the edge.  The law and its constants were identified from a Netfabb run with Inconel 625.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.simulation.octree import OctreeMesh
    from lpbf_dataset.simulation.voxels import VoxelGrid


@dataclass(frozen=True)
class EdgeRelaxation:
    """How the inherent strain relaxes towards the edge of a slice.

    Parameters
    ----------
    strength : float
        Share of the strain across an edge that relaxes, 1.
    along : float
        Relaxation along the edge as a share of that across it, 1.
    reach : float
        Distance from the edge within which the strain relaxes, mm.
    run : float
        Length along the edge beyond which nothing relaxes, mm.
    """

    strength: float
    along: float
    reach: float
    run: float


def slice_surface(triangles: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """Cut a surface with a horizontal plane.

    Parameters
    ----------
    triangles : (n, 3, 3) float64 ndarray
        Corners of the surface triangles in mm.
    height : float
        z of the plane in mm.  A vertex on the plane counts as above it, so the cut of a closed
        surface is closed.

    Returns
    -------
    (segments, 2, 2) float64 ndarray
        The two ends, x and y, of every segment of the section boundary, in mm.
    """
    above = triangles[:, :, 2] >= height
    crossing = triangles[above.any(axis=1) & ~above.all(axis=1)]
    above = crossing[:, :, 2] >= height
    # Rotate each triangle so that its first corner is alone on its side of the plane.
    alone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    order = (alone[:, None] + np.arange(3)) % 3
    corners = np.take_along_axis(crossing, order[:, :, None], axis=1)
    apex, others = corners[:, :1], corners[:, 1:]
    share = (height - apex[..., 2]) / (others[..., 2] - apex[..., 2])
    return apex[..., :2] + share[..., None] * (others[..., :2] - apex[..., :2])


@numba.njit(cache=True)
def _nearest_edge(segments: NDArray[np.float64], x: float, y: float, reach: float) -> tuple[int, float]:
    """Index of and distance to the nearest segment; -1 when none is within reach."""
    best, nearest = reach * reach, -1
    for s in range(segments.shape[0]):
        ax, ay, bx, by = segments[s, 0, 0], segments[s, 0, 1], segments[s, 1, 0], segments[s, 1, 1]
        if min(ax, bx) - x > reach or x - max(ax, bx) > reach:
            continue
        if min(ay, by) - y > reach or y - max(ay, by) > reach:
            continue
        dx, dy = bx - ax, by - ay
        length = dx * dx + dy * dy
        if length == 0.0:
            continue
        along = min(max(((x - ax) * dx + (y - ay) * dy) / length, 0.0), 1.0)
        px, py = ax + along * dx - x, ay + along * dy - y
        distance = px * px + py * py
        if distance < best:
            best, nearest = distance, s
    return nearest, np.sqrt(best)


@numba.njit(cache=True)
def _shorter_run(segments: NDArray[np.float64], x: float, y: float, tx: float, ty: float) -> float:
    """Distance from a point to the section boundary along +t or -t, whichever is shorter."""
    shortest = np.inf
    for s in range(segments.shape[0]):
        ax, ay = segments[s, 0, 0] - x, segments[s, 0, 1] - y
        bx, by = segments[s, 1, 0] - x, segments[s, 1, 1] - y
        side_a, side_b = tx * ay - ty * ax, tx * by - ty * bx
        if (side_a >= 0.0) == (side_b >= 0.0):
            continue
        share = side_a / (side_a - side_b)
        run = abs(tx * (ax + share * (bx - ax)) + ty * (ay + share * (by - ay)))
        shortest = min(shortest, run)
    return shortest


@numba.njit(cache=True)
def _relax_slice(
    segments: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    strength: float,
    along: float,
    reach: float,
    run: float,
    strain: NDArray[np.float64],
) -> None:
    """Subtract the relaxation at points of one slice from unit strains (points, 3): xx, yy, xy."""
    for p in range(len(x)):
        edge, _ = _nearest_edge(segments, x[p], y[p], reach)
        if edge < 0:
            continue
        tx, ty = segments[edge, 1] - segments[edge, 0]
        length = np.hypot(tx, ty)
        tx, ty = tx / length, ty / length
        share = strength * max(0.0, 1.0 - _shorter_run(segments, x[p], y[p], tx, ty) / run)
        strain[p, 0] -= share * (ty * ty + along * tx * tx)
        strain[p, 1] -= share * (tx * tx + along * ty * ty)
        strain[p, 2] -= share * (along - 1.0) * tx * ty


def voxel_strain(
    grid: VoxelGrid, triangles: NDArray[np.float64], strain: float, relaxation: EdgeRelaxation | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Inherent strain of every solid voxel.

    Parameters
    ----------
    grid : VoxelGrid
    triangles : (n, 3, 3) float64 ndarray
        The surface the grid was made from, mm.
    strain : float
        In-plane inherent strain away from edges, 1; negative for shrinkage.
    relaxation : EdgeRelaxation or None
        None for the same strain everywhere.

    Returns
    -------
    voxel : (solid, 3) int64 ndarray
        Indices of the solid voxels, by height.
    values : (solid, 3) float64 ndarray
        Tensor components xx, yy, xy.
    """
    k, i, j = np.nonzero(grid.solid.transpose(2, 0, 1))
    values = np.zeros((len(k), 3))
    values[:, :2] = 1.0
    if relaxation is not None:
        x, y = grid.centres(0)[i], grid.centres(1)[j]
        bounds = np.searchsorted(k, np.arange(grid.solid.shape[2] + 1))
        for layer, height in enumerate(grid.centres(2)):
            part = slice(bounds[layer], bounds[layer + 1])
            _relax_slice(
                slice_surface(triangles, height),
                x[part],
                y[part],
                relaxation.strength,
                relaxation.along,
                relaxation.reach,
                relaxation.run,
                values[part],
            )
    return np.column_stack([i, j, k]), strain * values


def cell_strain(
    mesh: OctreeMesh, grid: VoxelGrid, voxel: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Inherent strain of every cell: the mean of its voxels, zero in the plate.

    Parameters
    ----------
    mesh : OctreeMesh
    grid : VoxelGrid
    voxel, values
        From `voxel_strain`.

    Returns
    -------
    (cells, 6) float64 ndarray
        xx, yy, zz, xy, xz, yz.  The shear component is the tensor's, not twice that: Netfabb's
        results satisfy stress = D (strain - inherent strain) with it only so.
    """
    owner = np.full(grid.solid.shape, -1, dtype=np.int32)
    first_part = mesh.cell_range(1).start
    for cell in range(first_part, len(mesh.size)):
        i, j, k = mesh.corner[cell]
        s = mesh.size[cell]
        owner[i : i + s, j : j + s, k : k + s] = cell
    cell_of = owner[voxel[:, 0], voxel[:, 1], voxel[:, 2]]
    strain = np.zeros((len(mesh.size), 6))
    voxels_in = np.bincount(cell_of, minlength=len(mesh.size)).clip(1)
    for source, target in enumerate((0, 1, 3)):
        strain[:, target] = (
            np.bincount(cell_of, weights=values[:, source], minlength=len(mesh.size)) / voxels_in
        )
    return strain
