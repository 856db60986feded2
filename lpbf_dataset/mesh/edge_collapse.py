"""Removal of edges that are too short to be told from a point."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Star = set[frozenset[int]]


def collapse_short_edges(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], shortest: float
) -> NDArray[np.int64]:
    """Let one end of every edge that is too short take the place of the other.

    An edge stays whose loss would lay triangles onto each other: the neighbours that its ends have in common
    must be the tips of its two triangles (Dey, Edelsbrunner, Guha and Nekhayev, "Topology preserving edge
    contraction", Publications de l'Institut Mathematique 66, 1999, pp. 23-45).  So does one both ends of
    which took the place of others, so that no corner moves farther than `shortest`.

    Parameters
    ----------
    vertices : (n, 3) float ndarray
        Corners of the triangles.
    faces : (m, 3) integer ndarray
        Vertices of each triangle.
    shortest : float
        Shortest edge that need not go, in the unit of `vertices`.

    Returns
    -------
    (k, 3) int64 ndarray
        What is left of the triangles, in order and wound as before: a surface as closed as it was.
    """
    triangles = np.array(faces, dtype=np.int64)
    ends = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    lengths = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
    short = np.unique(ends[lengths < shortest], axis=0)
    if not len(short):
        return triangles
    place = _collapsed(short.tolist(), _stars(triangles, short), len(vertices))
    triangles = place[triangles]
    return triangles[(triangles != np.roll(triangles, 1, axis=1)).all(axis=1)]


def _stars(triangles: NDArray[np.int64], chosen: NDArray[np.int64]) -> dict[int, Star]:
    """Triangles at each of the chosen vertices."""
    stars: dict[int, Star] = defaultdict(set)
    is_near = np.isin(triangles, chosen).any(axis=1)
    for triangle in triangles[is_near].tolist():
        for corner in triangle:
            stars[corner].add(frozenset(triangle))
    return stars


def _collapsed(short: list[list[int]], stars: dict[int, Star], count: int) -> NDArray[np.int64]:
    """Vertex that takes the place of each one, (count,)."""
    place = np.arange(count)
    taken: set[int] = set()
    for first, second in short:
        gone, kept = (first, second) if second in taken else (second, first)
        if gone in taken or place[gone] != gone or place[kept] != kept:
            continue
        if not _keeps_the_surface(stars[gone], stars[kept], gone, kept):
            continue
        place[gone] = kept
        taken.add(kept)
        for triangle in stars.pop(gone):
            moved = frozenset(kept if corner == gone else corner for corner in triangle)
            for corner in triangle - {gone}:
                stars[corner].discard(triangle)
                if len(moved) == 3:
                    stars[corner].add(moved)
            if len(moved) == 3:
                stars[kept].add(moved)
    return place


def _keeps_the_surface(of_gone: Star, of_kept: Star, gone: int, kept: int) -> bool:
    tips = frozenset[int]().union(*(of_gone & of_kept)) - {gone, kept}
    common = frozenset[int]().union(*of_gone) & frozenset[int]().union(*of_kept)
    links = [{triangle - {end} for triangle in star} for end, star in ((gone, of_gone), (kept, of_kept))]
    return (
        len(of_gone & of_kept) == len(tips) == 2 and common == tips | {gone, kept} and not links[0] & links[1]
    )
