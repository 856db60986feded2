"""Small hexahedral meshes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

# Corners of the unit cube in the order of a VTK hexahedron.
UNIT_CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
)


class Mesh(NamedTuple):
    points: np.ndarray
    cells: np.ndarray


def box_mesh(nx: int, ny: int, nz: int, size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Mesh:
    """Return a structured block of nx x ny x nz cells, each of the given size."""
    ids = np.arange((nx + 1) * (ny + 1) * (nz + 1)).reshape(nx + 1, ny + 1, nz + 1)
    points = np.stack(np.indices(ids.shape), axis=-1).reshape(-1, 3) * np.array(size)
    offsets = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    corners = [ids[i : i + nx, j : j + ny, k : k + nz].ravel() for i, j, k in offsets]
    return Mesh(points.astype(np.float32), np.stack(corners, axis=1).astype(np.int32))


@pytest.fixture
def hanging_node_mesh() -> Mesh:
    """Return a cell of size 2 with four cells of size 1 on its +x side: a T-junction as octrees make it."""
    fine = box_mesh(1, 2, 2)
    coarse = box_mesh(1, 1, 1, (2.0, 2.0, 2.0))
    points = np.concatenate([coarse.points, fine.points + np.float32([2, 0, 0])])
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    cells = np.concatenate([coarse.cells, fine.cells + len(coarse.points)])
    return Mesh(unique, inverse[cells].astype(np.int32))


def octree_mesh(seed: int, size: int = 8, roots: int = 2, keep: float = 0.8, split: float = 0.6) -> Mesh:
    """Return an unbalanced octree with removed cells: roots^3 cubes of a given size cut down to size 1."""
    random = np.random.default_rng(seed)
    pending = [(corner * size, size) for corner in np.argwhere(np.ones((roots,) * 3))]
    leaves = []
    while pending:
        corner, length = pending.pop()
        if length > 1 and random.random() < split:
            pending += [(corner + child * (length // 2), length // 2) for child in UNIT_CORNERS]
        elif random.random() < keep:
            leaves.append(corner + UNIT_CORNERS * length)
    lattice, cells = np.unique(np.reshape(leaves, (-1, 3)), axis=0, return_inverse=True)
    return Mesh((lattice * [0.5, 0.25, 0.4]).astype(np.float32), cells.reshape(-1, 8).astype(np.int32))


def rotated(mesh: Mesh, seed: int = 0) -> Mesh:
    """Return the mesh turned about the origin."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Mesh((mesh.points @ rotation.T).astype(np.float32), mesh.cells)
