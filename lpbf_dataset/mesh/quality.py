"""Shape of hexahedral cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from lpbf_dataset.mesh.bounding_boxes import in_chunks
from lpbf_dataset.mesh.topology import (
    HEXAHEDRON_EDGES,
    HEXAHEDRON_FACES,
    LIGHT_CHUNK,
    check_cells,
    check_points,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def aspect_ratios(
    points: NDArray[np.floating], cells: NDArray[np.integer], threads: int = 1
) -> NDArray[np.float64]:
    """Longest over shortest of the 12 edges of each cell.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    threads : int, optional
        Threads that share the cells out; the result does not depend on it.

    Returns
    -------
    (m,) float64 ndarray
        Dimensionless, at least 1; infinite where an edge has no length, NaN where a corner is at no finite
        position.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, or an array has the wrong shape or dtype.
    """
    points = check_points(points)
    cells = check_cells(cells, len(points))
    ratios = np.empty(len(cells))

    def kernel(start: int, stop: int) -> None:
        _aspect_ratios(points, cells[start:stop], HEXAHEDRON_EDGES, ratios[start:stop])

    in_chunks(kernel, len(cells), threads, LIGHT_CHUNK)
    return ratios


def cell_volumes(
    points: NDArray[np.floating], cells: NDArray[np.integer], threads: int = 1
) -> NDArray[np.float64]:
    """Volume of each trilinear hexahedron, exact also where its faces are warped.

    By the divergence theorem it is the sum of the tetrahedra that the faces span with one corner;
    the flux through a bilinear face is the mean over its two triangulations (Grandy, *Efficient
    computation of volume of hexahedral cells*, LLNL UCRL-ID-128886, 1997).

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.
    threads : int, optional
        Threads that share the cells out; the result does not depend on it.

    Returns
    -------
    (m,) float64 ndarray
        In the cube of the unit of `points`; negative for an inverted cell, NaN or infinite for one with a
        corner at no finite position.

    Raises
    ------
    ValueError
        If `cells` is not a connectivity over `points`, or an array has the wrong shape or dtype.
    """
    points = check_points(points)
    cells = check_cells(cells, len(points))
    volumes = np.empty(len(cells))

    def kernel(start: int, stop: int) -> None:
        _cell_volumes(points, cells[start:stop], HEXAHEDRON_FACES, volumes[start:stop])

    in_chunks(kernel, len(cells), threads, LIGHT_CHUNK)
    return volumes


@njit(cache=True, nogil=True, error_model="numpy")
def _aspect_ratios(
    points: NDArray[np.floating],
    cells: NDArray[np.int32],
    corners: NDArray[np.int64],
    ratios: NDArray[np.float64],
) -> None:
    for i, cell in enumerate(cells):
        shortest, longest, total = np.inf, 0.0, 0.0
        for a, b in corners:
            squared = 0.0
            for axis in range(3):
                difference = np.float64(points[cell[b], axis]) - np.float64(points[cell[a], axis])
                squared += difference * difference
            shortest, longest = min(shortest, squared), max(longest, squared)
            total += squared
        # Comparisons pass over NaN; and a cell whose edges all have no length would be NaN.
        if not np.isfinite(total):
            ratios[i] = np.nan
        else:
            ratios[i] = np.sqrt(longest / shortest) if shortest > 0 else np.inf


@njit(cache=True, nogil=True)
def _cell_volumes(
    points: NDArray[np.floating],
    cells: NDArray[np.int32],
    faces: NDArray[np.int64],
    volumes: NDArray[np.float64],
) -> None:
    corner = np.empty((8, 3))
    for i, cell in enumerate(cells):
        for j in range(8):
            for axis in range(3):
                corner[j, axis] = np.float64(points[cell[j], axis]) - np.float64(points[cell[0], axis])
        sixfold = 0.0
        for a, b, c, d in faces:
            sixfold += _triple_product(corner[a], corner[b], corner[c])
            sixfold += _triple_product(corner[a], corner[c], corner[d])
            sixfold += _triple_product(corner[a], corner[b], corner[d])
            sixfold += _triple_product(corner[b], corner[c], corner[d])
        volumes[i] = sixfold / 12.0


@njit(cache=True, nogil=True)
def _triple_product(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        + a[1] * (b[2] * c[0] - b[0] * c[2])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
