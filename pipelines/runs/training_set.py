"""What a run remembers of the cases that it was trained on, wherever their store has gone since."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.curation.applicability import Applicability
from lpbf_dataset.simulation.recorded import setup_from_json
from lpbf_dataset.store.layout import StoreError
from pipelines.runs import files
from pipelines.runs.checkpoint import RunError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from lpbf_dataset.features import SdfSurface
    from lpbf_dataset.simulation.job import PartSetup
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.run import Run

MEASURED_CASES = 16
"""Training cases in which the finest cell is looked for; nearly every mesh has it at its surface."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The cases that a model was trained on, in short.

    Parameters
    ----------
    applicability : Applicability
        What parts they are.
    cell_height : float or None
        Height of the finest cells of their meshes, mm; None where there is no training case.
    simulation : PartSetup or None
        How the embedded solver computed them; None where their store does not tell.
    sdf_surface : {"mesh", "stl"}
        What the distances among their features are taken to.
    """

    applicability: Applicability
    cell_height: float | None
    simulation: PartSetup | None
    sdf_surface: SdfSurface

    @classmethod
    def of_store(cls, store: Dataset) -> Self:
        """Describe the training cases of a store."""
        recorded = store.attributes.get("simulation")
        return cls(
            Applicability.of_store(store),
            _cell_height(store.train),
            setup_from_json(recorded) if recorded else None,
            (store.attributes.get("build") or {}).get("sdf_surface", "mesh"),
        )

    @classmethod
    def of_run(cls, run: Run) -> Self | None:
        """Read what the folder of a run says, or else its store; None where neither is there.

        Raises
        ------
        RunError
            If the file is damaged.
        """
        path = run.path / files.TRAINING_SET
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls._of_store_of(run)
        try:
            return cls._from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is damaged; remove it to look into the store instead") from error

    @classmethod
    def _of_store_of(cls, run: Run) -> Self | None:
        # `RunError` and `StoreError`: the store has moved, or other cases have taken its place.
        try:
            return cls.of_store(run.dataset())
        except (RunError, StoreError):
            return None

    @classmethod
    def _from_json(cls, values: dict[str, Any]) -> Self:
        height, simulation = values["cell_height"], values["simulation"]
        if values["sdf_surface"] not in ("mesh", "stl"):
            raise ValueError(values["sdf_surface"])
        return cls(
            Applicability.from_json(values["applicability"]),
            None if height is None else float(height),
            setup_from_json(simulation) if simulation else None,
            values["sdf_surface"],
        )

    def write(self, run: Path) -> None:
        """Keep it in the folder of a run."""
        values = {
            "applicability": self.applicability.to_json(),
            "cell_height": self.cell_height,
            "simulation": asdict(self.simulation) if self.simulation else None,
            "sdf_surface": self.sdf_surface,
        }
        # On one line: descriptors are many numbers.
        files.write_text(run / files.TRAINING_SET, json.dumps(values) + "\n")


def _cell_height(training: Dataset) -> float | None:
    heights = []
    for index in range(min(MEASURED_CASES, len(training))):
        case = training.read(index, ("points", "cells"))
        z = case.points[case.cells, 2]
        heights.append(float((z[:, 4] - z[:, 0]).min()))
    # A micrometre finer than any layer, and coarser than the rounding of positions.
    return float(np.round(min(heights), 4)) if heights else None
