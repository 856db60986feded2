"""The thermal step against closed forms and slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.simulation import thermal
from lpbf_dataset.simulation.materials import REFERENCE_TEMPERATURE
from lpbf_dataset.simulation.thermal import CONVECTION, Thermal, free_faces, surface_loss


def test_heat_balance(mesh_of, grid_of, random_solid, plain) -> None:
    mesh, solid = mesh_of(random_solid), grid_of(random_solid).solid
    build = Thermal(mesh, solid, plain)
    capacity = plain.density * plain.specific_heat
    stored = 0.0
    for group, power in ((1, 20.0), (2, 0.0), (3, 5.0)):
        rise = build.deposit(group, duration=800.0, power=power) - REFERENCE_TEMPERATURE
        cells = mesh.active_cells(group)
        now = capacity * (mesh.volume[cells] * rise[mesh.cells[cells]].mean(axis=1)).sum()
        lost = surface_loss(mesh, solid, group) @ rise * 800.0
        assert now - stored + lost == pytest.approx(power * 800.0, abs=1e-6)
        stored = now


def test_bar_heated_at_its_top(mesh_of, plain, monkeypatch) -> None:
    # After very long, all heat runs down a bar as wide as the plate and leaves through the bottom.
    solid = np.ones((32, 32, 8), dtype=bool)
    mesh = mesh_of(solid)
    bottom = mesh.corner[:, 2] == -64

    def loss_below(_mesh: object, _solid: object, group: int) -> np.ndarray:
        loss = np.zeros(mesh.active_nodes(group).stop)
        np.add.at(loss, mesh.cells[bottom][:, :4], 1e-3 * 256.0 / 4.0)
        return loss

    monkeypatch.setattr(thermal, "surface_loss", loss_below)
    build = Thermal(mesh, solid, plain)
    build.deposit(1, duration=1.0, power=0.0)
    found = build.deposit(2, duration=1e12, power=10.0) - REFERENCE_TEMPERATURE
    flux, (z, height) = 10.0 / 256.0, (mesh.points[:, 2], 2.0)
    conducted = flux / plain.conductivity * (25.0 + np.minimum(z, height))
    within = np.clip(z - height, 0.0, None)  # heated uniformly, isolated above
    conducted += flux / plain.conductivity * (within - within**2 / (2.0 * height))
    np.testing.assert_allclose(found, flux / 1e-3 + conducted, rtol=1e-6)


def test_cooling_follows_newton(mesh_of, plain) -> None:
    # Small and well conducting: one temperature, which a backward-Euler step divides by 1 + dt / tau.
    solid = np.ones((32, 32, 4), dtype=bool)
    mesh = mesh_of(solid, (0.05, 0.05, 0.05))
    build = Thermal(mesh, solid, plain)
    hot = build.deposit(1, duration=1e-3, power=1e4) - REFERENCE_TEMPERATURE
    capacity = plain.density * plain.specific_heat
    assert hot.max() > 2.0 * hot.min()
    mean = np.average(hot[mesh.cells].mean(axis=1), weights=mesh.volume)
    assert mean == pytest.approx(10.0 / (capacity * mesh.volume.sum()), rel=1e-3)


def test_free_faces_agree_with_a_search(mesh_of, grid_of, random_solid) -> None:
    mesh, solid = mesh_of(random_solid), grid_of(random_solid).solid
    group = 2
    cells = mesh.active_cells(group)
    found = free_faces(mesh.corner[cells], mesh.size[cells], solid, 8)
    low = mesh.corner[cells]
    high = low + mesh.size[cells][:, None]
    for cell in range(0, cells.stop, 7):
        overlap = np.minimum(high, high[cell]) - np.maximum(low, low[cell])
        for face in range(6):
            axis, positive = divmod(face, 2)
            others = [a for a in range(3) if a != axis]
            beside = low[:, axis] == high[cell, axis] if positive else high[:, axis] == low[cell, axis]
            touched = beside & (overlap[:, others] > 0).all(axis=1)
            assert found[cell, face] == (not touched.any())


def test_loss_of_a_block(mesh_of) -> None:
    solid = np.ones((32, 32, 4), dtype=bool)
    mesh = mesh_of(solid)
    area = 2 * 16.0 * 16.0 + 4 * 16.0 * (25.0 + 2.0)
    assert surface_loss(mesh, solid, 1).sum() == pytest.approx(CONVECTION * area)
