"""Small hexahedral meshes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest


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
