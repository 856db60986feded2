"""Moves of the vertices of a surface that leave it a surface: nothing folds over or runs through itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpbf_dataset.mesh.self_intersection import piercing_triangles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from trimesh import Trimesh

MAX_HALVINGS = 12
"""Attempts at a sound move; the last leaves a four-thousandth of it, below what single precision holds."""

FOLD_DEPTH = 0.01
"""How deep in mm a surface may run through itself, and how low a triangle must be for its folding not to
matter.  CAD programs make slivers: a vertex that almost lies on the opposite edge passes it at any bend.
A melt track is ten times as wide."""


class CompensationError(ValueError):
    """A surface cannot be compensated: one line that says why and what to do."""


class SoundMove(NamedTuple):
    """Where vertices may go.

    Attributes
    ----------
    vertices : (v, 3) float64 ndarray
        Their new positions.
    damped : (v,) bool ndarray
        Those that do not go all the way.
    """

    vertices: NDArray[np.float64]
    damped: NDArray[np.bool_]


def sound_move(nominal: Trimesh, vertices: NDArray[np.floating]) -> SoundMove:
    """Move the vertices of a surface as far as it stays sound.

    A triangle is unsound that turns by more than a right angle, is pierced by another or pierces one, but for
    what is less deep than `FOLD_DEPTH` or was pierced from the start.  The vertices of an unsound triangle
    and of its neighbours go half as far, over and over until the surface is sound.

    Parameters
    ----------
    nominal : trimesh.Trimesh
        The surface to move.
    vertices : (v, 3) float ndarray
        Where its vertices should go.

    Returns
    -------
    SoundMove

    Raises
    ------
    CompensationError
        If no share of the move is sound.
    """
    start = np.asarray(nominal.vertices)
    faces = nominal.faces[_heights(nominal.triangles) >= FOLD_DEPTH]
    move = np.asarray(vertices, dtype=np.float64) - start
    share = np.ones(len(start))
    pierced_before: NDArray[np.bool_] | None = None
    for _ in range(MAX_HALVINGS):
        reached = start + share[:, None] * move
        unsound = _pierced(reached, faces)
        if unsound.any():
            if pierced_before is None:
                pierced_before = _pierced(start, faces)
            unsound &= ~pierced_before
        unsound |= _turned_over(start, reached, faces)
        if not unsound.any():
            return SoundMove(reached, share < 1.0)
        share[_around(faces, unsound, len(start))] *= 0.5
    where = ", ".join(f"{x:.1f}" for x in start[faces[np.flatnonzero(unsound)[0]]].mean(axis=0))
    raise CompensationError(
        f"the surface folds or intersects itself near ({where}) mm however little it is moved there; "
        "repair the part, or compensate it on a coarser surface"
    )


def _pierced(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Triangles in a piercing pair that goes deeper than `FOLD_DEPTH`, (m,) bool."""
    corners = vertices[faces]
    inward = corners.mean(axis=1, keepdims=True) - corners
    length = np.linalg.norm(inward, axis=2, keepdims=True)
    # Triangles drawn in from their corners do not meet where they merely touch.
    drawn_in = corners + inward * np.minimum(FOLD_DEPTH / np.maximum(length, FOLD_DEPTH), 0.5)
    return piercing_triangles(drawn_in.reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))


def _turned_over(
    before: NDArray[np.float64], after: NDArray[np.float64], faces: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Triangles that turn by more than a right angle; those without a normal do not count, (m,) bool."""
    return np.einsum("ij,ij->i", _normals(before[faces]), _normals(after[faces])) < 0.0


def _normals(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normals (m, 3), as long as twice the area, of triangles (m, 3, 3)."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _heights(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least altitudes (m,) of triangles (m, 3, 3); 0 where all corners are one."""
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    return np.linalg.norm(_normals(corners), axis=1) / np.where(longest > 0.0, longest, 1.0)


def _around(faces: NDArray[np.int64], chosen: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Vertices of chosen triangles and of all that touch one of these, (count,) bool."""
    corner = np.zeros(count, dtype=np.bool_)
    corner[faces[chosen]] = True
    near = corner.copy()
    near[faces[corner[faces].any(axis=1)]] = True
    return near
