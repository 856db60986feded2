"""Fit the inherent strain of a material to given results.

The solver is linear, so that displacement is an affine function of every constant of the inherent
strain that multiplies it.  A few simulations give that function; least squares gives the constants
(variable projection, Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973).  Only the two lengths of the
edge relaxation, which enter otherwise, are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from lpbf_dataset.simulation.inherent_strain import EdgeRelaxation
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.simulation.materials import Material
    from lpbf_dataset.sources.base import RawCase, Step, Surface

Law = Literal["scalar", "full"]

_PROBE = -0.005
"""Strain of the simulations that the affine function is made from: of the size of the answer, so that
the rotation taken out after plate removal stays as small as it will be."""

_FIRST_LENGTHS = (2.0, 4.0)
"""Reach and run, in mm, at which the search begins: those of Inconel 625, rounded."""

_MATCH = 1e-3
"""Largest distance in mm between nodes that are the same."""


@dataclass(frozen=True)
class Reference:
    """Results to be met.

    Parameters
    ----------
    surface : Surface
        The part.
    steps : sequence of Step
        Its states, of which those are compared that hold the inherent strain of every group deposited.
    """

    surface: Surface
    steps: Sequence[Step]

    @classmethod
    def of(cls, case: RawCase) -> Reference:
        """Read the results of a case.

        Raises
        ------
        CaseError
            If it cannot be read, or has no part surface.
        """
        surface = case.surface()
        if surface is None:
            raise CaseError(FailureReason.MISSING_FILE, f"{case.location} has no part surface to simulate")
        return cls(surface, case.steps(("displacement",)))


@dataclass(frozen=True)
class Fit:
    """A calibrated material.

    Parameters
    ----------
    material : Material
        With the fitted inherent strain.
    r2 : float
        Coefficient of determination of all displacement components compared.
    rms_error : float
        RMS of their differences, mm.
    """

    material: Material
    r2: float
    rms_error: float


def calibrate(
    references: Sequence[Reference],
    material: Material,
    settings: SimulationSettings | None = None,
    law: Law = "scalar",
    report: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Fit the inherent strain of a material to results.

    Parameters
    ----------
    references : sequence of Reference
        Results to be met, together.
    material : Material
        Its other properties are kept.
    settings : SimulationSettings, optional
        How the references were printed and meshed.
    law : {"scalar", "full"}
        One isotropic strain in the plane of the layers, or that with its relaxation near edges.
    report : callable, optional
        Called with a line on each step of the search.

    Returns
    -------
    Fit

    Raises
    ------
    CaseError
        If a reference cannot be simulated, or its mesh has too few nodes in common with ours.
    """
    settings = settings or SimulationSettings()
    problem = _Problem(references, material, settings)
    if law == "scalar":
        return problem.scalar()

    def misfit(lengths: NDArray[np.float64]) -> float:
        fit = problem.full(*np.abs(lengths))
        report(f"reach {abs(lengths[0]):.3f} mm, run {abs(lengths[1]):.3f} mm: R2 {fit.r2:.6f}")
        return 1.0 - fit.r2

    found = minimize(misfit, _FIRST_LENGTHS, method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1e-6})
    return problem.full(*np.abs(found.x))


class _Problem:
    """Displacements of the references, and ours as a function of the inherent strain."""

    def __init__(
        self, references: Sequence[Reference], material: Material, settings: SimulationSettings
    ) -> None:
        self._references = references
        self._material = material
        self._settings = settings
        names = ", ".join(reference.surface.name for reference in references)
        self._origin = f"displacement of {names}"
        self._truth: NDArray[np.float64] | None = None
        self._thermal = self._simulate(0.0, None)
        self._isotropic = (self._simulate(_PROBE, None) - self._thermal) / _PROBE

    def scalar(self) -> Fit:
        """Fit one strain."""
        (strain,) = self._solve([self._isotropic])
        return self._fit(strain, None, strain * self._isotropic)

    def full(self, reach: float, run: float) -> Fit:
        """Fit the strain and its relaxation across and along edges, for given lengths in mm."""
        across, both = (
            (self._simulate(_PROBE, EdgeRelaxation(1.0, along, reach, run)) - self._thermal) / _PROBE
            - self._isotropic
            for along in (0.0, 1.0)
        )
        basis = [self._isotropic, across, both - across]
        strain, relaxed_across, relaxed_along = self._solve(basis)
        relaxation = EdgeRelaxation(
            float(relaxed_across / strain), float(relaxed_along / relaxed_across), float(reach), float(run)
        )
        response = strain * basis[0] + relaxed_across * basis[1] + relaxed_along * basis[2]
        return self._fit(strain, relaxation, response)

    def _solve(self, basis: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        assert self._truth is not None
        solution = np.linalg.lstsq(np.stack(basis, axis=1), self._truth - self._thermal)[0]
        return np.asarray(solution, dtype=np.float64)

    def _fit(self, strain: float, relaxation: EdgeRelaxation | None, response: NDArray[np.float64]) -> Fit:
        assert self._truth is not None
        error = self._thermal + response - self._truth
        r2 = 1.0 - np.square(error).sum() / np.square(self._truth - self._truth.mean()).sum()
        material = replace(
            self._material, inherent_strain=float(strain), relaxation=relaxation, calibration=self._origin
        )
        return Fit(material, float(r2), float(np.sqrt(np.square(error).mean())))

    def _simulate(self, strain: float, relaxation: EdgeRelaxation | None) -> NDArray[np.float64]:
        """Our displacement, all components of all nodes compared in a row, mm."""
        material = replace(self._material, inherent_strain=strain, relaxation=relaxation)
        ours, truth = [], []
        for reference in self._references:
            simulated = simulate(reference.surface, material, self._settings).steps
            for mine, theirs in zip(simulated, reference.steps, strict=False):
                if mine.kind == "deposited":
                    continue
                mine_nodes, their_nodes = _common_nodes(mine, theirs)
                ours.append(mine.fields["displacement"][mine_nodes].ravel())
                truth.append(theirs.fields["displacement"][their_nodes].ravel())
        self._truth = np.concatenate(truth).astype(np.float64)
        return np.concatenate(ours).astype(np.float64)


def _common_nodes(ours: Step, theirs: Step) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the nodes that two meshes have in common; indices in each."""
    distance, nearest = cKDTree(theirs.points).query(ours.points, distance_upper_bound=_MATCH)
    common = np.flatnonzero(np.isfinite(distance))
    if 2 * len(common) < len(ours.points):
        raise CaseError(
            FailureReason.INCONSISTENT_STEPS,
            f"step {theirs.number} of the reference shares {len(common)} of our {len(ours.points)} nodes; "
            "give the layer thickness and cell size it was computed with",
        )
    return common, nearest[common]
