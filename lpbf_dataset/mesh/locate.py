"""Which hexahedral cell contains a point, and where in the cell it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import box_tree, in_chunks
from lpbf_dataset.mesh.topology import check_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSIDE_TOLERANCE = 1e-4
"""A target this far outside a cell, in its local coordinates, still counts as inside.  In single precision
the nodes of a 250 mm plate are off by 1e-5 mm, so that cells of 0.3 mm gape by some 1e-5 of their size where
a hanging node lies on a slanted face."""

SNAP = 1e-9
"""Local coordinates this close to 0 or 1 are 0 or 1: the rounding of the Newton iteration, far below that of
single precision.  It makes values at nodes exact, and cells equally good on the faces they share."""

CONVERGED_STEP = 1e-10
"""The Newton iteration ends with a step this small, in local coordinates; it converges quadratically."""

MAX_ITERATIONS = 20
"""Newton steps before a target counts as outside; warped cells take about five."""


class Location(NamedTuple):
    """Where targets lie in a mesh.

    Attributes
    ----------
    cell : (k,) int32 ndarray
        Cell that contains each target; -1 outside the mesh.
    local : (k, 3) float64 ndarray
        Coordinates in that cell, 0 to 1 along the edges 0-1, 0-3 and 0-4 of the VTK hexahedron; within
        `INSIDE_TOLERANCE` of that range; NaN outside the mesh.
    """

    cell: NDArray[np.int32]
    local: NDArray[np.float64]


class CellLocator:
    """Search for cells of a hexahedral mesh, which may be rotated, warped or of any size.

    A target on the boundary of several cells belongs to the one with the smallest bounding box, and among
    equals to the first; at a hanging node that is a cell it is a corner of.  A flat cell is not
    found, nor is any cell at an edge of it that has no length (a wedge stored as a hexahedron).

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order; m > 0.

    Attributes
    ----------
    points : (n, 3) float64 ndarray
        Node positions.
    cells : (m, 8) int32 ndarray
        Nodes of each hexahedron.

    Raises
    ------
    ValueError
        If there are no cells, `cells` is not a connectivity over `points`, or a position is not finite.
    """

    def __init__(self, points: NDArray[np.floating], cells: NDArray[np.integer]) -> None:
        self.points = _finite_positions(points, "point")
        self.cells = check_cells(cells, len(self.points))
        if not len(cells):
            raise ValueError("the mesh has no cells to search")
        low, high = _cell_boxes(self.points, self.cells)
        margin = INSIDE_TOLERANCE * (high - low)
        self._tree = box_tree(low - margin, high + margin, leaf_size=1)

    def locate(self, targets: NDArray[np.floating], threads: int = 1) -> Location:
        """Find the cell around each target.

        Parameters
        ----------
        targets : (k, 3) float ndarray
            Positions, in the unit of the mesh.
        threads : int, optional
            Threads to share the targets among; the result does not depend on it.

        Returns
        -------
        Location
            Cell and local coordinates.

        Raises
        ------
        ValueError
            If `targets` are not finite positions.
        """
        targets = _finite_positions(targets, "target")
        cell = np.empty(len(targets), dtype=np.int32)
        local = np.empty((len(targets), 3))

        def locate_chunk(start: int, stop: int) -> None:
            part = slice(start, stop)
            _locate(targets[part], self.points, self.cells, *self._tree, cell[part], local[part])

        in_chunks(locate_chunk, len(targets), threads)
        return Location(cell, local)


def _finite_positions(positions: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    array = np.asarray(positions)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name}s must be a (k, 3) array of real numbers, not {array.shape} {array.dtype}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(f"{name}s must be finite, but {name} {first} is at {array[first].tolist()}")
    return np.ascontiguousarray(array, dtype=np.float64)


@njit(cache=True, nogil=True)
def _cell_boxes(
    points: NDArray[np.float64], cells: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.empty((len(cells), 3)), np.empty((len(cells), 3))
    for i, cell in enumerate(cells):
        for axis in range(3):
            low[i, axis] = high[i, axis] = points[cell[0], axis]
            for node in cell[1:]:
                low[i, axis] = min(low[i, axis], points[node, axis])
                high[i, axis] = max(high[i, axis], points[node, axis])
    return low, high


@njit(cache=True, nogil=True)
def _locate(targets, points, cells, order, low, high, cell_out, local_out):  # type: ignore[no-untyped-def]
    first_leaf = len(low) // 2
    stack = np.empty(64, dtype=np.int64)
    coefficients = np.empty((8, 3))
    local = np.empty(3)
    for k in range(len(targets)):
        target = targets[k]
        found, least_excess, least_size = -1, INSIDE_TOLERANCE, np.inf
        local_out[k] = np.nan
        stack[0], depth = 0, 1
        while depth:
            depth -= 1
            node = stack[depth]
            if not _box_contains(low[node], high[node], target):
                continue
            if node < first_leaf:
                stack[depth], stack[depth + 1] = 2 * node + 1, 2 * node + 2
                depth += 2
                continue
            i = order[node - first_leaf]
            size = _box_size(low[node], high[node])
            _trilinear_coefficients(points, cells[i], coefficients)
            excess = _invert(coefficients, target, local)
            if excess < least_excess or (
                excess == least_excess and (size < least_size or (size == least_size and i < found))
            ):
                found, least_excess, least_size = i, excess, size
                local_out[k] = local
        cell_out[k] = found


@njit(cache=True, nogil=True)
def _box_contains(low, high, target):  # type: ignore[no-untyped-def]
    return (
        low[0] <= target[0] <= high[0] and low[1] <= target[1] <= high[1] and low[2] <= target[2] <= high[2]
    )


@njit(cache=True, nogil=True)
def _box_size(low, high):  # type: ignore[no-untyped-def]
    return (high[0] - low[0]) + (high[1] - low[1]) + (high[2] - low[2])


@njit(cache=True, nogil=True)
def _trilinear_coefficients(points, cell, out):  # type: ignore[no-untyped-def]
    """Write the map c0 + c1 r + c2 s + c3 t + c4 rs + c5 st + c6 tr + c7 rst."""
    for axis in range(3):
        p = points[:, axis]
        p0, p1, p2, p3 = p[cell[0]], p[cell[1]], p[cell[2]], p[cell[3]]
        p4, p5, p6, p7 = p[cell[4]], p[cell[5]], p[cell[6]], p[cell[7]]
        out[0, axis] = p0
        out[1, axis] = p1 - p0
        out[2, axis] = p3 - p0
        out[3, axis] = p4 - p0
        out[4, axis] = (p2 - p3) - (p1 - p0)
        out[5, axis] = (p7 - p4) - (p3 - p0)
        out[6, axis] = (p5 - p1) - (p4 - p0)
        out[7, axis] = ((p6 - p7) - (p5 - p4)) - ((p2 - p3) - (p1 - p0))


@njit(cache=True, nogil=True, error_model="numpy")
def _invert(c, target, local):  # type: ignore[no-untyped-def]
    """Newton iteration for the local coordinates of a target; return how far they lie outside 0 to 1.

    The first step is exact in a parallelepiped.  Where the iteration strays beyond -1 to 2 it is called
    back, and the second time in a row the target lies outside.
    """
    r = s = t = 0.5
    strayed = False
    for _ in range(MAX_ITERATIONS):
        dr, ds, dt = _newton_step(c, target, r, s, t)
        if not np.isfinite(dr + ds + dt):
            return np.inf
        r, s, t = r + dr, s + ds, t + dt
        if max(abs(dr), abs(ds), abs(dt)) < CONVERGED_STEP:
            local[0], local[1], local[2] = r, s, t = _snap(r), _snap(s), _snap(t)
            return max(0.0, -min(r, s, t), max(r, s, t) - 1.0)
        astray = min(r, s, t) < -1.0 or max(r, s, t) > 2.0
        if astray:
            if strayed:
                return np.inf
            r, s, t = min(max(r, -1.0), 2.0), min(max(s, -1.0), 2.0), min(max(t, -1.0), 2.0)
        strayed = astray
    return np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _newton_step(coefficients, target, r, s, t):  # type: ignore[no-untyped-def]
    a, b, c, x = _jacobian_and_residual(coefficients, target, 0, r, s, t)
    d, e, f, y = _jacobian_and_residual(coefficients, target, 1, r, s, t)
    g, h, i, z = _jacobian_and_residual(coefficients, target, 2, r, s, t)
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    dr = (x * (e * i - f * h) - b * (y * i - f * z) + c * (y * h - e * z)) / determinant
    ds = (a * (y * i - f * z) - x * (d * i - f * g) + c * (d * z - y * g)) / determinant
    dt = (a * (e * z - y * h) - b * (d * z - y * g) + x * (d * h - e * g)) / determinant
    return dr, ds, dt


@njit(cache=True, nogil=True)
def _jacobian_and_residual(coefficients, target, axis, r, s, t):  # type: ignore[no-untyped-def]
    c = coefficients[:, axis]
    position = c[0] + r * (c[1] + s * c[4]) + s * (c[2] + t * c[5]) + t * (c[3] + r * (c[6] + s * c[7]))
    return (
        c[1] + c[4] * s + c[6] * t + c[7] * s * t,
        c[2] + c[4] * r + c[5] * t + c[7] * t * r,
        c[3] + c[5] * s + c[6] * r + c[7] * r * s,
        target[axis] - position,
    )


@njit(cache=True, nogil=True)
def _snap(coordinate):  # type: ignore[no-untyped-def]
    if abs(coordinate) < SNAP:
        return 0.0
    return 1.0 if abs(coordinate - 1.0) < SNAP else coordinate
