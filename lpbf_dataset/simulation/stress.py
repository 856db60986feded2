"""Stress fields from elastic strain: Cauchy, von Mises, principal values and directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stress_fields(
    strain: NDArray[np.float64], elastic: NDArray[np.float64]
) -> dict[str, NDArray[np.float32]]:
    """Every stress and strain field of a step.

    Parameters
    ----------
    strain : (n, 6) float64 ndarray
        Elastic strain xx, yy, zz, xy, xz, yz with engineering shear.
    elastic : (6, 6) float64 ndarray
        Elasticity matrix in MPa.

    Returns
    -------
    dict of str to float32 ndarray
        Named and in the units of `lpbf_dataset.schema.VARIABLES`.  ``elastic_strain`` has
        engineering shear and satisfies Hooke's law with ``cauchy_stress``; Netfabb's field of that
        name still contains the inherent strain.  The principal stresses are those of
        ``cauchy_stress``; Netfabb's are those of the tensor with xz and yz exchanged.
    """
    stress = strain @ elastic
    values, directions = principal(stress)
    fields = {"cauchy_stress": stress, "elastic_strain": strain, "von_mises_stress": von_mises(stress)}
    for place, name in enumerate(("max", "mid", "min")):
        fields[f"principal_stress_{name}"] = values[:, place]
        fields[f"principal_stress_direction_{name}"] = directions[:, place]
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in fields.items()}


def von_mises(stress: NDArray[np.float64]) -> NDArray[np.float64]:
    """Von Mises stress, (n,), of stresses (n, 6) in the order xx, yy, zz, xy, xz, yz."""
    xx, yy, zz, xy, xz, yz = stress.T
    normal = (xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2
    return np.sqrt(0.5 * normal + 3.0 * (xy**2 + xz**2 + yz**2))


@numba.njit(cache=True)
def principal(stress: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal stresses and directions by cyclic Jacobi rotations (Golub and Van Loan, 8.5).

    Parameters
    ----------
    stress : (n, 6) float64 ndarray
        xx, yy, zz, xy, xz, yz.

    Returns
    -------
    values : (n, 3) float64 ndarray
        Largest first.
    directions : (n, 3, 3) float64 ndarray
        Unit vector of each value in its row.
    """
    count = len(stress)
    values = np.empty((count, 3))
    directions = np.empty((count, 3, 3))
    a, v = np.empty((3, 3)), np.empty((3, 3))
    for n in range(count):
        xx, yy, zz, xy, xz, yz = stress[n]
        a[0, 0], a[1, 1], a[2, 2] = xx, yy, zz
        a[0, 1] = a[1, 0] = xy
        a[0, 2] = a[2, 0] = xz
        a[1, 2] = a[2, 1] = yz
        v[:] = np.eye(3)
        scale = np.abs(a).max()
        for _ in range(12):
            if abs(a[0, 1]) + abs(a[0, 2]) + abs(a[1, 2]) <= 1e-14 * scale:
                break
            for p, q in ((0, 1), (0, 2), (1, 2)):
                _rotate(a, v, p, q)
        order = np.argsort(-np.diag(a))
        for place in range(3):
            values[n, place] = a[order[place], order[place]]
            directions[n, place] = v[:, order[place]]
    return values, directions


@numba.njit(cache=True)
def _rotate(a: NDArray[np.float64], v: NDArray[np.float64], p: int, q: int) -> None:
    """Rotate so that a[p, q] vanishes, and the axes v along."""
    if a[p, q] == 0.0:
        return
    tau = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
    t = (1.0 if tau >= 0.0 else -1.0) / (abs(tau) + np.sqrt(1.0 + tau * tau))
    c = 1.0 / np.sqrt(1.0 + t * t)
    s = t * c
    for k in range(3):
        a[k, p], a[k, q] = c * a[k, p] - s * a[k, q], s * a[k, p] + c * a[k, q]
    for k in range(3):
        a[p, k], a[q, k] = c * a[p, k] - s * a[q, k], s * a[p, k] + c * a[q, k]
    for k in range(3):
        v[k, p], v[k, q] = c * v[k, p] - s * v[k, q], s * v[k, p] + c * v[k, q]
