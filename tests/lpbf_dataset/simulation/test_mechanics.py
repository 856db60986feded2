"""Mechanics against closed forms, and the layered factorisation against a plain one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import linalg

from lpbf_dataset.simulation import layered, linear
from lpbf_dataset.simulation.assembly import assemble
from lpbf_dataset.simulation.elements import stiffness, unique_boxes
from lpbf_dataset.simulation.layered import LayeredStiffness
from lpbf_dataset.simulation.mechanics import (
    Mechanics,
    reference_displacement,
    rigid_motion,
)
from lpbf_dataset.simulation.octree import interpolation
from lpbf_dataset.simulation.plate import cut_cells, plate_supports
from lpbf_dataset.sources.base import CaseError


def part_system(mesh, elastic):
    """Stiffness of the part alone in its free nodes, and the interpolation from them."""
    part = slice(mesh.cell_range(1).start, len(mesh.size))
    boxes, kind = unique_boxes(mesh.box)
    matrix = assemble(
        mesh.cells[part], kind[part], np.array([stiffness(b, elastic) for b in boxes]), len(mesh.points)
    )
    weights = sparse.kron(interpolation(mesh, part), sparse.eye_array(3), format="csr")
    return matrix, weights


def solve_prescribed(mesh, elastic, prescribed, load=None):
    """Solve the part alone with some displacement components, (nodes, 3) with NaN elsewhere, given."""
    matrix, weights = part_system(mesh, elastic)
    unknowns = np.unique(weights.indices)
    weights = weights[:, unknowns]
    reduced = (weights.T @ matrix @ weights).tocsc()
    given = prescribed.ravel()[unknowns]
    free = np.isnan(given)
    x = np.where(free, 0.0, given)
    right = -(reduced @ x) if load is None else weights.T @ load.ravel() - reduced @ x
    x[free] = linalg.spsolve(reduced[free][:, free], right[free])
    return (weights @ x).reshape(-1, 3)


def part_nodes(mesh):
    return np.unique(mesh.cells[mesh.cell_range(1).start :])


def test_patch_with_hanging_nodes(mesh_of, random_solid, plain) -> None:
    mesh = mesh_of(random_solid[:, :, :8])
    assert len(set(mesh.size[mesh.group > 0])) == 3
    elastic = Mechanics(mesh, plain, np.zeros((len(mesh.size), 6))).elastic
    exact = 1e-3 * mesh.points @ np.array([[1.0, 0.2, 0.3], [0.5, -1.0, 0.1], [0.0, 0.4, 2.0]])
    matrix, weights = part_system(mesh, elastic)
    forces = weights.T @ (matrix @ exact.ravel())
    # A uniform stress is in equilibrium at every node inside, whether its neighbours hang or not.
    on_surface = np.zeros(len(mesh.points), dtype=bool)
    on_surface[outer_nodes(mesh)] = True
    moves_surface = abs(weights[on_surface.repeat(3)]).sum(axis=0) > 0
    inside = np.setdiff1d(np.unique(weights.indices), np.flatnonzero(moves_surface))
    masters = np.unique(mesh.hanging.master[mesh.hanging.cell >= mesh.cell_range(1).start])
    assert len(np.intersect1d(inside // 3, masters)) > 5
    assert np.abs(forces[inside]).max() < 1e-13 * np.abs(matrix @ exact.ravel()).max() * 100


def outer_nodes(mesh):
    """Nodes of the part on a face of a voxel that no other voxel touches."""
    grown = np.zeros(np.array([32, 32, 16]) + 2, dtype=bool)
    for corner, size in zip(mesh.corner, mesh.size, strict=True):
        if corner[2] >= 0:
            i, j, k = corner + 1
            grown[i : i + size, j : j + size, k : k + size] = True
    x, y, z = mesh.lattice[part_nodes(mesh)].T
    around = [grown[x + i, y + j, z + k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    return part_nodes(mesh)[~np.all(around, axis=0)]


def test_bar_stretches_and_narrows(mesh_of, plain) -> None:
    mesh = mesh_of(np.ones((4, 4, 16), dtype=bool))
    elastic = Mechanics(mesh, plain, np.zeros((len(mesh.size), 6))).elastic
    prescribed = np.full(mesh.points.shape, np.nan)
    prescribed[mesh.lattice[:, 0] == 0, 0] = 0.0
    prescribed[mesh.lattice[:, 1] == 0, 1] = 0.0
    prescribed[mesh.lattice[:, 2] == 0, 2] = 0.0
    prescribed[mesh.lattice[:, 2] == 16, 2] = 8e-3
    found = solve_prescribed(mesh, elastic, prescribed)[part_nodes(mesh)]
    expected = mesh.points[part_nodes(mesh)] * 1e-3 * np.array([-plain.poisson, -plain.poisson, 1.0])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("height", "error"), [(4, 0.04), (8, 0.015)])
def test_cantilever_bends_as_timoshenko_says(mesh_of, plain, height, error) -> None:
    # 4 x 4 x 20 mm with a force at its top; the cells halve from the first case to the second.
    edge = 4.0 / height
    mesh = mesh_of(np.ones((height, height, 5 * height), dtype=bool), (edge, edge, edge), group_cells=1)
    elastic = Mechanics(mesh, plain, np.zeros((len(mesh.size), 6))).elastic
    prescribed = np.full(mesh.points.shape, np.nan)
    prescribed[mesh.lattice[:, 2] == 0] = 0.0
    top = np.flatnonzero(mesh.lattice[:, 2] == 5 * height)
    share = np.zeros(len(mesh.points))
    np.add.at(share, mesh.cells[mesh.corner[:, 2] == 5 * height - 1][:, 4:], 0.25 / height**2)
    load = 100.0 * share[:, None] * [1.0, 0.0, 0.0]
    found = solve_prescribed(mesh, elastic, prescribed, load)[top, 0].mean()
    shear = plain.young / (2.0 * (1.0 + plain.poisson))
    bending = 100.0 * 20.0**3 / (3.0 * plain.young * 4.0**4 / 12.0)
    assert found == pytest.approx(bending + 100.0 * 20.0 / (5.0 / 6.0 * shear * 16.0), rel=error)


def test_refinement_converges(mesh_of, plain) -> None:
    energy = []
    for height in (2, 4, 8):
        edge = 4.0 / height
        mesh = mesh_of(np.ones((height, height, 2 * height), dtype=bool), (edge, edge, edge), group_cells=1)
        elastic = Mechanics(mesh, plain, np.zeros((len(mesh.size), 6))).elastic
        prescribed = np.full(mesh.points.shape, np.nan)
        prescribed[mesh.lattice[:, 2] == 0] = 0.0
        prescribed[mesh.lattice[:, 2] == 2 * height] = [0.01, 0.0, 0.0]
        found = solve_prescribed(mesh, elastic, prescribed)
        matrix, _ = part_system(mesh, elastic)
        energy.append(found.ravel() @ matrix @ found.ravel())
    # Displacement elements are too stiff, and less so the finer they are.
    assert energy[0] > energy[1] > energy[2]
    assert energy[1] - energy[2] < 0.6 * (energy[0] - energy[1])


@pytest.mark.parametrize("share", [0.0, 10.0])
@pytest.mark.parametrize("solver", ["pardiso", "superlu"])
def test_layered_solution_is_that_of_the_whole(mesh_of, random_solid, monkeypatch, share, solver) -> None:
    if solver == "superlu":
        monkeypatch.setattr(linear, "_mkl_pardiso", lambda: None)
    monkeypatch.setattr(layered, "KEPT_SHARE", share)
    mesh = mesh_of(random_solid)
    boxes, kind = unique_boxes(mesh.box)
    matrices = np.array([stiffness(b, np.eye(6) + 0.3) for b in boxes])
    fixed = plate_supports(mesh)
    stacked = LayeredStiffness(mesh, kind, matrices, fixed)
    for group in (1, 2, 3):
        stacked.deposit(group)
        cells, nodes = mesh.active_cells(group), mesh.active_nodes(group).stop
        load = np.random.default_rng(group).standard_normal((nodes, 3, 2))
        weights = sparse.kron(interpolation(mesh, cells)[:nodes, :nodes], sparse.eye_array(3), format="csr")
        unknowns = np.setdiff1d(np.unique(weights.indices), np.flatnonzero(fixed[:nodes]))
        weights = weights[:, unknowns]
        matrix = assemble(mesh.cells[cells], kind[cells], matrices, nodes)
        whole = linalg.spsolve((weights.T @ matrix @ weights).tocsc(), weights.T @ load.reshape(-1, 2))
        expected = (weights @ whole).reshape(load.shape)
        np.testing.assert_allclose(stacked.solve(load), expected, atol=1e-9 * np.abs(expected).max())


def test_free_expansion_leaves_no_stress(mesh_of, plain) -> None:
    mesh = mesh_of(np.ones((8, 8, 8), dtype=bool))
    mechanics = Mechanics(mesh, plain, np.zeros((len(mesh.size), 6)))
    rise = np.full(len(mesh.points), 100.0)
    strain = mechanics.eigenstrain(rise, slice(0, len(mesh.size)), inherent_until=2)
    nodes = part_nodes(mesh)
    displacement = mechanics.solve_removed(strain)
    elastic = mechanics.nodal_strain(2, displacement, strain, mesh.group == 0)[nodes]
    assert np.abs(elastic).max() < 1e-9
    rotation, translation = rigid_motion(mesh.points[nodes], displacement[nodes], np.ones(len(nodes)))
    fitted = (mesh.points[nodes] + displacement[nodes]) @ rotation.T + translation
    centre = mesh.points[nodes].mean(axis=0)
    stretched = centre + (mesh.points[nodes] - centre) * (1.0 + 100.0 * plain.expansion)
    np.testing.assert_allclose(fitted, stretched, atol=1e-8)


def test_clamped_heating_presses(mesh_of, plain) -> None:
    # The plate fills its sliding walls, so far from the part it is held in x and y and free in z.
    mesh = mesh_of(np.ones((32, 32, 4), dtype=bool), (0.5, 0.5, 0.5))
    mechanics = Mechanics(mesh, plain, np.zeros((len(mesh.size), 6)))
    mechanics.deposit(1, None)
    rise = np.full(len(mesh.points), 50.0)
    strain = mechanics.eigenstrain(rise, slice(0, len(mesh.size)), inherent_until=0)
    displacement = mechanics.solve(1, [strain])[0]
    stress = mechanics.nodal_strain(1, displacement, strain) @ mechanics.elastic
    middle = np.flatnonzero(
        (mesh.lattice[:, 2] == -32) & (mesh.lattice[:, 0] == 16) & (mesh.lattice[:, 1] == 16)
    )
    expected = -plain.young * plain.expansion * 50.0 / (1.0 - plain.poisson)
    assert stress[middle, 0] == pytest.approx(expected, rel=0.05)


def test_two_layer_strip_curls_as_timoshenko_says(mesh_of, plain) -> None:
    # Analysis of bi-metal thermostats (Timoshenko 1925), equal layers of one material: 3 e / (2 h).
    mesh = mesh_of(np.ones((128, 2, 8), dtype=bool), (0.25, 0.5, 0.25), group_cells=1)
    inherent = np.zeros((len(mesh.size), 6))
    inherent[mesh.group > 4, 0] = -1e-3
    mechanics = Mechanics(mesh, replace(plain, poisson=1e-6), inherent)
    strain = mechanics.eigenstrain(np.zeros(len(mesh.points)), slice(0, len(mesh.size)), inherent_until=8)
    displacement = mechanics.solve_removed(strain)
    spine = np.flatnonzero(
        (mesh.lattice[:, 1] == 0) & (mesh.lattice[:, 2] == 0) & (mesh.lattice[:, 0] <= 128)
    )
    middle = spine[np.abs(mesh.points[spine, 0] - 16.0) <= 10.0]
    curvature = 2.0 * np.polyfit(mesh.points[middle, 0], displacement[middle, 2], 2)[0]
    assert curvature == pytest.approx(1.5 * 1e-3 / 2.0, rel=0.01)


def test_symmetric_part_moves_symmetrically(mesh_of, plain) -> None:
    mesh = mesh_of(np.ones((32, 32, 8), dtype=bool))
    inherent = np.zeros((len(mesh.size), 6))
    inherent[mesh.group > 0, :2] = -0.008
    mechanics = Mechanics(mesh, plain, inherent)
    displacement = None
    for group in (1, 2):
        mechanics.deposit(group, displacement)
        cells, nodes = mesh.active_cells(group), mesh.active_nodes(group).stop
        strain = mechanics.eigenstrain(np.zeros(nodes), cells, inherent_until=group)
        displacement = mechanics.solve(group, [strain])[0]
    place = {tuple(p): n for n, p in enumerate(mesh.lattice.tolist())}
    mirrored = np.array([place[32 - x, y, z] for x, y, z in mesh.lattice.tolist()])
    assert np.abs(displacement[mirrored] * [-1, 1, 1] - displacement).max() < 1e-9
    turned = np.array([place[y, x, z] for x, y, z in mesh.lattice.tolist()])
    assert np.abs(displacement[turned][:, [1, 0, 2]] - displacement).max() < 1e-9


@pytest.fixture
def built(mesh_of, plain) -> tuple[Mechanics, np.ndarray, np.ndarray]:
    """Return a bridge of a thick and a thin leg on its plate, its eigenstrain, and its displacement."""
    solid = np.zeros((32, 32, 12), dtype=bool)
    solid[:17] = solid[30:31] = solid[:, :, 8:10] = True
    mesh = mesh_of(solid)
    inherent = np.zeros((len(mesh.size), 6))
    inherent[mesh.group > 0, :2] = -0.004
    mechanics, displacement = Mechanics(mesh, plain, inherent), None
    for group in range(1, mesh.group_count + 1):
        mechanics.deposit(group, displacement)
        cells, nodes = mesh.active_cells(group), mesh.active_nodes(group).stop
        strain = mechanics.eigenstrain(np.zeros(nodes), cells, inherent_until=group)
        displacement = mechanics.solve(group, [strain])[0]
    return mechanics, strain, displacement


def test_cutting_nothing_changes_nothing(built) -> None:
    mechanics, strain, displacement = built
    gone = cut_cells(mechanics.mesh, lambda x, _: np.zeros(len(x), dtype=bool))
    assert not gone.any()
    found = mechanics.solve_cut(gone, strain)
    np.testing.assert_allclose(found, displacement, atol=1e-9 * np.abs(displacement).max())


def test_cutting_all_removes_the_plate(built) -> None:
    mechanics, strain, displacement = built
    mesh = mechanics.mesh
    nodes = part_nodes(mesh)
    gone = cut_cells(mesh, lambda x, _: np.ones(len(x), dtype=bool))
    assert len(set(mesh.size[gone])) > 1
    cut, removed = mechanics.solve_cut(gone, strain)[nodes], mechanics.solve_removed(strain)[nodes]
    # The solver is linear, and so are its rigid motions: a translation and a spin about an axis.
    x, y, z = mesh.points[nodes].T
    nil, one = np.zeros_like(x), np.ones_like(x)
    spins = [[nil, -z, y], [z, nil, -x], [-y, x, nil]]
    rigid = np.array([[one, nil, nil], [nil, one, nil], [nil, nil, one], *spins]).transpose(2, 1, 0)
    rigid = rigid.reshape(-1, 6)
    difference = (cut - removed).ravel()
    left = difference - rigid @ np.linalg.lstsq(rigid, difference)[0]
    assert np.abs(left).max() < 1e-6 * np.abs(displacement[nodes]).max()


def test_the_cut_half_of_a_strip_curls_as_timoshenko_says(mesh_of, plain) -> None:
    # As the whole strip does once its plate is gone; the held half does not move.
    mesh = mesh_of(np.ones((128, 2, 8), dtype=bool), (0.25, 0.5, 0.25), group_cells=1)
    inherent = np.zeros((len(mesh.size), 6))
    inherent[mesh.group > 4, 0] = -1e-3
    mechanics = Mechanics(mesh, replace(plain, poisson=1e-6), inherent)
    strain = mechanics.eigenstrain(np.zeros(len(mesh.points)), slice(0, len(mesh.size)), inherent_until=8)
    displacement = mechanics.solve_cut(cut_cells(mesh, lambda x, _: x < 16.0), strain)
    top = np.flatnonzero((mesh.lattice[:, 1] == 0) & (mesh.lattice[:, 2] == 8))
    x, lift = mesh.points[top, 0], displacement[top, 2]
    curvature = 2.0 * np.polyfit(x[(x > 3.0) & (x < 12.0)], lift[(x > 3.0) & (x < 12.0)], 2)[0]
    assert curvature == pytest.approx(1.5 * 1e-3 / 2.0, rel=0.01)
    assert np.abs(lift[(x > 20.0) & (x < 28.0)]).max() < 0.02 * lift.max()


def test_group_starts_on_the_displaced_surface(mesh_of, random_solid) -> None:
    mesh = mesh_of(random_solid)
    below = mesh.active_nodes(1).stop
    displacement = 1e-2 * mesh.points[:below] @ np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    reference = reference_displacement(mesh, 2, displacement)
    cells = mesh.cells[mesh.cell_range(2)]
    old = cells < below
    np.testing.assert_allclose(reference[old], displacement[cells[old]], atol=1e-12)
    assert np.abs(reference[mesh.lattice[cells][..., 2] == 8]).max() == 0.0


def test_rigid_motion_is_found_and_undone() -> None:
    rng = np.random.default_rng(0)
    points, weight = rng.random((50, 3)) * 20.0, rng.random(50)
    angle = 0.02
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = points @ turn.T + [0.1, -0.2, 0.3]
    rotation, translation = rigid_motion(points, moved - points, weight)
    np.testing.assert_allclose(moved @ rotation.T + translation, points, atol=1e-12)
    np.testing.assert_allclose(rotation, turn.T, atol=1e-12)


def test_singular_systems_are_refused() -> None:
    with pytest.raises(CaseError, match=r"singular|positive definite"):
        linear.factorise(sparse.csr_array(np.array([[1.0, 1.0], [0.0, 1.0]]))).solve(np.ones(2))
