"""Parts whose pictures are known beforehand, and pictures as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import pyvista as pv

from lpbf_dataset import Case
from viz.rendering import prepare_offscreen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SLOPE = 0.01


@pytest.fixture(scope="session", autouse=True)
def offscreen() -> None:
    prepare_offscreen()


def hexahedra(
    points: NDArray[np.float32], cells: NDArray[np.int32], displacement: NDArray[np.float32]
) -> Case:
    variables = {
        "points": points,
        "cells": cells,
        "displacement": displacement,
        "von_mises_stress": np.linspace(3, 930, len(points), dtype=np.float32),
        "temperature": np.full(len(points), 25, np.float32),
    }
    return Case("tilted_bar", "bar", "synthetic", variables, split="test")


def bar(shape: tuple[int, int, int] = (10, 3, 3)) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return points and cells of a block of unit cells, its centre on the z axis."""
    grid = pv.ImageData(dimensions=np.add(shape, 1), origin=(-shape[0] / 2, -shape[1] / 2, 0))
    grid = grid.cast_to_unstructured_grid()
    voxels = grid.cells_dict[pv.CellType.VOXEL]
    return np.asarray(grid.points, np.float32), voxels[:, [0, 1, 3, 2, 4, 5, 7, 6]].astype(np.int32)


@pytest.fixture
def tilted_bar() -> Case:
    """Return a bar along x that goes down on the left and up on the right: u_z = SLOPE x."""
    points, cells = bar()
    displacement = np.zeros_like(points)
    displacement[:, 2] = SLOPE * points[:, 0]
    return hexahedra(points, cells, displacement)


@pytest.fixture
def bar_with_hanging_nodes() -> tuple[Case, Case]:
    """Return the same tilted block of 4 x 2 x 2 mm twice: of unit cells, and with its left half one cell."""
    points, cells = bar((4, 2, 2))
    displacement = np.zeros_like(points)
    displacement[:, 2] = SLOPE * points[:, 0]
    right = cells[points[cells].mean(axis=1)[:, 0] > 0]
    corners = np.array([(-2, -1, 0), (0, -1, 0), (0, 1, 0), (-2, 1, 0)], np.float32)
    corners = np.concatenate([corners, corners + np.float32([0, 0, 2])])
    left = [np.flatnonzero((points == corner).all(axis=1))[0] for corner in corners]
    mixed = np.concatenate([right, np.array([left], np.int32)])
    return hexahedra(points, cells, displacement), hexahedra(points, mixed, displacement)


@pytest.fixture(scope="session")
def step2_case(step2: Path) -> Case:
    """Return the final state of the real Netfabb case, read by VTK."""
    reader = pv.get_reader(step2 / "results" / "step2_mechanical.case")
    reader.set_active_time_value(reader.time_values[-1])
    mesh = reader.read()[0]
    variables = {
        "points": np.asarray(mesh.points, np.float32),
        "cells": mesh.cells_dict[pv.CellType.HEXAHEDRON].astype(np.int32),
        "displacement": np.asarray(mesh["Displacement"]),
        "von_mises_stress": np.asarray(mesh["von_Mises_stress"]),
    }
    return Case("20163_3742f394_3", "20163_3742f394", "netfabb", variables, split="test")


@pytest.fixture
def picture() -> Callable[[pv.Plotter], NDArray[np.float64]]:
    """Return a function that renders a scene: (height, width, 3), each colour in [0, 1]."""

    def render(plotter: pv.Plotter) -> NDArray[np.float64]:
        image = plotter.screenshot(return_img=True)
        plotter.close()
        return np.asarray(image, np.float64) / 255.0

    return render
