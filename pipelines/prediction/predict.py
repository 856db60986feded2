"""What a trained model makes of a part.

>>> import pipelines
>>> prediction = pipelines.predict("run", "bracket.stl")  # doctest: +SKIP
>>> print(prediction.case.node_count, *prediction.fields, *prediction.warnings)  # doctest: +SKIP
>>> for step in prediction.build:  # of a run of --task next-step  # doctest: +SKIP
...     print(step.kind, step.time, step.height, abs(step.displacement).max())
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.case import Case
from lpbf_dataset.distortion import CompensationError, compensate, displacement_at, refined
from lpbf_dataset.features import mesh_surface
from lpbf_dataset.simulation.part_case import MeshedPart, PlacedPart, mesh_part, place_part
from lpbf_dataset.sources.base import CaseError, FailureReason, parent_design
from lpbf_dataset.sources.part_files import PartGeometry, read_part
from lpbf_dataset.sources.part_files.surface import mend
from pipelines.prediction.build import ON_PLATE, predict_state
from pipelines.prediction.known_errors import remarks_on
from pipelines.prediction.part_setup import setup_remarks, training_setup
from pipelines.prediction.prediction import Prediction, displacement_of
from pipelines.runs.run import Run
from pipelines.runs.training_set import TrainingSet

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset.distortion import Compensation, DisplacementSource
    from lpbf_dataset.simulation.job import PartSetup
    from pipelines.prediction.build import PredictedState

CELLS_PER_EDGE = 2.0
"""Longest edge of a surface that carries a field, in heights of the finest cell."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A run, and what belongs to it, ready for many parts.

    Parameters
    ----------
    run : Run
        The model.
    training : TrainingSet or None
        What is known of the cases it was trained on.
    setup : PartSetup
        How parts are placed and meshed.
    """

    run: Run
    training: TrainingSet | None
    setup: PartSetup

    @classmethod
    def open(cls, run: Run | str | PathLike[str], setup: PartSetup | None = None) -> Predictor:
        """Open a run; raises `RunError`."""
        opened = run if isinstance(run, Run) else Run.open(run)
        training = TrainingSet.of_run(opened)
        return cls(opened, training, setup or training_setup(training))

    def of_part(self, part: PartGeometry) -> Prediction:
        """Predict a part.

        Raises
        ------
        CaseError
            If it cannot be meshed.
        """
        placed = place_part(part, self.setup)
        meshed = self._mesh(part.name, placed.surface)
        surface = _dense(placed.surface, CELLS_PER_EDGE * self.setup.settings.cell_height)
        warnings = (
            *placed.warnings,
            *meshed.warnings,
            *setup_remarks(self.setup, self.training, simulates=False),
            *self._remarks(meshed.case),
        )
        started = time.perf_counter()
        state = predict_state(self.run, meshed.case)
        seconds = {**meshed.seconds, "model": time.perf_counter() - started}
        return self._prediction(state, surface, placed, warnings, seconds)

    def of_case(self, case: Case) -> Prediction:
        """Predict a case of a store.

        Raises
        ------
        RunError
            If it lacks what the model needs.
        CaseError
            If its cells form no mesh.
        """
        started = time.perf_counter()
        state = predict_state(self.run, case)
        seconds = {"model": time.perf_counter() - started}
        outside = mesh_surface(state.case.points, state.case.cells)
        surface = trimesh.Trimesh(outside.vertices, outside.triangles, process=False)
        warnings = self._remarks(case)
        if case.split == "train":
            warnings += (f"{case.case_id} is a training case: its error tells nothing of other parts",)
        return self._prediction(state, surface, None, warnings, seconds)

    def timed_again(self, prediction: Prediction) -> float:
        """Wall time in seconds of the features and the model for a part once more, without its mesh."""
        assert prediction.placed is not None, "the mesh of a stored case was never made here"
        meshed = self._mesh("timed", prediction.placed.surface)
        started = time.perf_counter()
        predict_state(self.run, meshed.case)
        return meshed.seconds["features"] + time.perf_counter() - started

    def compensated(self, prediction: Prediction, iterations: int) -> Compensation:
        """Find the surface to print so that, by this model, the part comes out as designed.

        Parameters
        ----------
        prediction : Prediction
            Of a part, with some displacement.
        iterations : int
            How often the surface is moved at most, at least once.

        Raises
        ------
        CompensationError
            If the surface is not closed or cannot be moved, or the part is predicted on the plate alone.
        CaseError
            If a moved surface cannot be meshed.
        """
        if prediction.is_on_plate:
            raise CompensationError("the run does not know how the part springs back off the plate")
        return compensate(
            prediction.surface,
            self.displacement_source(),
            evaluations=iterations + 1,
            align=prediction.axes == "xyz",
        )

    def displacement_source(self) -> DisplacementSource:
        """Return what predicts the displacement of any surface, meshed anew."""

        def displacement(surface: trimesh.Trimesh) -> NDArray[np.float64]:
            case, mean, *_ = predict_state(self.run, self._mesh("iterate", surface).case)
            fields = dict(zip(self.run.targets, mean.T, strict=True))
            return displacement_at(surface, case.points, case.cells, displacement_of(fields, case.node_count))

        return displacement

    def _mesh(self, name: str, surface: trimesh.Trimesh) -> MeshedPart:
        return mesh_part(
            name,
            surface,
            self.setup.settings,
            features=bool(self.run.description.features),
            steps=self.run.description.task is not None,
            sdf_surface=self.training.sdf_surface if self.training else "mesh",
        )

    def _prediction(
        self,
        state: PredictedState,
        surface: trimesh.Trimesh,
        placed: PlacedPart | None,
        warnings: tuple[str, ...],
        seconds: dict[str, float],
    ) -> Prediction:
        fields, spread = (
            {}
            if columns is None
            else dict(zip(self.run.targets, np.ascontiguousarray(columns.T), strict=True))
            for columns in (state.mean, state.std)
        )
        prediction = Prediction(
            state.case, fields, spread, surface, placed, warnings, seconds, build=state.build
        )
        return replace(prediction, warnings=(ON_PLATE, *warnings)) if prediction.is_on_plate else prediction

    def _remarks(self, case: Case) -> tuple[str, ...]:
        return (*remarks_on(self.run), *self._unlike_training(case))

    def _unlike_training(self, case: Case) -> tuple[str, ...]:
        if self.training is None:
            return (
                "the store that the model was trained on is not where it was, so that it was not "
                "checked whether the part resembles the training cases",
            )
        return self.training.applicability.remarks(case)


def _dense(surface: trimesh.Trimesh, longest_edge: float) -> trimesh.Trimesh:
    try:
        return refined(surface, longest_edge)
    except ValueError as error:
        raise CaseError(FailureReason.TOO_LARGE, f"its surface cannot carry the field: {error}") from error


def predict(
    run: Run | str | PathLike[str],
    mesh: str | PathLike[str] | trimesh.Trimesh | PartGeometry | Case,
    setup: PartSetup | None = None,
) -> Prediction:
    """Predict the fields of a part.

    Parameters
    ----------
    run : Run or path
        A run of ``lpbf-train``, or its folder.
    mesh : path, trimesh.Trimesh, PartGeometry or Case
        A part file (STL, OBJ, PLY, 3MF, STEP), a surface in mm, or a case of a store.
    setup : PartSetup, optional
        How the part is placed and meshed; by default as it lies, with the cells of the training cases.

    Raises
    ------
    RunError
        If the run cannot be opened, a case lacks what the model needs, or it predicts what is not finite.
    CaseError
        If the part cannot be read or meshed.
    """
    predictor = Predictor.open(run, setup)
    if isinstance(mesh, Case):
        return predictor.of_case(mesh)
    if isinstance(mesh, trimesh.Trimesh):
        surface, warnings = mend(mesh)
        mesh = PartGeometry("part", parent_design("part"), surface, warnings)
    elif not isinstance(mesh, PartGeometry):
        mesh = read_part(Path(mesh))
    return predictor.of_part(mesh)
