"""What a trained model makes of a part.

>>> import pipelines
>>> prediction = pipelines.predict("run", "bracket.stl")  # doctest: +SKIP
>>> print(prediction.case.node_count, *prediction.fields, *prediction.warnings)  # doctest: +SKIP
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.case import Case
from lpbf_dataset.distortion import compensate, displacement_at, refined
from lpbf_dataset.features import mesh_surface
from lpbf_dataset.mesh.surface_field import SurfaceInterpolator
from lpbf_dataset.simulation.part_case import MeshedPart, PlacedPart, mesh_part, place_part
from lpbf_dataset.sources.base import CaseError, FailureReason, parent_design
from lpbf_dataset.sources.part_files import PartGeometry, read_part
from lpbf_dataset.sources.part_files.surface import mend
from pipelines.prediction.known_errors import remarks_on
from pipelines.prediction.part_setup import setup_remarks, training_setup
from pipelines.runs.run import Run, RunError
from pipelines.runs.training_set import TrainingSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset.distortion import Compensation, DisplacementSource
    from lpbf_dataset.simulation.job import PartSetup

COMPONENTS = tuple(f"displacement_{axis}" for axis in "xyz")

CELLS_PER_EDGE = 2.0
"""Longest edge of a surface that carries a field, in heights of the finest cell."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted fields of a part.

    Parameters
    ----------
    case : Case
        The mesh of the part, and the features that the model needed.
    fields : mapping of str to (nodes,) float32 ndarray
        By the names of the targets of the run, in the units of `lpbf_dataset.schema.VARIABLES`.
    std : mapping of str to (nodes,) float32 ndarray
        Standard deviation over the members of an ensemble; empty for a single model.
    surface : trimesh.Trimesh
        Of the part as it stands on the plate, in mm, with vertices dense enough to carry the fields; that of
        the mesh where the case comes from a store.
    placed : PlacedPart or None
        The part as it was read; None where the case comes from a store.
    warnings : tuple of str
        What to know before trusting it, a line each.
    seconds : mapping of str to float
        Wall time: "mesh", "features" and "model".
    """

    case: Case
    fields: Mapping[str, NDArray[np.float32]]
    std: Mapping[str, NDArray[np.float32]]
    surface: trimesh.Trimesh
    placed: PlacedPart | None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def axes(self) -> str:
        """Axes along which the displacement is predicted, a part of ``"xyz"``."""
        return known_axes(self.fields)

    @property
    def displacement(self) -> NDArray[np.float32]:
        """Displacement of the nodes, (nodes, 3) float32, mm; 0 along axes for which none is predicted."""
        return displacement_of(self.fields, self.case.node_count)

    def on_surface(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Bring a field from the nodes, (nodes, ...), to the vertices of the surface, (v, ...) float64."""
        return self._to_surface(values, np.asarray(self.surface.vertices)).values

    @cached_property
    def _to_surface(self) -> SurfaceInterpolator:
        return SurfaceInterpolator(self.case.points, self.case.cells)


def known_axes(fields: Mapping[str, object]) -> str:
    """Axes along which fields hold the displacement."""
    return "".join(name[-1] for name in COMPONENTS if name in fields)


def displacement_of(fields: Mapping[str, NDArray[np.floating]], nodes: int) -> NDArray[np.float32]:
    """Components of the displacement side by side, (nodes, 3) float32; 0 where there is none."""
    absent = np.zeros(nodes, np.float32)
    return np.column_stack([fields.get(name, absent) for name in COMPONENTS]).astype(np.float32, copy=False)


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
        return self._predicted(meshed.case, surface, placed, warnings, meshed.seconds)

    def of_case(self, case: Case) -> Prediction:
        """Predict a case of a store.

        Raises
        ------
        RunError
            If it lacks what the model needs.
        CaseError
            If its cells form no mesh.
        """
        outside = mesh_surface(case.points, case.cells)
        surface = trimesh.Trimesh(outside.vertices, outside.triangles, process=False)
        warnings = self._remarks(case)
        if case.split == "train":
            warnings += (f"{case.case_id} is a training case: its error tells nothing of other parts",)
        return self._predicted(case, surface, None, warnings, {})

    def timed_again(self, prediction: Prediction) -> float:
        """Wall time in seconds of the features and the model for a part once more, without its mesh."""
        assert prediction.placed is not None, "the mesh of a stored case was never made here"
        features = self._mesh("timed", prediction.placed.surface).seconds["features"]
        started = time.perf_counter()
        self.run.predict_with_uncertainty(prediction.case)
        return features + time.perf_counter() - started

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
            If the surface is not closed or cannot be moved.
        CaseError
            If a moved surface cannot be meshed.
        """
        return compensate(
            prediction.surface,
            self.displacement_source(),
            evaluations=iterations + 1,
            align=prediction.axes == "xyz",
        )

    def displacement_source(self) -> DisplacementSource:
        """Return what predicts the displacement of any surface, meshed anew."""

        def displacement(surface: trimesh.Trimesh) -> NDArray[np.float64]:
            case = self._mesh("iterate", surface).case
            fields = dict(zip(self.run.targets, self.run.predict(case).T, strict=True))
            return displacement_at(surface, case.points, case.cells, displacement_of(fields, case.node_count))

        return displacement

    def _mesh(self, name: str, surface: trimesh.Trimesh) -> MeshedPart:
        return mesh_part(
            name,
            surface,
            self.setup.settings,
            features=bool(self.run.description.features),
            sdf_surface=self.training.sdf_surface if self.training else "mesh",
        )

    def _predicted(
        self,
        case: Case,
        surface: trimesh.Trimesh,
        placed: PlacedPart | None,
        warnings: tuple[str, ...],
        seconds: dict[str, float],
    ) -> Prediction:
        started = time.perf_counter()
        mean, std = self.run.predict_with_uncertainty(case)
        if not np.isfinite(mean).all():
            raise RunError(f"{self.run.path} predicts numbers that are not finite for {case.case_id}")
        seconds = {**seconds, "model": time.perf_counter() - started}
        fields = dict(zip(self.run.targets, np.ascontiguousarray(mean.T), strict=True))
        spread = {} if std is None else dict(zip(self.run.targets, np.ascontiguousarray(std.T), strict=True))
        return Prediction(case, fields, spread, surface, placed, warnings, seconds)

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
        If the run cannot be opened, or a case lacks what the model needs.
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
