"""The surface to print so that what comes off the plate is the nominal one.

Printing displaces the vertices C of a surface by u(C).  Wanted is the C for which C + u(C) is the nominal
surface X, up to a rigid motion.  It is the fixed point of C <- C - w (C + u(C) - X): move against the
displacement, print, and move against what is left.
One step leaves the change of u between X and C, a few per cent; a floor that lifts off the plate changes
what holds the part, and two shapes may then take turns.  The relaxation w follows Aitken's method for
vectors (Irons and Tuck, Int. J. Numer. Methods Eng. 1, 1969, pp. 275-277; Kuettler and Wall, Computational
Mechanics 43, 2008, pp. 61-72, doi 10.1007/s00466-008-0255-5), which settles these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.distortion.deviation import Deviation, deviation
from lpbf_dataset.distortion.soundness import CompensationError, sound_move
from lpbf_dataset.distortion.surfaces import moved, vertex_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from trimesh import Trimesh

    from lpbf_dataset.distortion.sources import DisplacementSource

LEAST_RELAXATION = 0.2
"""Below, an unlucky step would stop the iteration; the displacement is never far from linear."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """A surface that was tried.

    Parameters
    ----------
    surface : trimesh.Trimesh
        What would be printed, mm.
    deviation : Deviation
        Of what comes out from the nominal surface.
    damped : int
        Vertices that could not be moved as far as wanted without the surface folding; see `sound_move`.
    """

    surface: Trimesh
    deviation: Deviation
    damped: int


@dataclass(frozen=True, eq=False)
class Compensation:
    """A surface that comes out nearer to the nominal one than that does itself.

    Parameters
    ----------
    nominal : trimesh.Trimesh
        What is wanted, mm.
    iterates : tuple of Iterate
        What was tried; the first is the nominal surface itself.
    """

    nominal: Trimesh
    iterates: tuple[Iterate, ...]

    @property
    def best(self) -> Iterate:
        """The iterate of the least RMS deviation."""
        return min(self.iterates, key=lambda iterate: iterate.deviation.rms)

    @property
    def surface(self) -> Trimesh:
        """What to print: triangles and vertices as in `nominal`, in the same frame."""
        return self.best.surface

    @property
    def before(self) -> Deviation:
        """Deviation of the nominal surface printed as it is."""
        return self.iterates[0].deviation

    @property
    def after(self) -> Deviation:
        """Deviation that is left, by the displacement that was compensated."""
        return self.best.deviation


def compensate(
    nominal: Trimesh,
    displacement: DisplacementSource,
    *,
    evaluations: int = 5,
    tolerance: float = 0.002,
    align: bool = True,
) -> Compensation:
    """Move the vertices of a surface against the displacement that printing it brings.

    Parameters
    ----------
    nominal : trimesh.Trimesh
        Closed surface in mm, z up, with vertices dense enough to follow the distortion; see `refined`.
    displacement : callable
        Displacement of the vertices of any such surface; see `DisplacementSource`.
    evaluations : int, optional
        Most calls of `displacement`, at least 2: the first one measures the nominal surface.
    tolerance : float, optional
        RMS deviation in mm that is good enough to stop.
    align : bool, optional
        Whether a rigid motion does not count; see `deviation`.

    Returns
    -------
    Compensation

    Raises
    ------
    CompensationError
        If the surface is not closed, the displacement is not one finite vector for each vertex, or the
        surface cannot be moved without intersecting itself.
    ValueError
        If `evaluations` is less than 2.
    """
    if evaluations < 2:
        raise ValueError(f"{evaluations} evaluations cannot compensate; at least 2 are needed")
    if not (len(nominal.faces) and nominal.is_watertight):
        raise CompensationError("the surface is not closed, so that it cannot be printed; repair it")
    weight = vertex_areas(nominal)[:, None]
    vertices, damped, relaxation = np.array(nominal.vertices), 0, 1.0
    iterates: list[Iterate] = []
    for _ in range(evaluations):
        surface = moved(nominal, vertices)
        printed = vertices + _checked(displacement(surface), vertices)
        iterates.append(Iterate(surface, deviation(nominal, printed, align=align), damped))
        offsets = iterates[-1].deviation.offsets
        if iterates[-1].deviation.rms <= tolerance or len(iterates) == evaluations:
            break
        if len(iterates) > 1:
            relaxation = _aitken(relaxation, iterates[-2].deviation.offsets, offsets, weight)
        vertices, held = sound_move(nominal, vertices - relaxation * offsets)
        damped = int(held.sum())
    return Compensation(nominal, tuple(iterates))


def _checked(displacement: NDArray[np.floating], vertices: NDArray[np.float64]) -> NDArray[np.floating]:
    if displacement.shape != vertices.shape or not np.isfinite(displacement).all():
        raise CompensationError(
            f"the displacement of {len(vertices)} vertices must be as many finite vectors, "
            f"not {displacement.shape}; does the field hold NaN?"
        )
    return displacement


def _aitken(
    relaxation: float, before: NDArray[np.float64], after: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Relaxation of the next step from the residuals before and after the last one, (v, 3) each."""
    change = after - before
    squared = float((weight * change**2).sum())
    if squared == 0.0:
        return relaxation
    secant = -relaxation * float((weight * before * change).sum()) / squared
    return min(max(secant, LEAST_RELAXATION), 1.0)
