"""Bars that grow layer by layer, whose histories are known beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.base import CaseError, DamagedStep, FailureReason, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lpbf_dataset.schema import StepKind

FIELDS = ("displacement", "von_mises_stress", "temperature")
RATE = 0.01
"""mm by which a step adds to the displacement in z where x is 0."""


@dataclass(frozen=True)
class GrowingBar:
    """A bar along x that grows in z by a layer of unit cells every two steps.

    Each step on the plate adds RATE (1 + x) mm to the displacement in z of every node and 100 (1 + y) MPa to
    the stress; a new node starts from the one below it.  Off the plate the displacement is -1 mm.
    """

    case_id: str
    length: int = 3
    layers: int = 3
    missing: tuple[int, ...] = ()
    with_steps: bool = True

    source = "fake"
    location = "memory"

    @property
    def design_id(self) -> str:
        return self.case_id

    def content_hash(self) -> str:
        return f"{self.length} {self.layers} {self.missing}"

    def field_names(self) -> tuple[str, ...]:
        return FIELDS

    def surface(self) -> None:
        return None

    def history(self, fields: Sequence[str] | None = None) -> Iterator[Step | DamagedStep]:
        kinds = ["deposited", "dwelt"] * self.layers + ["cooled", "removed"]
        for index, kind in enumerate(kinds if self.with_steps else ()):
            if index in self.missing:
                error = CaseError(FailureReason.MISSING_FILE, "lost")
                yield DamagedStep(index, kind, 10.0 * index, error)
            else:
                yield self._step(index, kind, min(index // 2 + 1, self.layers))

    def final_step(self, fields: Sequence[str] | None = None) -> Step:
        return self._step(2 * self.layers + 1, "removed", self.layers)

    def _step(self, index: int, kind: StepKind, layers: int) -> Step:
        grid = np.stack(np.meshgrid(range(self.length + 1), range(2), range(layers + 1), indexing="ij"), -1)
        points = grid.reshape(-1, 3)
        number = np.arange(len(points)).reshape(grid.shape[:3])
        x, y, z = (size - 1 for size in number.shape)
        corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
        cells = np.stack([number[i : x + i, j : y + j, k : z + k].ravel() for i, j, k in corners], 1)
        displacement = np.zeros(points.shape)
        displacement[:, 2] = -1 if kind == "removed" else RATE * (index + 1) * (1 + points[:, 0])
        fields = {
            "displacement": displacement,
            "von_mises_stress": 100.0 * (index + 1) * (1 + points[:, 1]),
            "temperature": np.full(len(points), 25.0),
        }
        values = {name: value.astype(np.float32) for name, value in fields.items()}
        return Step(index, kind, 10.0 * index, points.astype(np.float32), cells.astype(np.int32), values)


@dataclass(frozen=True)
class GrowingBars:
    """A source of them."""

    bars: tuple[GrowingBar, ...]

    def cases(self) -> Iterator[GrowingBar]:
        return iter(self.bars)


def write_builds(path: Path, *bars: GrowingBar, steps: str = "all") -> Path:
    """Write a store of growing bars; train, val and test by the first letter of their names, t, v and x."""
    splits = {"train": "t", "val": "v", "test": "x"}
    members = {
        name: [bar.case_id for bar in bars if bar.case_id[0] == letter] for name, letter in splits.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    split_file = path.with_suffix(".json")
    split_file.write_text(json.dumps(members))
    options = BuildOptions(rules="none", split="official", split_file=str(split_file), steps=steps)
    build_store([GrowingBars(bars)], path, options)
    return path
