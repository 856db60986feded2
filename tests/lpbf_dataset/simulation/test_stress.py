"""Stress invariants against NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lpbf_dataset.schema import VARIABLES
from lpbf_dataset.simulation.elements import elasticity
from lpbf_dataset.simulation.stress import principal, stress_fields, von_mises


def as_matrices(stress: np.ndarray) -> np.ndarray:
    return stress[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)


# Multiples of 1 kPa: LAPACK loses six digits when one component is as small as 1e-159.
@given(hnp.arrays(np.float64, (4, 6), elements=st.integers(-(10**7), 10**7).map(lambda n: n / 1000.0)))
def test_principal_values_and_directions(stress: np.ndarray) -> None:
    values, directions = principal(stress)
    matrices = as_matrices(stress)
    scale = np.abs(stress).max() + 1.0
    np.testing.assert_allclose(values[:, ::-1], np.linalg.eigvalsh(matrices), atol=1e-11 * scale)
    np.testing.assert_allclose(directions @ directions.transpose(0, 2, 1), [np.eye(3)] * 4, atol=1e-12)
    rebuilt = np.einsum("nk,nki,nkj->nij", values, directions, directions)
    np.testing.assert_allclose(rebuilt, matrices, atol=1e-10 * scale)


def test_von_mises_of_known_states() -> None:
    states = np.array([[100.0, 0, 0, 0, 0, 0], [50.0, 50, 50, 0, 0, 0], [0, 0, 0, 0, 10.0, 0]])
    np.testing.assert_allclose(von_mises(states), [100.0, 0.0, 10.0 * np.sqrt(3.0)], atol=1e-12)


def test_fields_are_those_of_the_schema() -> None:
    strain = np.random.default_rng(0).standard_normal((5, 6)) * 1e-3
    elastic = elasticity(150e3, 0.278)
    fields = stress_fields(strain, elastic)
    for name, values in fields.items():
        assert values.shape == (5, *VARIABLES[name].row_shape)
        assert values.dtype == VARIABLES[name].dtype
    np.testing.assert_allclose(fields["cauchy_stress"], strain @ elastic, rtol=1e-5)
    assert (fields["principal_stress_max"] >= fields["principal_stress_min"]).all()
