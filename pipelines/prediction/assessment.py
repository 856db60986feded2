"""Everything that is told of one predicted part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.distortion import CompensationError
from lpbf_dataset.distortion.magnitude import magnitude
from lpbf_dataset.mesh.surface_field import SurfaceInterpolator
from lpbf_dataset.sources.base import CaseError
from pipelines.prediction.part_setup import setup_remarks
from pipelines.prediction.prediction import COMPONENTS, displacement_of
from pipelines.prediction.truth import simulated_truth, stored_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.distortion import Compensation
    from lpbf_dataset.distortion.magnitude import Magnitude
    from pipelines.prediction.predict import Predictor
    from pipelines.prediction.prediction import Prediction
    from pipelines.prediction.truth import Truth


@dataclass(frozen=True)
class AssessmentOptions:
    """What is done with a prediction.

    Parameters
    ----------
    tolerance : float
        Distortion in mm that a part may have.
    iterations : int
        How often the compensated surface is moved at most, each time after a new prediction.
    no_compensate : bool
        Compute no compensated surface.
    simulate : bool
        Run the embedded solver, too, and tell the error and the speed-up.
    """

    tolerance: float = 0.1
    iterations: int = 3
    no_compensate: bool = False
    simulate: bool = False


@dataclass(frozen=True, eq=False)
class Assessment:
    """A prediction and what follows from it.

    Parameters
    ----------
    prediction : Prediction
        The fields.
    options : AssessmentOptions
        What was asked for.
    displacement : (v, 3) float64 ndarray
        Predicted displacement of the surface, mm; 0 along axes that are not predicted.
    magnitude : Magnitude or None
        Its figures; None where no displacement is predicted.
    spread : (v,) float64 ndarray or None
        Of an ensemble, the root of the summed variances of the displacement of the surface, mm.
    compensation : Compensation or None
        The surface to print; None where none was asked for, or none can be made.
    truth : Truth or None
        What the solver, or the store, says.
    warnings : tuple of str
        A line each.
    on_plate : Magnitude or None
        Figures of the surface of the last step on the plate; None where the build or its displacement is not
        predicted.
    """

    prediction: Prediction
    options: AssessmentOptions
    displacement: NDArray[np.float64]
    magnitude: Magnitude | None
    spread: NDArray[np.float64] | None
    compensation: Compensation | None
    truth: Truth | None
    warnings: tuple[str, ...]
    on_plate: Magnitude | None = None

    @property
    def place(self) -> NDArray[np.float64]:
        """Where on the plate, in mm, the surface moves most, (3,)."""
        assert self.magnitude is not None
        return np.asarray(self.prediction.surface.vertices)[self.magnitude.vertex]

    @property
    def true_magnitude(self) -> Magnitude | None:
        """Figures of the true displacement along the axes that are predicted."""
        if self.truth is None or self.magnitude is None:
            return None
        known = [f"displacement_{axis}" for axis in self.prediction.axes]
        nodes = self.prediction.case.node_count
        displacement = displacement_of({name: self.truth.scalar(name) for name in known}, nodes)
        on_surface = self.prediction.on_surface(displacement)
        return magnitude(self.prediction.surface, on_surface, self.options.tolerance)


def assess(predictor: Predictor, prediction: Prediction, options: AssessmentOptions) -> Assessment:
    """Measure, compensate and, where that was asked for, simulate a predicted part.

    Raises
    ------
    CaseError
        If the part cannot be simulated.
    """
    warnings = list(prediction.warnings)
    displacement = prediction.on_surface(prediction.displacement)
    figures = magnitude(prediction.surface, displacement, options.tolerance) if prediction.axes else None
    truth = None
    if prediction.placed is None:
        truth = stored_truth(prediction)
    elif options.simulate:
        truth = simulated_truth(prediction, predictor, predictor.setup)
        remarks = setup_remarks(predictor.setup, predictor.training, simulates=True)
        warnings += [remark for remark in remarks if remark not in warnings]
    compensation = None
    if figures and prediction.placed is not None and not options.no_compensate:
        try:
            compensation = predictor.compensated(prediction, options.iterations)
        except (CompensationError, CaseError) as error:
            detail = error.detail if isinstance(error, CaseError) else str(error)
            warnings.append(f"not compensated: {detail}")
    return Assessment(
        prediction,
        options,
        displacement,
        figures,
        _spread(prediction) if figures else None,
        compensation,
        truth,
        tuple(dict.fromkeys(warnings)),
        _on_plate(prediction, options.tolerance) if figures and prediction.build else None,
    )


def _on_plate(prediction: Prediction, tolerance: float) -> Magnitude:
    step = prediction.last_on_plate
    to_surface = SurfaceInterpolator(step.points, step.cells)
    displacement = np.column_stack([step.scalar(name) for name in COMPONENTS])
    moved = to_surface(displacement, np.asarray(prediction.surface.vertices)).values
    return magnitude(prediction.surface, moved, tolerance)


def _spread(prediction: Prediction) -> NDArray[np.float64] | None:
    if not prediction.std:
        return None
    std = displacement_of(prediction.std, prediction.case.node_count)
    # Extrapolated to the surface, a small spread could turn negative.
    return np.abs(prediction.on_surface(np.linalg.norm(std, axis=1)))
