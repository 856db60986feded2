"""A short description of the shape of a part, by which near-duplicates are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.mesh import cell_volumes

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = 24
"""Values that describe a distribution of lengths."""

DESCRIPTOR_SIZE = 1 + 3 + 2 * QUANTILES

SIZE_WEIGHT = 0.5
"""How much the logarithm of the size counts.  A scaled copy is another print, as layers and walls do not
scale along; but size is also what changes most when a thin part is meshed anew."""

POINTS = 8192
"""Points spread over the volume."""

PARTNERS = 16
"""Other points to which the distance of each point is taken.  With so many points and partners, another
numbering of the cells moves a descriptor by less than 0.002."""

_SHUFFLE = 64
_LEVELS = (np.arange(QUANTILES) + 0.5) / QUANTILES


def shape_descriptor(points: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float64]:
    """Describe a part so that the distance of two descriptors tells how differently they are shaped.

    All is taken from points spread evenly over the volume, so that it matters little how fine, and along
    which axes, the part is meshed; the area of a voxel mesh, in contrast, is up to 1.7 times that of the
    part where it stands oblique to the axes.  Rotations, translations and reflections change nothing.
    Entries but the first are lengths relative to the size, the root mean square distance of two points:

    * the logarithm of the size in mm, times `SIZE_WEIGHT`;
    * the three principal radii of gyration, largest first;
    * quantiles of the distance of two points (the shape distribution D2 of Osada et al., ACM
      Transactions on Graphics 21, 2002, over the volume), over the root of their number;
    * quantiles of the distance of a point to the centroid, likewise.

    So the Euclidean distance of two descriptors is in the main the root mean square difference of such
    lengths: 0.03 stands for parts that differ by some 3 % of their size.

    Parameters
    ----------
    points : (n, 3) float ndarray
        Node positions, mm.
    cells : (m, 8) integer ndarray
        Nodes of each hexahedron, VTK order.

    Returns
    -------
    (DESCRIPTOR_SIZE,) float64 ndarray

    Raises
    ------
    ValueError
        If there is no cell, `cells` is not a connectivity over `points`, or a cell is inverted, flat or
        not finite.
    """
    spread = _points_in_volume(np.asarray(points, dtype=np.float64), cells)
    spread -= spread.mean(axis=1, keepdims=True)
    to_centroid = np.sqrt((spread**2).sum(axis=0))
    radii = np.sqrt(np.linalg.eigvalsh(np.cov(spread))[::-1])
    size = np.sqrt(2 * (to_centroid**2).mean())
    lengths = [radii, _quantiles(_pair_distances(spread)), _quantiles(to_centroid)]
    return np.concatenate([[SIZE_WEIGHT * np.log(size)], *(length / size for length in lengths)])


def _quantiles(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.quantile(lengths, _LEVELS) / np.sqrt(QUANTILES)


def _points_in_volume(points: NDArray[np.float64], cells: NDArray[np.integer]) -> NDArray[np.float64]:
    """Spread points evenly over the volume, outwards from the centroid, (3, POINTS).

    Point i lies in the cell up to which there are i / POINTS of the volume, the cells in order of their
    distance to the centroid: so neither their numbering nor their axes matter, but for cells at the same
    distance.  Within the cell, taken for a parallelepiped as in every octree, it lies at multiples of roots
    of primes modulo one: Richtmyer's sequence (Niederreiter, *Random Number Generation and Quasi-Monte
    Carlo Methods*, SIAM 1992, section 3.1).
    """
    volumes = cell_volumes(points, cells)
    if not len(cells):
        raise ValueError("a mesh without cells has no shape")
    if not (volumes > 0).all():
        raise ValueError(f"cell {int(np.argmin(volumes > 0))} is inverted, flat or not finite")
    centres = (points[cells[:, 0]] + points[cells[:, 6]]) / 2
    centroid = volumes @ centres / volumes.sum()
    order = np.argsort(((centres - centroid) ** 2).sum(axis=1))
    below = np.cumsum(volumes[order])
    place = (np.arange(POINTS) + 0.5) / POINTS * below[-1]
    chosen = cells[order[np.searchsorted(below, place)]]
    corner = points[chosen[:, 0]]
    spread = corner.copy()
    for neighbour, prime in ((1, 2), (3, 3), (4, 5)):
        local = np.arange(POINTS) * np.sqrt(prime) % 1.0
        spread += local[:, None] * (points[chosen[:, neighbour]] - corner)
    return np.ascontiguousarray(spread.T)


def _pair_distances(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point to PARTNERS others, evenly apart in their order, (PARTNERS, POINTS)."""
    place = np.arange(POINTS)
    # In a symmetric part cells at one distance to the centroid take turns, the left one and the right one
    # say, so that all partners at an even distance in order would be on the same side.
    others = spread[:, np.argsort(place + _SHUFFLE * (place * np.sqrt(7) % 1.0))]
    distances = np.empty((PARTNERS, POINTS))
    for i in range(PARTNERS):
        # Half the turns suffice: the others give the same pairs the other way round.
        partner = np.roll(others, (2 * i + 1) * POINTS // (4 * PARTNERS), axis=1)
        distances[i] = np.sqrt(((spread - partner) ** 2).sum(axis=0))
    return distances
