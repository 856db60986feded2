"""The element against exact integrals, scikit-fem, and the loop over its definition."""

from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.simulation.assembly import assemble, scatter
from lpbf_dataset.simulation.elements import (
    GAUSS_POINTS,
    capacity,
    conduction,
    corner_strain,
    eigenstrain_load,
    elasticity,
    stiffness,
    strain_displacement,
    unique_boxes,
)
from lpbf_dataset.simulation.octree import CORNERS

BOX = np.array([0.7, 1.1, 0.5])
ELASTIC = elasticity(150e3, 0.278)


def linear_displacement(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a displacement linear in the position, and its strain with engineering shear."""
    gradient = 1e-3 * np.array([[1.0, 2.0, -1.0], [0.5, -2.0, 3.0], [1.5, 0.3, 0.7]])
    e = gradient + gradient.T
    strain = np.array([e[0, 0] / 2, e[1, 1] / 2, e[2, 2] / 2, e[0, 1], e[0, 2], e[1, 2]])
    return points @ gradient.T, strain


def test_linear_displacement_has_its_strain_everywhere() -> None:
    displacement, strain = linear_displacement(CORNERS * BOX)
    for at in (GAUSS_POINTS, np.zeros((1, 3))):
        np.testing.assert_allclose(strain_displacement(BOX, at) @ displacement.ravel(), [strain] * len(at))
    np.testing.assert_allclose(corner_strain(BOX) @ displacement.ravel(), [strain] * 8)


def test_stiffness_is_symmetric_with_six_rigid_motions() -> None:
    matrix = stiffness(BOX, ELASTIC)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9 * matrix.max())
    values = np.linalg.eigvalsh(matrix)
    assert (np.abs(values[:6]) < 1e-9 * values[-1]).all()
    assert values[6] > 1e-4 * values[-1]


def test_energy_of_a_uniform_strain() -> None:
    displacement, strain = linear_displacement(CORNERS * BOX)
    u = displacement.ravel()
    assert u @ stiffness(BOX, ELASTIC) @ u == pytest.approx(strain @ ELASTIC @ strain * BOX.prod())
    # An eigenstrain equal to the strain leaves no force.
    np.testing.assert_allclose(
        stiffness(BOX, ELASTIC) @ u,
        eigenstrain_load(BOX, ELASTIC) @ strain,
        atol=1e-9 * np.abs(ELASTIC).max(),
    )


def test_mean_dilatation_does_not_lock() -> None:
    # Nearly incompressible in bending: full integration stores the energy of the dilatation it cannot avoid.
    x, y, _ = (2 * CORNERS - 1).T
    bending = np.column_stack([x * y, -0.5 * x * x, 0 * x]).ravel()
    nearly = elasticity(1.0, 0.4999)
    cube = np.ones(3)
    assert bending @ stiffness(cube, nearly) @ bending < 10.0


def test_conduction_and_capacity() -> None:
    temperature = (CORNERS * BOX) @ [2.0, -1.0, 3.0]
    assert temperature @ conduction(BOX) @ temperature == pytest.approx(14.0 * BOX.prod())
    assert capacity(BOX).sum() == pytest.approx(BOX.prod())


def test_boxes_equal_to_rounding_are_one() -> None:
    boxes, kind = unique_boxes(np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0 + 1e-13, 1.0, 1.0]]))
    assert len(boxes) == 2
    assert kind[0] == kind[2] != kind[1]


def test_assembly_agrees_with_a_dense_loop() -> None:
    rng = np.random.default_rng(0)
    cells = rng.permuted(np.tile(np.arange(20, dtype=np.int32), (5, 1)), axis=1)[:, :8].copy()
    kind = rng.integers(0, 2, 5)
    matrices = rng.random((2, 24, 24))
    dense = np.zeros((60, 60))
    for cell, which in zip(cells, kind, strict=True):
        dofs = [3 * node + axis for node in cell for axis in range(3)]
        for i, p in enumerate(dofs):
            for j, q in enumerate(dofs):
                dense[p, q] += matrices[which, i, j]
    np.testing.assert_allclose(assemble(cells, kind, matrices, 20).toarray(), dense)

    values, total = rng.random((5, 24)), np.zeros((20, 3))
    scatter(cells, kind, matrices, values, total)
    expected = np.zeros((20, 3))
    for c in range(5):
        np.add.at(expected, cells[c], (matrices[kind[c]] @ values[c]).reshape(8, 3))
    np.testing.assert_allclose(total, expected)


def test_scikit_fem_assembles_the_same_stiffness() -> None:
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import ddot, div, eye, sym_grad

    mesh = skfem.MeshHex.init_tensor(np.linspace(0, 2, 4), np.linspace(0, 1, 3), np.linspace(0, 1.5, 3))
    basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementHex1()), intorder=3)
    dilatation = skfem.Basis(mesh, skfem.ElementHex0(), intorder=3)
    mu, bulk = ELASTIC[3, 3], ELASTIC[0, 0] - 4.0 * ELASTIC[3, 3] / 3.0

    @skfem.BilinearForm
    def deviatoric(u, v, _w):
        def dev(w):
            return sym_grad(w) - eye(div(w) / 3.0, 3)

        return 2.0 * mu * ddot(dev(u), dev(v))

    # Mean dilatation as a mixed method: element-wise constant pressure, condensed out.
    pressure = skfem.BilinearForm(lambda u, q, _w: div(u) * q).assemble(basis, dilatation)
    mass = skfem.BilinearForm(lambda p, q, _w: p * q).assemble(dilatation)
    mean = pressure.multiply(1.0 / mass.diagonal()[:, None])
    reference = (deviatoric.assemble(basis) + bulk * pressure.T @ mean).toarray()

    x, y, z = mesh.p[:, mesh.t.T]
    by_z_y_x = np.take_along_axis(mesh.t.T, np.lexsort((x, y, z), axis=-1), axis=1)
    cells = by_z_y_x[:, [0, 1, 3, 2, 4, 5, 7, 6]].astype(np.int32)
    box = mesh.p.T[cells[:, 6]] - mesh.p.T[cells[:, 0]]
    boxes, kind = unique_boxes(box)
    ours = assemble(cells, kind, np.array([stiffness(b, ELASTIC) for b in boxes]), mesh.p.shape[1])
    dofs = basis.nodal_dofs.T.ravel()
    np.testing.assert_allclose(ours.toarray(), reference[np.ix_(dofs, dofs)], atol=1e-9 * ours.max())
