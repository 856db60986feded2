"""Where a line along an axis crosses a triangle."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def turn_about_line(corners, triangle: int, axis: int, u: float, v: float) -> int:  # type: ignore[no-untyped-def]
    """How a triangle turns about a line: +1 where the line leaves through it, -1 where it enters, else 0.

    Of the triangles that share an edge or a corner through which the line passes, those count that
    would be crossed if the line were shifted by infinitely little, the same for all.

    Parameters
    ----------
    corners : (t, 3, 3) float64 ndarray
        Corners of triangles.
    triangle : int
        Which of them.
    axis : int
        Axis of the line.
    u, v : float
        Coordinates of the line along the axes `axis + 1` and `axis + 2`, modulo 3.
    """
    second, third = (axis + 1) % 3, (axis + 2) % 3
    turn = 0
    for k in range(3):
        au, av = corners[triangle, k, second], corners[triangle, k, third]
        bu, bv = corners[triangle, (k + 1) % 3, second], corners[triangle, (k + 1) % 3, third]
        if (av <= v) == (bv <= v):
            continue
        # Taken from its lower end, an edge has the same side for both triangles that share it.
        if av <= v:
            turn += (bu - au) * (v - av) - (u - au) * (bv - av) > 0
        else:
            turn -= (au - bu) * (v - bv) - (u - bu) * (av - bv) > 0
    return turn


@njit(cache=True, nogil=True, error_model="numpy")
def position_on_line(corners, triangle: int, axis: int, u: float, v: float) -> float:  # type: ignore[no-untyped-def]
    """Position along its axis at which a line meets the plane of a triangle, if within the triangle's extent.

    Otherwise, as of a line just beside a steep triangle, the nearest position within that extent.
    """
    second, third = (axis + 1) % 3, (axis + 2) % 3
    a0, a1, a2 = corners[triangle, 0, axis], corners[triangle, 0, second], corners[triangle, 0, third]
    p0, p1, p2 = (
        corners[triangle, 1, axis] - a0,
        corners[triangle, 1, second] - a1,
        corners[triangle, 1, third] - a2,
    )
    q0, q1, q2 = (
        corners[triangle, 2, axis] - a0,
        corners[triangle, 2, second] - a1,
        corners[triangle, 2, third] - a2,
    )
    across = (p2 * q0 - p0 * q2) * (a1 - u) + (p0 * q1 - p1 * q0) * (a2 - v)
    position = across / (p1 * q2 - p2 * q1)
    return a0 + min(max(position, min(0.0, p0, q0)), max(0.0, p0, q0))
