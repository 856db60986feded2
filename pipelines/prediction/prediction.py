"""The fields that a trained model predicts of one part."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.mesh.surface_field import SurfaceInterpolator
from pipelines.steps.rollout import last_on_plate
from pipelines.steps.tasks import RELEASED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import trimesh
    from numpy.typing import NDArray

    from lpbf_dataset.case import Case
    from lpbf_dataset.simulation.part_case import PlacedPart
    from lpbf_dataset.steps import CaseStep

COMPONENTS = tuple(f"displacement_{axis}" for axis in "xyz")


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted fields of a part.

    Parameters
    ----------
    case : Case
        The mesh of the part, and the features that the model needed; of a run of steps the last step that it
        knows, with all that the case has as `Case.steps`.
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
    build : tuple of CaseStep
        Of a run of steps the states over the build up to `fields`, each on its own mesh, with the predicted
        fields; components that are not predicted are 0 of the displacement and NaN of others.  Empty for a
        run of final states.
    """

    case: Case
    fields: Mapping[str, NDArray[np.float32]]
    std: Mapping[str, NDArray[np.float32]]
    surface: trimesh.Trimesh
    placed: PlacedPart | None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    build: tuple[CaseStep, ...] = ()

    @property
    def is_on_plate(self) -> bool:
        """Whether the fields are those of the part on the plate, from which it has not sprung back."""
        return bool(self.build) and self.build[-1].kind not in RELEASED

    @property
    def last_on_plate(self) -> CaseStep:
        """The last step of the build before the part comes off the plate."""
        return last_on_plate((step,) for step in self.build)[0]

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
