"""Geometry features of a case: how far each node is from the surface, and in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from lpbf_dataset.mesh import (
    axis_distances,
    boundary,
    node_distance,
    signed_distance,
    surface_axis_distances,
    unique_edges,
)
from lpbf_dataset.mesh.triangles import is_closed, welded
from lpbf_dataset.schema import FEATURE_VARIABLES
from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.mesh import Boundary
    from lpbf_dataset.sources.base import Surface

SdfSurface = Literal["mesh", "stl"]


def mesh_surface(points: NDArray[np.floating], cells: NDArray[np.integer]) -> Boundary:
    """Find the surface of the mesh of a case, in which every node is a corner of a cell.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions in mm.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.

    Returns
    -------
    Boundary
        Closed, see `lpbf_dataset.mesh.boundary`.

    Raises
    ------
    CaseError
        INVALID_MESH if the cells do not form a mesh with a closed surface.
    """
    try:
        surface = boundary(points, cells)
    except ValueError as error:
        raise CaseError(FailureReason.INVALID_MESH, str(error)) from error
    used = np.zeros(len(points), dtype=bool)
    used[cells] = True
    if not used.all():
        raise CaseError(FailureReason.INVALID_MESH, f"node {np.argmin(used)} is a corner of no cell")
    return surface


def geometry_features(
    points: NDArray[np.floating],
    cells: NDArray[np.integer],
    surface: Boundary,
    part: Surface | None = None,
    threads: int = 1,
) -> dict[str, NDArray[np.generic]]:
    """Compute every variable of `lpbf_dataset.schema.FEATURE_VARIABLES`.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions in mm.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    surface : Boundary
        That of the mesh, from `mesh_surface`.
    part : Surface, optional
        The part as designed, to whose surface the distances are then taken instead of to that of the
        mesh; nodes outside the part have a positive `sdf` and no axis distance.  ``on_surface`` always
        tells of the mesh.
    threads : int
        Threads that share the work.

    Returns
    -------
    dict of str to ndarray
        Dtypes, shapes and units of the schema.

    Raises
    ------
    CaseError
        OPEN_SURFACE or SURFACE_MISMATCH if the surface of the part does not serve.
    """
    if part is None:
        sdf, direction = node_distance(points, surface, threads)
        along_axes = axis_distances(points, cells, threads)
    else:
        vertices, triangles = _closed_surface(part, points, cells)
        sdf, direction = signed_distance(points, vertices, triangles, threads)
        along_axes = surface_axis_distances(points, vertices, triangles, threads)
    features = (
        sdf.astype(np.float32),
        direction.astype(np.float32),
        along_axes.astype(np.float32),
        surface.is_surface_node,
    )
    return dict(zip(FEATURE_VARIABLES, features, strict=True))


def _closed_surface(
    part: Surface, points: NDArray[np.floating], cells: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices and outward triangles of the part, where the mesh is."""
    solid = welded(part.triangles)
    if not is_closed(solid):
        raise CaseError(FailureReason.OPEN_SURFACE, f"{part.name} is not closed: inside is not defined")
    triangles = solid.faces if solid.volume > 0 else solid.faces[:, ::-1]
    return solid.vertices + _offset(part.name, solid.bounds, points, cells), triangles


def _offset(
    name: str, bounds: NDArray[np.float64], points: NDArray[np.floating], cells: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the translation that brings the part to the mesh; none if they agree to the size of a cell."""
    low, high = points.min(axis=0), points.max(axis=0)
    edges = points[unique_edges(cells, len(points))]
    cell = np.abs(edges[:, 1] - edges[:, 0]).max(axis=1).min() * 2
    if np.abs(bounds[1] - bounds[0] - (high - low)).max() > cell:
        raise CaseError(
            FailureReason.SURFACE_MISMATCH,
            f"{name} measures {_sizes(bounds[1] - bounds[0])} mm, its mesh {_sizes(high - low)} mm",
        )
    offset: NDArray[np.float64] = (low + high - bounds.sum(axis=0)) / 2
    offset[2] = low[2] - bounds[0, 2]
    return offset if np.abs(offset).max() > cell else np.zeros(3)


def _sizes(extent: NDArray[np.floating]) -> str:
    return " x ".join(f"{length:.4g}" for length in extent)
