"""Nodal fields of a hexahedral mesh at the surface of the part that the mesh stands for.

Such a surface runs partly outside of a mesh of voxels, by up to half the diagonal of a cell.  The value of
the nearest node would jump there from step to step of the mesh, by the gradient times the size of a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpbf_dataset.mesh.averages import cell_to_node
from lpbf_dataset.mesh.boundary import boundary
from lpbf_dataset.mesh.distance import signed_distance
from lpbf_dataset.mesh.interpolate import HEXAHEDRON_CORNERS, Interpolator

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Extrapolated(NamedTuple):
    """Values of a field at targets.

    Attributes
    ----------
    values : (k, ...) float64 ndarray
        In the unit of the field.
    distance : (k,) float64 ndarray
        How far each target lies outside the mesh, in its unit; 0 inside.  Beyond a cell or two the mesh lacks
        a piece of the part, and the value means little.
    """

    values: NDArray[np.float64]
    distance: NDArray[np.float64]


class SurfaceInterpolator:
    """Values of nodal fields in and around a hexahedral mesh.

    Inside, the field is trilinear in each cell.  Outside it is the first-order Taylor expansion about the
    nearest point of the mesh, with the gradient of the cells averaged at the nodes (the recovered gradient of
    Zienkiewicz and Zhu, Int. J. Numer. Methods Eng. 24, 1987, pp. 337-357).  Fields linear in space are
    reproduced everywhere.  The result is continuous across the surface of the mesh, and only nodes of the
    cells at the nearest point take part, so that two walls with a gap between them do not mix.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order; m > 0, none of them flat.

    Raises
    ------
    ValueError
        If there are no cells, they are no connectivity over `points` or have no closed surface, or a position
        is not finite.
    """

    def __init__(self, points: NDArray[np.floating], cells: NDArray[np.integer]) -> None:
        self._interpolator = Interpolator(points, cells)
        self._points = np.asarray(points, dtype=np.float64)
        self._cells = cells
        self._boundary = boundary(points, cells)

    def __call__(
        self, values: NDArray[np.number], targets: NDArray[np.floating], threads: int = 1
    ) -> Extrapolated:
        """Evaluate a field.

        Parameters
        ----------
        values : (n, ...) ndarray
            One value, vector or tensor for each node.
        targets : (k, 3) float ndarray
            Positions, in the unit of the nodes.
        threads : int, optional
            Threads to share the targets among; the result does not depend on it.

        Returns
        -------
        Extrapolated
            Values of shape (k, ...) and the distance of each target from the mesh.

        Raises
        ------
        ValueError
            If an array has the wrong shape, or a target is not finite.
        """
        field = np.asarray(values, dtype=np.float64)
        in_cells, inside = self._interpolator(field, targets, threads)
        found = in_cells.astype(np.float64, copy=False)
        distance = np.zeros(len(found))
        if inside.all():
            return Extrapolated(found, distance)
        outside = np.asarray(targets, dtype=np.float64)[~inside]
        away, direction = signed_distance(outside, self._boundary.vertices, self._boundary.triangles, threads)
        offset = -np.abs(away)[:, None] * direction
        gradient = recovered_gradient(self._points, self._cells, field)
        nearest = outside - offset
        at_nearest = self._interpolator(field, nearest, threads).values
        slope = self._interpolator(gradient, nearest, threads).values
        found[~inside] = at_nearest + np.einsum("k...i,ki->k...", slope, offset)
        distance[~inside] = np.abs(away)
        return Extrapolated(found, distance)


def recovered_gradient(
    points: NDArray[np.floating], cells: NDArray[np.integer], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Gradient of a nodal field at the nodes: the mean over the cells at a node of that at their centres.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order, none of them flat.
    values : (n, ...) float ndarray
        One value, vector or tensor for each node.

    Returns
    -------
    (n, ..., 3) float64 ndarray
        Derivative along x, y and z; NaN at a node of no cell.
    """
    # Derivatives of the trilinear shape functions at the centre, with respect to the local coordinates.
    along = (2.0 * HEXAHEDRON_CORNERS - 1.0).T / 4.0
    corners = points[cells] - points[cells[:, :1]]
    jacobian = np.einsum("ra,mai->mri", along, corners)
    columns = np.asarray(values, dtype=np.float64).reshape(len(points), -1)
    local = np.einsum("ra,mac->mrc", along, columns[cells])
    at_centre = np.linalg.solve(jacobian, local).swapaxes(1, 2)
    gradient = cell_to_node(at_centre, cells, len(points)).astype(np.float64, copy=False)
    return gradient.reshape(*np.shape(values), 3)
