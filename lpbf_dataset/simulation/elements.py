"""The 8-node hexahedron on an axis-aligned box: elasticity with B-bar, and heat conduction.

An octree holds a handful of distinct boxes, so each matrix is computed once per box.  Strains
and stresses are vectors in the order xx, yy, zz, xy, xz, yz, with engineering shear strains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.simulation.octree import CORNERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAUSS_POINTS = (2.0 * CORNERS - 1.0) / np.sqrt(3.0)
"""2 x 2 x 2 Gauss points on [-1, 1]^3, each of weight 1, in the order of the corners."""

EXTRAPOLATION = (1.0 + np.sqrt(3.0) * np.einsum("ic,jc->ijc", 2.0 * CORNERS - 1.0, 2.0 * CORNERS - 1.0)).prod(
    axis=2
) / 8.0
"""Values at the corners (rows) of the trilinear field through values at the Gauss points (columns)."""


def unique_boxes(box: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct boxes and which one each cell is.

    Parameters
    ----------
    box : (cells, 3) float64 ndarray
        Edge lengths in mm.  Edges equal to within 1e-9 mm are the same.

    Returns
    -------
    boxes : (kinds, 3) float64 ndarray
    kind : (cells,) int64 ndarray
    """
    _, first, kind = np.unique(np.round(box, 9), axis=0, return_index=True, return_inverse=True)
    return box[first], kind.ravel()


def elasticity(young: float, poisson: float) -> NDArray[np.float64]:
    """Isotropic elasticity matrix D, (6, 6) float64, in the unit of `young`."""
    first = young * poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson))
    shear = young / (2.0 * (1.0 + poisson))
    matrix = np.diag([2.0 * shear] * 3 + [shear] * 3)
    matrix[:3, :3] += first
    return matrix


def shape_functions(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trilinear shape functions N, (points, 8), at (points, 3) in [-1, 1]^3."""
    signs = 2.0 * CORNERS - 1.0
    return (1.0 + at[:, None, :] * signs).prod(axis=2) / 8.0


def shape_gradients(box: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradients of the shape functions in 1/mm, (points, 8, 3), at (points, 3) in [-1, 1]^3."""
    signs = 2.0 * CORNERS - 1.0
    factors = 1.0 + at[:, None, :] * signs
    gradients = np.empty((len(at), 8, 3))
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        gradients[:, :, axis] = signs[:, axis] * factors[:, :, others].prod(axis=2) / 8.0
    return gradients * (2.0 / box)


def strain_displacement(box: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strain-displacement matrices B-bar at points of an element.

    The dilatation at every point is replaced by its mean over the element (B-bar of Hughes 1980),
    without which full integration locks.

    Parameters
    ----------
    box : (3,) float64 ndarray
        Edge lengths in mm.
    at : (points, 3) float64 ndarray
        Positions in [-1, 1]^3.

    Returns
    -------
    (points, 6, 24) float64 ndarray
        In 1/mm; the columns are x, y, z of the first node, then of the second, and so on.
    """
    gradient = shape_gradients(box, at)
    x, y, z = np.moveaxis(gradient, 2, 0)
    strain = np.zeros((len(at), 6, 8, 3))
    strain[:, 0, :, 0], strain[:, 1, :, 1], strain[:, 2, :, 2] = x, y, z
    strain[:, 3, :, 0], strain[:, 3, :, 1] = y, x
    strain[:, 4, :, 0], strain[:, 4, :, 2] = z, x
    strain[:, 5, :, 1], strain[:, 5, :, 2] = z, y
    # On a box the mean of the gradient is its value at the centre.
    mean = shape_gradients(box, np.zeros((1, 3)))
    strain[:, :3] += ((mean - gradient) / 3.0)[:, None]
    return strain.reshape(len(at), 6, 24)


def stiffness(box: NDArray[np.float64], elastic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Element stiffness, the integral of B^T D B, (24, 24) float64, N/mm.

    Parameters
    ----------
    box : (3,) float64 ndarray
        Edge lengths in mm.
    elastic : (6, 6) float64 ndarray
        Elasticity matrix in MPa.
    """
    strain = strain_displacement(box, GAUSS_POINTS)
    return np.einsum("gki,kl,glj->ij", strain, elastic, strain, optimize=True) * (box.prod() / 8.0)


def eigenstrain_load(box: NDArray[np.float64], elastic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nodal forces of a uniform stress-free strain, the integral of B^T D, (24, 6) float64, N."""
    return strain_displacement(box, np.zeros((1, 3)))[0].T @ elastic * box.prod()


def corner_strain(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strain at the corners, extrapolated from the Gauss points, (8, 6, 24) float64, 1/mm."""
    return np.einsum("cg,gkj->ckj", EXTRAPOLATION, strain_displacement(box, GAUSS_POINTS))


def conduction(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conduction matrix for unit conductivity, the integral of grad N . grad N, (8, 8) float64, mm."""
    gradient = shape_gradients(box, GAUSS_POINTS)
    return np.einsum("gia,gja->ij", gradient, gradient) * (box.prod() / 8.0)


def capacity(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Consistent capacity matrix for unit heat capacity, the integral of N N, (8, 8) float64, mm3."""
    shape = shape_functions(GAUSS_POINTS)
    return shape.T @ shape * (box.prod() / 8.0)
