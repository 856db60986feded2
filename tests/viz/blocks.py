"""A subject in memory, whose cases are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv

from viz.subjects import Field, Part, SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

CASES = ("first", "second", "broken")
STEPS = ("step 1", "step 2")
SLOPE = 0.01


def block() -> pv.UnstructuredGrid:
    """Return a block of 8 x 4 x 4 unit cells, its centre above the origin."""
    grid = pv.ImageData(dimensions=(9, 5, 5), origin=(-4, -2, 0)).cast_to_unstructured_grid()
    grid.clear_data()
    return grid


@dataclass(frozen=True)
class Blocks:
    """Blocks that rise to the right; the second twice as much; the third cannot be read."""

    predicted: tuple[str, ...] = ("displacement_z",)
    name: str = "blocks"
    case_names: Sequence[str] = CASES
    first_case: str = CASES[0]

    def step_labels(self, case_name: str) -> Sequence[str]:
        return STEPS

    def load(self, case_name: str, step: int) -> Part:
        if case_name == "broken":
            raise SubjectError("case broken cannot be read: it is cut off")
        grid = block()
        x, _, z = np.asarray(grid.points, np.float32).T
        slope = SLOPE * (CASES.index(case_name) + 1) * (step + 1)
        displacement = np.column_stack([np.zeros_like(x), np.zeros_like(x), slope * x])
        values = {"displacement": displacement, "von_mises_stress": 100 * z}
        fields = (Field("displacement", "mm", ("x", "y", "z")), Field("von_mises_stress", "MPa"))
        predict = (lambda: {"displacement_z": 0.5 * displacement[:, 2]}) if self.predicted else None
        return Part(f"case {case_name}", grid, fields, values, predict)
