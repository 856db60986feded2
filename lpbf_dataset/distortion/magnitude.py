"""How much a surface moves, in the figures that a drawing tolerates or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.distortion.surfaces import vertex_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from trimesh import Trimesh


@dataclass(frozen=True)
class Magnitude:
    """Lengths of the displacement of a surface, each vertex weighted with its area.

    Parameters
    ----------
    maximum : float
        Longest, mm.
    p95 : float
        Not exceeded on 95 % of the area, mm.
    rms : float
        Root mean square, mm.
    vertex : int
        Where it is longest.
    beyond : float
        Share of the area where it is longer than the tolerance.
    """

    maximum: float
    p95: float
    rms: float
    vertex: int
    beyond: float


def magnitude(surface: Trimesh, displacement: NDArray[np.floating], tolerance: float) -> Magnitude:
    """Measure a displacement as it is, with no rigid motion taken out.

    Parameters
    ----------
    surface : trimesh.Trimesh
        In mm, with vertices dense enough for the areas to be weights; see `refined`.
    displacement : (v, 3) float ndarray
        Of its vertices, mm.
    tolerance : float
        mm.

    Raises
    ------
    ValueError
        If there is not one finite vector for each vertex.
    """
    if displacement.shape != (len(surface.vertices), 3) or not np.isfinite(displacement).all():
        raise ValueError(
            f"{len(surface.vertices)} vertices need as many finite vectors, not {displacement.shape}"
        )
    area = vertex_areas(surface)
    lengths = np.linalg.norm(np.asarray(displacement, dtype=np.float64), axis=1)
    order = np.argsort(lengths, kind="stable")
    covered = np.cumsum(area[order])
    return Magnitude(
        maximum=float(lengths.max()),
        p95=float(lengths[order[np.searchsorted(covered, 0.95 * covered[-1])]]),
        rms=float(np.sqrt(np.average(lengths**2, weights=area))),
        vertex=int(lengths.argmax()),
        beyond=float(area[lengths > tolerance].sum() / area.sum()),
    )
