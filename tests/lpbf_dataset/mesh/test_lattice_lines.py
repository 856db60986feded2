from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.mesh import lattice_lines
from lpbf_dataset.mesh.lattice import find_lattice
from lpbf_dataset.mesh.lattice_lines import aligned_distances, is_along_axes
from lpbf_dataset.mesh.lattice_rays import lattice_distances

from .conftest import octree_mesh, rotated

ROUNDING = 2e-6


def lattice_of(mesh):
    return find_lattice(mesh.points.astype(np.float64), mesh.cells, 0.25, ROUNDING)


def naive(lattice):
    """Step from plane to plane as long as a box has the edge between them."""
    boxes = [(box[0], box[1]) for box in lattice.boxes]
    distances = np.zeros((len(lattice.ranks), 6))
    for node, rank in enumerate(lattice.ranks):
        for axis in range(3):
            for way in (-1, 1):
                here = rank.copy()
                while any(
                    (low <= here).all()
                    and (here <= high).all()
                    and low[axis] <= here[axis] + way <= high[axis]
                    for low, high in boxes
                ):
                    here[axis] += way
                planes = lattice.planes[axis]
                distances[node, axis + 3 * (way > 0)] = abs(planes[here[axis]] - planes[rank[axis]])
    return distances


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_sweeps_equal_steps_from_plane_to_plane(seed, threads):
    lattice = lattice_of(octree_mesh(seed, size=4))
    np.testing.assert_array_equal(aligned_distances(lattice, threads), naive(lattice))


def test_sweeps_equal_rays():
    mesh = octree_mesh(5, size=16)
    lattice = lattice_of(mesh)
    rays = lattice_distances(mesh.points.astype(np.float64), mesh.cells, lattice, ROUNDING, 1)
    np.testing.assert_allclose(aligned_distances(lattice, 1), rays, atol=1e-6)


def test_a_turned_lattice_is_not_along_the_axes():
    mesh = octree_mesh(1, size=4)
    assert is_along_axes(lattice_of(mesh))
    assert not is_along_axes(lattice_of(rotated(mesh)))


def test_tables_beyond_the_bound_are_not_made(monkeypatch):
    monkeypatch.setattr(lattice_lines, "MAX_ENTRIES", 100)
    assert aligned_distances(lattice_of(octree_mesh(0, size=4)), 1) is None
