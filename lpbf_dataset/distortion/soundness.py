"""Moves of the vertices of a surface that leave it a surface: nothing folds over or runs through itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from lpbf_dataset.mesh.self_intersection import piercing_triangles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from trimesh import Trimesh

MAX_SMOOTHINGS = 8
"""Rounds in which a move is evened out where it folds the surface, each with twice the sweeps of the one
before, until it is made smaller there."""

MAX_HALVINGS = 12
"""Rounds in which it is made smaller then; the last leaves a four-thousandth of it."""

FADE = 5.0
"""Distance in mm over which a move is made smaller towards a place where all of it is too much: surfaces that
touch there go on moving alike, and slivers are sheared by no more than a few per cent of the move."""

SHORTEST_EDGE = 1e-6
"""In mm: the ends of shorter ones are as good as one, and one to single precision."""


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

    A triangle is unsound that turns by more than a right angle, is pierced by another or pierces one, unless
    it is so from the start.  The moves of the vertices of an unsound triangle and of its neighbours are
    evened out with those around them: a triangle whose corners move alike does not fold.  What that does not
    settle, such as two walls that bend into each other, is moved half as far, over and over, and what lies
    near it somewhat less far.

    Positions are tried, and returned, in single precision, as STL files hold them.

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
    start, faces = np.asarray(nominal.vertices), nominal.faces
    wanted = _rounded(np.asarray(vertices, dtype=np.float64))
    move, share = wanted - start, np.ones((len(start), 1))
    uneven = np.zeros(len(start), dtype=np.bool_)
    unsound_before: NDArray[np.bool_] | None = None
    for attempt in range(MAX_SMOOTHINGS + MAX_HALVINGS):
        reached = _rounded(start + share * move)
        unsound = _unsound(start, reached, faces)
        if unsound.any():
            if unsound_before is None:
                unsound_before = _unsound(start, _rounded(start), faces)
            unsound &= ~unsound_before
        if not unsound.any():
            return SoundMove(reached, (reached != wanted).any(axis=1))
        around = _around(faces, unsound, len(start))
        if attempt < MAX_SMOOTHINGS:
            uneven |= around
            move = _evened(move, nominal, uneven, 2**attempt)
        else:
            level = 0.5 ** (attempt - MAX_SMOOTHINGS + 1)
            distance, _ = cKDTree(start[around]).query(start, distance_upper_bound=FADE)
            share = np.minimum(share, level + distance[:, None] / FADE)
    where = ", ".join(f"{x:.1f}" for x in start[faces[np.flatnonzero(unsound)[0]]].mean(axis=0))
    raise CompensationError(
        f"the surface folds or intersects itself near ({where}) mm however little it is moved there; "
        "repair the part, or compensate it on a coarser surface"
    )


def _rounded(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    return vertices.astype(np.float32).astype(np.float64)


def _unsound(
    before: NDArray[np.float64], after: NDArray[np.float64], faces: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Triangles that turn by more than a right angle, and those in a piercing pair, (m,) bool."""
    turned = np.einsum("ij,ij->i", _normals(before[faces]), _normals(after[faces])) < 0.0
    return turned | piercing_triangles(after, faces)


def _normals(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normals (m, 3), as long as twice the area, of triangles (m, 3, 3)."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _evened(
    values: NDArray[np.float64], surface: Trimesh, chosen: NDArray[np.bool_], sweeps: int
) -> NDArray[np.float64]:
    """Bring values (v, k) of the chosen vertices nearer to those of their neighbours; the others stay.

    Weights are the inverse squares of the lengths of the edges: the ends of an edge of a few micrometres are
    soon as one, whatever others are that lie millimetres away.
    """
    edges = surface.edges_unique[chosen[surface.edges_unique].any(axis=1)]
    squares = ((surface.vertices[edges[:, 0]] - surface.vertices[edges[:, 1]]) ** 2).sum(axis=1)
    ends = np.concatenate([edges, edges[:, ::-1]]).T
    weight = np.tile(1.0 / np.maximum(squares, SHORTEST_EDGE**2), 2)
    weights = sparse.csr_array((weight, ends), shape=(len(values), len(values)))[chosen]
    total = np.maximum(weights.sum(axis=1)[:, None], np.finfo(np.float64).tiny)
    evened = values.copy()
    for _ in range(sweeps):
        evened[chosen] = (evened[chosen] + weights @ evened / total) / 2.0
    return evened


def _around(faces: NDArray[np.int64], chosen: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Vertices of chosen triangles and of all that touch one of these, (count,) bool."""
    corner = np.zeros(count, dtype=np.bool_)
    corner[faces[chosen]] = True
    near = corner.copy()
    near[faces[corner[faces].any(axis=1)]] = True
    return near
