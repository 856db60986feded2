"""Better triangles on the same surface: Delaunay triangulations of its flat patches.

CAD programs triangulate a face with needles from one end to the other, and with caps whose tip all but lies
on the opposite edge.  Neither may bend: a cap folds as soon as its tip passes the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.half_edges import twins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.mesh.flat_patches import FlatPatches

LEAST_GAIN = 1e-9
"""Sine by which the two angles opposite to an edge must exceed 180 degrees for it to be flipped: four corners
of a rectangle are as good either way, and must not be flipped to and fro."""

MAX_FLIPS_PER_EDGE = 100
"""Lawson's flips take a few for each edge, and never more than all pairs of vertices."""


def flipped_to_delaunay(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    patches: FlatPatches,
    longest: float = np.inf,
) -> NDArray[np.int64]:
    """Flip edges inside of flat patches until no vertex lies in the circumcircle of a neighbouring triangle.

    Of all triangulations of the vertices of a patch this one has the largest smallest angle (Lawson,
    "Software for C1 surface interpolation", Mathematical Software III, 1977, pp. 161-194).  Edges between
    patches stay, and so does every vertex.  Two slivers without a patch that have their longest edge in
    common exchange it for a shorter one: their corners lie on one line.

    Parameters
    ----------
    vertices : (n, 3) float ndarray
        Corners of the triangles.
    faces : (m, 3) integer ndarray
        Vertices of each triangle.
    patches : FlatPatches
        Of these triangles.
    longest : float, optional
        No edge longer than this is made, unless from a longer one; in the unit of `vertices`.

    Returns
    -------
    (m, 3) int64 ndarray
        Vertices of the new triangles, each in the patch that had its number before, wound as before; the
        surface is as closed as it was.
    """
    flipped = np.array(faces, dtype=np.int64)
    if len(flipped):
        twin = twins(flipped)
        points = np.asarray(vertices, dtype=np.float64)
        _flip(points, flipped, twin, _pinched(flipped, twin), patches.labels, patches.normals, longest)
    return flipped


def _pinched(faces: NDArray[np.int64], twin: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Vertices whose triangles do not form one closed fan, (n,) bool."""
    incident = np.bincount(faces.ravel())
    in_fan = np.zeros_like(incident)
    corners, start = np.unique(faces.ravel(), return_index=True)
    in_fan[corners] = _fan_sizes(twin, start)
    return in_fan < incident


@njit(cache=True, nogil=True)
def _next(edge):  # type: ignore[no-untyped-def]
    return edge + 1 if edge % 3 < 2 else edge - 2


@njit(cache=True, nogil=True)
def _fan_sizes(twin, starts):  # type: ignore[no-untyped-def]
    """Triangles met on the way round the first vertex of half-edges; 0 where there is a gap; (k,) int64."""
    sizes = np.zeros(len(starts), dtype=np.int64)
    for i, start in enumerate(starts):
        edge = start
        while True:
            sizes[i] += 1
            edge = twin[_next(_next(edge))]
            if edge < 0:
                sizes[i] = 0
            if edge < 0 or edge == start:
                break
    return sizes


@njit(cache=True, nogil=True)
def _is_neighbour(corner, twin, start, vertex):  # type: ignore[no-untyped-def]
    """Whether an edge leads from the first vertex of a half-edge, which has a closed fan, to another one."""
    edge = start
    while True:
        if corner[_next(edge)] == vertex:
            return True
        edge = twin[_next(_next(edge))]
        if edge == start:
            return False


@njit(cache=True, nogil=True)
def _opposite_angle(tip, start, end, normal):  # type: ignore[no-untyped-def]
    """Sine and cosine, times the lengths, of the angle at a tip from start to end, seen along a normal."""
    to_start, to_end = start - tip, end - tip
    sine = normal @ np.cross(to_start, to_end)
    return sine, to_start @ to_end - (normal @ to_start) * (normal @ to_end)


@njit(cache=True, nogil=True)
def _improves(a, b, v, w, normal, longest):  # type: ignore[no-untyped-def]
    """Whether v-w is a better diagonal than a-b of the quadrangle a, w, b, v."""
    if normal @ np.cross(w - a, v - a) <= 0.0 or normal @ np.cross(v - b, w - b) <= 0.0:
        return False
    length = np.sqrt((v - w) @ (v - w))
    if length > longest and length > np.sqrt((a - b) @ (a - b)):
        return False
    sine_v, cosine_v = _opposite_angle(v, a, b, normal)
    sine_w, cosine_w = _opposite_angle(w, b, a, normal)
    scale = np.sqrt((sine_v**2 + cosine_v**2) * (sine_w**2 + cosine_w**2))
    return sine_v * cosine_w + cosine_v * sine_w < -LEAST_GAIN * scale


@njit(cache=True, nogil=True)
def _shortens(a, b, v, w):  # type: ignore[no-untyped-def]
    """Whether v-w is shorter than a-b, the longest edge of both triangles."""
    squares = [(p - q) @ (p - q) for p, q in ((v, w), (a, v), (v, b), (b, w), (w, a))]
    return max(squares) < (a - b) @ (a - b)


@njit(cache=True, nogil=True)
def _flip(points, faces, twin, pinched, labels, normals, longest):  # type: ignore[no-untyped-def]
    """Flip edges in place, each of which may make those around it worth a flip."""
    corner = faces.ravel()
    stack = [edge for edge in range(len(twin)) if twin[edge] > edge]
    waiting = np.zeros(len(twin), dtype=np.bool_)
    for edge in stack:
        waiting[edge] = True
    left = MAX_FLIPS_PER_EDGE * len(twin)
    while stack and left:
        edge = stack.pop()
        waiting[edge] = False
        back = twin[edge]
        label = labels[edge // 3]
        if back < 0 or labels[back // 3] != label:
            continue
        from_b, from_a = _next(edge), _next(back)
        to_a, to_b = _next(from_b), _next(from_a)
        a, b, v, w = corner[edge], corner[from_b], corner[to_a], corner[to_b]
        if v == w or (pinched[v] and pinched[w]):
            continue
        if label < 0:
            if not _shortens(points[a], points[b], points[v], points[w]):
                continue
        elif not _improves(points[a], points[b], points[v], points[w], normals[label], longest):
            continue
        if _is_neighbour(corner, twin, to_b, v) if pinched[v] else _is_neighbour(corner, twin, to_a, w):
            continue
        outer = (twin[to_a], twin[from_a], twin[to_b], twin[from_b])
        corner[edge], corner[from_b], corner[to_a] = v, a, w
        corner[back], corner[from_a], corner[to_b] = w, b, v
        # v-a, a-w, w-v and w-b, b-v, v-w
        inner = (edge, from_b, back, from_a)
        twin[to_a], twin[to_b] = to_b, to_a
        for k in range(4):
            twin[inner[k]] = outer[k]
            if outer[k] >= 0:
                twin[outer[k]] = inner[k]
                lower = min(inner[k], outer[k])
                if not waiting[lower]:
                    waiting[lower] = True
                    stack.append(lower)
        left -= 1
