"""Small meshes and materials for the solver's tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lpbf_dataset.simulation.materials import MATERIALS, Material
from lpbf_dataset.simulation.octree import OctreeMesh, build_mesh
from lpbf_dataset.simulation.voxels import VoxelGrid

if TYPE_CHECKING:
    from collections.abc import Callable


def make_grid(solid: np.ndarray, cell: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> VoxelGrid:
    """Put a block of voxels in the corner of a grid of whole base cells and groups."""
    shape = [-(-n // unit) * unit for n, unit in zip(solid.shape, (32, 32, 4), strict=True)]
    padded = np.zeros(shape, dtype=bool)
    padded[tuple(slice(n) for n in solid.shape)] = solid
    return VoxelGrid(padded, np.zeros(3), np.array(cell))


@pytest.fixture
def grid_of() -> Callable[..., VoxelGrid]:
    return make_grid


@pytest.fixture
def mesh_of() -> Callable[..., OctreeMesh]:
    def mesh(
        solid: np.ndarray, cell: tuple[float, float, float] = (0.5, 0.5, 0.5), *, group_cells: int = 4
    ) -> OctreeMesh:
        return build_mesh(make_grid(solid, cell), group_cells=group_cells, plate_depth=25.0)

    return mesh


@pytest.fixture
def random_solid() -> np.ndarray:
    """Return a ragged part of mixed cell sizes, two and a half groups high."""
    rng = np.random.default_rng(3)
    solid = np.zeros((32, 32, 12), dtype=bool)
    solid[4:24, 4:20, :10] = True
    solid[:, :, 4:] &= rng.random((32, 32, 8)) > 0.02
    return solid


@pytest.fixture
def plain() -> Material:
    """Return Inconel 625 with the same inherent strain everywhere."""
    return replace(MATERIALS["inconel625"], relaxation=None)
