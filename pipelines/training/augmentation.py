"""Symmetries of the process about the vertical axis, as augmentation of training cases.

A mirrored or turned part warps as the mirrored or turned warp of the part where nothing else tells x from
y: the inherent strain is the same along both, and its relaxation depends on the slice alone.  That
holds for the embedded solver with every material, whose in-plane strain is one number, and for the
Netfabb runs it was identified from, whose scan direction turns from layer to layer.  It does not hold for
results with one scan direction in all layers; a store does not say how it was scanned.  Stresses of the
embedded solver turn exactly, displacements but for a few nodes over the seam of two layer groups, where a
tie between nearest nodes falls otherwise.

All elements of the group map each axis to an axis, so fields are exact: their components swap and change
sign.  Positions are exact to a rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lpbf_dataset.schema import AXIS_DIRECTIONS, TENSOR_COMPONENTS, VARIABLES, component_names
from pipelines.console import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case

    CaseT = TypeVar("CaseT", bound=Case)

SYMMETRIES: dict[str, NDArray[np.int64]] = {
    "mirror_x": np.diag([-1, 1, 1]),
    "mirror_y": np.diag([1, -1, 1]),
    "rotate_z": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
}
"""x to -x, y to -y, and 90 degrees about z, counter-clockwise seen from above."""

_MIRRORED_VERTICES = [1, 0, 3, 2, 5, 4, 7, 6]
"""Corners of a VTK hexahedron in an order that turns one inside out."""


def check_symmetries(names: Sequence[str]) -> None:
    """Raise `UserError` unless these are symmetries."""
    for name in names:
        if name not in SYMMETRIES:
            raise UserError(f"--augment: no symmetry named {name!r}; there are {', '.join(SYMMETRIES)}")


def symmetry_group(names: Sequence[str]) -> NDArray[np.int64]:
    """Generate all products of symmetries.

    Parameters
    ----------
    names : sequence of str
        Of `SYMMETRIES`; none gives the identity alone.

    Returns
    -------
    (g, 3, 3) int64 ndarray
        Orthogonal matrices of -1, 0 and 1, the identity first; g is 1, 2, 4 or 8.
    """
    group = [np.eye(3, dtype=np.int64)]
    for element in group:
        for name in names:
            product = SYMMETRIES[name] @ element
            if not any(np.array_equal(product, known) for known in group):
                group.append(product)
    return np.stack(group)


def turn(case: CaseT, matrix: NDArray[np.int64]) -> CaseT:
    """Mirror or turn a case about the vertical axis through the middle of its bounding box.

    Parameters
    ----------
    case : lpbf_dataset.Case
        With its points.
    matrix : (3, 3) int64 ndarray
        An element of `symmetry_group`.

    Returns
    -------
    Case
        With the same variables, nodes, cells and edges in the same order.
    """
    points = case.points.astype(np.float64)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    turned: dict[str, NDArray[np.generic]] = {
        "points": ((points - centre) @ matrix.T + centre).astype(np.float32)
    }
    for name, values in case.variables.items():
        if name == "points":
            continue
        columns, signs = signed_columns(name, matrix)
        turned[name] = values if columns is None else values[:, columns] * signs.astype(values.dtype)
    if "cells" in turned and np.linalg.det(matrix) < 0:
        turned["cells"] = turned["cells"][:, _MIRRORED_VERTICES]
    return replace(case, variables=turned)


def signed_columns(
    variable: str, matrix: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Tell what becomes of the components of a variable.

    Parameters
    ----------
    variable : str
        Name in `lpbf_dataset.schema.VARIABLES`.
    matrix : (3, 3) int64 ndarray
        An element of `symmetry_group`.

    Returns
    -------
    columns : (k,) int64 ndarray or None
        Component that each component becomes equal to; None for what does not change: scalars, and
        numbers of nodes.
    signs : (k,) int64 ndarray
        What it is multiplied with besides.
    """
    names = component_names(VARIABLES[variable])
    if not names:
        return None, np.empty(0, dtype=np.int64)
    # Row i of the matrix has one entry: axis i comes from that axis, with that sign.
    axes = np.abs(matrix).argmax(axis=1)
    signs = matrix[np.arange(3), axes]
    if names == ("x", "y", "z"):
        return axes, signs
    if names == TENSOR_COMPONENTS:
        # T'_ij = R_ia R_jb T_ab has one term.
        pairs = np.array([["xyz".index(axis) for axis in name] for name in names])
        sources = ["".join("xyz"[axis] for axis in sorted(pair)) for pair in axes[pairs]]
        return np.array([names.index(source) for source in sources]), signs[pairs].prod(axis=1)
    assert names == AXIS_DIRECTIONS
    # Three negative directions, then three positive ones: what lies along a direction now lay along the
    # one that was turned into it.
    backward, forward = np.where(signs > 0, axes, axes + 3), np.where(signs > 0, axes + 3, axes)
    return np.concatenate([backward, forward]), np.ones(len(names), dtype=np.int64)
