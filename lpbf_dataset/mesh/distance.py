"""Distance and direction to the nearest point of a surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import LEAF_SIZE, box_tree, in_chunks, leaves_on_line, morton_order
from lpbf_dataset.mesh.crossings import position_on_line, turn_about_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.mesh.boundary import Boundary

# No plane of a part's geometry is parallel to it, so that rays along it graze no flat face.
RAY = np.array([0.5377, 0.6871, 0.4887])


def node_distance(
    points: NDArray[np.floating], surface: Boundary, threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signed distance of the nodes of a mesh to its surface: every node lies inside or on it.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, each node part of a cell.
    surface : Boundary
        Surface of the mesh.
    threads : int
        Threads that share the work.

    Returns
    -------
    distance : (n,) float64 ndarray
        In the unit of `points`: negative inside, exactly 0 on the surface.
    direction : (n, 3) float64 ndarray
        Unit vector to the nearest point of the surface; 0 on the surface.

    Raises
    ------
    ValueError
        If `points` is not of the mesh that the surface belongs to.
    """
    if len(points) != len(surface.is_surface_node):
        raise ValueError(
            f"{len(points)} points, but the surface is that of a mesh of {len(surface.is_surface_node)} nodes"
        )
    distance, direction = np.zeros(len(points)), np.zeros((len(points), 3))
    inside = np.flatnonzero(~surface.is_surface_node)
    offset = _nearest_offsets(points[inside], surface.vertices[surface.triangles], threads)
    distance[inside], direction[inside] = _split(offset)
    return -distance, direction


def signed_distance(
    queries: NDArray[np.floating],
    vertices: NDArray[np.floating],
    triangles: NDArray[np.integer],
    threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signed distance of any points to a closed surface of triangles.

    The sign is that of the winding number, counted along a ray on which an edge belongs to exactly one
    of the triangles that share it.

    Parameters
    ----------
    queries : (n, 3) float ndarray
        Positions.
    vertices : (v, 3) float ndarray
        Corners of the triangles, in the same unit.
    triangles : (t, 3) integer ndarray
        Closed surface, turning outwards.
    threads : int
        Threads that share the work.

    Returns
    -------
    distance : (n,) float64 ndarray
        In the unit of `queries`: negative inside, 0 on the surface.
    direction : (n, 3) float64 ndarray
        Unit vector to the nearest point of the surface; 0 on the surface.

    Raises
    ------
    ValueError
        If there is no triangle, a triangle names no vertex, or a position is not finite.
    """
    corners = triangle_corners(queries, vertices, triangles)
    distance, direction = _split(_nearest_offsets(queries, corners, threads))
    inside = _winding_numbers(np.asarray(queries, np.float64), corners, threads) > 0
    return np.where(inside, -distance, distance), direction


def triangle_corners(
    queries: NDArray[np.floating], vertices: NDArray[np.floating], triangles: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Corners (t, 3, 3) of the triangles of a surface that has a distance to every query.

    Raises
    ------
    ValueError
        If there is no triangle, a triangle names no vertex, or a position is not finite.
    """
    if not len(triangles):
        raise ValueError("a surface without triangles has no distance")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError(f"triangles name vertices beyond the {len(vertices)} of the surface")
    if not (np.isfinite(vertices).all() and np.isfinite(queries).all()):
        raise ValueError("a vertex of the surface or a query point is at no finite position")
    return np.asarray(vertices, dtype=np.float64)[triangles]


def _split(offset: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Length and direction of vectors (n, 3)."""
    length = np.sqrt((offset**2).sum(axis=1))
    return length, offset / np.where(length > 0, length, 1)[:, None]


def _nearest_offsets(
    queries: NDArray[np.floating], corners: NDArray[np.float64], threads: int
) -> NDArray[np.float64]:
    """Vectors (n, 3) from points to the nearest point of triangles (t, 3, 3)."""
    tree = box_tree(corners.min(axis=1), corners.max(axis=1))
    order = morton_order(queries)
    ordered, offsets = np.asarray(queries, dtype=np.float64)[order], np.empty((len(queries), 3))
    sorted_corners = corners[tree.order]

    def kernel(start: int, stop: int) -> None:
        _nearest(ordered[start:stop], sorted_corners, tree.low, tree.high, offsets[start:stop])

    in_chunks(kernel, len(queries), threads)
    unordered = np.empty_like(offsets)
    unordered[order] = offsets
    return unordered


@njit(cache=True, nogil=True)
def _nearest(
    queries: NDArray[np.float64],
    corners: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> None:
    first_leaf = len(low) // 2
    stack, bounds = np.empty(64, dtype=np.int64), np.empty(64)
    last = 0
    for q in range(len(queries)):
        x, y, z = queries[q]
        # The triangle next to the last query is near this one too and prunes most boxes.
        best = _offset_to_triangle(x, y, z, corners[last])
        nearest = best[0] ** 2 + best[1] ** 2 + best[2] ** 2
        stack[0], bounds[0], size = 0, 0.0, 1
        while size:
            size -= 1
            box = stack[size]
            if bounds[size] >= nearest:
                continue
            if box < first_leaf:
                left = _squared_distance_to_box(x, y, z, low[2 * box + 1], high[2 * box + 1])
                right = _squared_distance_to_box(x, y, z, low[2 * box + 2], high[2 * box + 2])
                far = 1 if left > right else 2
                stack[size], bounds[size] = 2 * box + far, max(left, right)
                stack[size + 1], bounds[size + 1] = 2 * box + 3 - far, min(left, right)
                size += 2
                continue
            item = (box - first_leaf) * LEAF_SIZE
            for t in range(item, min(item + LEAF_SIZE, len(corners))):
                offset = _offset_to_triangle(x, y, z, corners[t])
                squared = offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2
                if squared < nearest:
                    nearest, best, last = squared, offset, t
        offsets[q, 0], offsets[q, 1], offsets[q, 2] = best


@njit(cache=True, nogil=True)
def _squared_distance_to_box(
    x: float, y: float, z: float, low: NDArray[np.float64], high: NDArray[np.float64]
) -> float:
    dx = max(low[0] - x, x - high[0], 0.0)
    dy = max(low[1] - y, y - high[1], 0.0)
    dz = max(low[2] - z, z - high[2], 0.0)
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True)
def _offset_to_triangle(
    x: float, y: float, z: float, corners: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Vector to the nearest point of a triangle (Ericson, Real-Time Collision Detection, 2005, 5.1.5)."""
    ax, ay, az = corners[0, 0] - x, corners[0, 1] - y, corners[0, 2] - z
    bx, by, bz = corners[1, 0] - x, corners[1, 1] - y, corners[1, 2] - z
    cx, cy, cz = corners[2, 0] - x, corners[2, 1] - y, corners[2, 2] - z
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - ax, cy - ay, cz - az
    d1, d2 = -(ux * ax + uy * ay + uz * az), -(vx * ax + vy * ay + vz * az)
    if d1 <= 0 and d2 <= 0:
        return ax, ay, az
    d3, d4 = -(ux * bx + uy * by + uz * bz), -(vx * bx + vy * by + vz * bz)
    if d3 >= 0 and d4 <= d3:
        return bx, by, bz
    d5, d6 = -(ux * cx + uy * cy + uz * cz), -(vx * cx + vy * cy + vz * cz)
    if d6 >= 0 and d5 <= d6:
        return cx, cy, cz
    wc = d1 * d4 - d3 * d2
    if wc <= 0 and d1 >= 0 and d3 <= 0:
        s = d1 / (d1 - d3)
        return ax + s * ux, ay + s * uy, az + s * uz
    wb = d5 * d2 - d1 * d6
    if wb <= 0 and d2 >= 0 and d6 <= 0:
        s = d2 / (d2 - d6)
        return ax + s * vx, ay + s * vy, az + s * vz
    wa = d3 * d6 - d5 * d4
    if wa <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        s = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return bx + s * (cx - bx), by + s * (cy - by), bz + s * (cz - bz)
    s, t = wb / (wa + wb + wc), wc / (wa + wb + wc)
    return ax + s * ux + t * vx, ay + s * uy + t * vy, az + s * uz + t * vz


def _winding_numbers(
    queries: NDArray[np.float64], corners: NDArray[np.float64], threads: int
) -> NDArray[np.int64]:
    """How often a surface of triangles (t, 3, 3) turns about each point (n, 3)."""
    frame, _ = np.linalg.qr(np.column_stack([RAY, np.eye(3)[:, :2]]))
    # In the frame whose last axis is the ray, what a ray hits is a question in the plane.
    frame = np.roll(frame * np.sign(np.linalg.det(frame)), -1, axis=1)
    turned, rays = corners @ frame, queries @ frame
    tree = box_tree(turned.min(axis=1), turned.max(axis=1))
    numbers = np.empty(len(queries), dtype=np.int64)
    sorted_corners = turned[tree.order]

    def kernel(start: int, stop: int) -> None:
        _count_crossings(rays[start:stop], sorted_corners, tree.low, tree.high, numbers[start:stop])

    in_chunks(kernel, len(queries), threads)
    return numbers


@njit(cache=True, nogil=True)
def _count_crossings(
    queries: NDArray[np.float64],
    corners: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> None:
    leaves = np.empty(len(low) // 2 + 1, dtype=np.int64)
    for q in range(len(queries)):
        x, y, z = queries[q]
        numbers[q] = 0
        for leaf in leaves[: leaves_on_line(low, high, 2, x, y, leaves)]:
            for t in range(LEAF_SIZE * leaf, min(LEAF_SIZE * (leaf + 1), len(corners))):
                turn = turn_about_line(corners, t, 2, x, y)
                if turn and position_on_line(corners, t, 2, x, y) > z:
                    numbers[q] += turn
