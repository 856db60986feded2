"""How far a printed part is from its nominal shape, measured as on a coordinate measuring machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.distortion.surfaces import vertex_areas
from lpbf_dataset.simulation.mechanics import rigid_motion

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from trimesh import Trimesh


@dataclass(frozen=True, eq=False)
class Deviation:
    """Deviation of a printed shape from the nominal one, vertex by vertex.

    Parameters
    ----------
    offsets : (v, 3) float64 ndarray
        From each nominal vertex to the same vertex of the printed shape, which was moved rigidly to lie as
        near to the nominal one as can be, in mm.
    rms : float
        Root of the mean square length of the offsets, each weighted by the area of its vertex, mm.
    p95 : float
        Length that the offsets on 95 % of the area do not exceed, mm.
    maximum : float
        Length of the longest offset, mm.
    rms_unaligned : float
        The RMS without the rigid motion, mm.
    """

    offsets: NDArray[np.float64]
    rms: float
    p95: float
    maximum: float
    rms_unaligned: float


def deviation(nominal: Trimesh, printed: NDArray[np.floating], *, align: bool = True) -> Deviation:
    """Measure a printed shape against the nominal one.

    The rigid motion between the two frames is taken out by a best fit (Kabsch 1976) weighted with the areas
    of the vertices: how a part lies on the machine that measures it is no property of the part.
    Vertices are compared one to one, so that a shift along the surface counts as well.

    Parameters
    ----------
    nominal : trimesh.Trimesh
        In mm, with vertices dense enough for the areas to be weights; see `refined`.
    printed : (v, 3) float ndarray
        Where the vertices of `nominal` came out, in mm.
    align : bool, optional
        Take the rigid motion out.  Of a displacement that is known along some axes alone, none can be.

    Returns
    -------
    Deviation

    Raises
    ------
    ValueError
        If there is not one finite position for each vertex.
    """
    points = np.asarray(nominal.vertices)
    if printed.shape != points.shape or not np.isfinite(printed).all():
        raise ValueError(f"{len(points)} vertices need as many finite positions, not {printed.shape}")
    area = vertex_areas(nominal)
    raw = np.asarray(printed, dtype=np.float64) - points
    offsets = raw
    if align:
        rotation, translation = rigid_motion(points, raw, area)
        offsets = printed @ rotation.T + translation - points
    lengths = np.linalg.norm(offsets, axis=1)
    order = np.argsort(lengths)
    covered = np.cumsum(area[order])
    return Deviation(
        offsets,
        rms=float(np.sqrt(np.average(lengths**2, weights=area))),
        p95=float(lengths[order[np.searchsorted(covered, 0.95 * covered[-1])]]),
        maximum=float(lengths.max()),
        rms_unaligned=float(np.sqrt(np.average((raw**2).sum(axis=1), weights=area))),
    )
