"""A small Netfabb case that the tests can break in every way."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lpbf_dataset.schema import VARIABLES
from lpbf_dataset.sources.base import Step
from lpbf_dataset.sources.netfabb import write_results
from lpbf_dataset.sources.netfabb.layout import RESULT_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEXA8_CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
)
KINDS = ("deposited", "dwelt", "deposited", "dwelt", "cooled", "removed")
LOG = b"Autodesk AM Process Simulation v24\nAnalysis completed\n\nEND Autodesk AM Process Simulation LT\n"
STL = b"""solid part
facet normal 0 0 1
outer loop
vertex 0 0 0
vertex 1 0 0
vertex 0 1 0
endloop
endfacet
endsolid part
"""


def column_of_cubes(height: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and cells of unit cubes stacked along z."""
    square = HEXA8_CORNERS[:4]
    points = np.concatenate([square + np.array([0, 0, level]) for level in range(height + 1)]).astype(
        np.float32
    )
    cells = (np.arange(8) + 4 * np.arange(height)[:, None]).astype(np.int32)
    return points, cells


def make_steps(seed: int = 0) -> list[Step]:
    """Two layer groups on growing meshes, then cool-down and plate removal, with random fields."""
    rng = np.random.default_rng(seed)
    steps = []
    for number, (kind, height) in enumerate(zip(KINDS, (2, 2, 3, 3, 3, 1), strict=True), start=1):
        points, cells = column_of_cubes(height)
        fields = {
            name: rng.normal(size=(len(points), *VARIABLES[name].row_shape)).astype(np.float32)
            for name in RESULT_NAMES
        }
        steps.append(Step(number, kind, 10.0 * number, points, cells, fields))
    return steps


def write_small_case(folder: Path, seed: int = 0) -> Path:
    """Write a whole case: results, log, part."""
    write_results(folder, make_steps(seed))
    (folder / "mechanical.out").write_bytes(LOG)
    (folder / "part.stl").write_bytes(STL)
    return folder


@pytest.fixture
def small_case(tmp_path: Path) -> Path:
    """Return the folder of a small valid case."""
    return write_small_case(tmp_path / "SandBox" / "case_a")


@pytest.fixture
def pack() -> Callable[..., Path]:
    """Return a function that zips the files below a folder, without entries for the folders."""

    def pack_folder(folder: Path, archive: Path, prefix: str = "") -> Path:
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as stream:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    # `stream.write` would clean up the names that tests want to be unsafe.
                    stream.writestr(prefix + path.relative_to(folder).as_posix(), path.read_bytes())
        return archive

    return pack_folder
