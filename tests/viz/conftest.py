"""Parts whose pictures are known beforehand, and pictures as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pyvista as pv
from PIL import Image
from scipy.ndimage import gaussian_filter

from lpbf_dataset import Case
from viz.rendering import prepare_offscreen

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.fixture
def skin(tilted_bar: Case) -> pv.PolyData:
    """Return the triangulated surface of the tilted bar with its displacement, as on an STL file."""
    surface = tilted_bar.to_pyvista().extract_surface(algorithm=None).triangulate()
    points = pv.PolyData(surface.points, surface.faces)
    points["displacement"] = surface["displacement"]
    return points


REFERENCES = Path(__file__).parent / "references"

LARGEST_DIFFERENCE = 3.0
"""Between pictures that look the same, in the units of CIELAB, of which a trained eye sees one side by side.

A shift by a pixel makes 2, a camera turned by five degrees 5.
"""

BLUR_PIXELS = 1.5


def perceived_difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean distance in CIELAB, after a blur that forgives drivers their anti-aliasing and letters.

    Taken over what is not blank in either picture: a small part on a large page counts in full.
    """
    lab = [
        np.stack([gaussian_filter(channel, BLUR_PIXELS) for channel in np.moveaxis(cielab(image), -1, 0)], -1)
        for image in (first, second)
    ]
    distance = np.linalg.norm(lab[0] - lab[1], axis=-1)
    drawn = np.minimum(lab[0][..., 0], lab[1][..., 0]) < 99.0
    return float(distance[drawn].mean()) if drawn.any() else 0.0


def cielab(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert sRGB (IEC 61966-2-1) to CIELAB under D65."""
    srgb = image / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@pytest.fixture
def difference() -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]:
    """Return `perceived_difference`."""
    return perceived_difference


@pytest.fixture
def looks_like(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[NDArray[np.uint8], str], None]:
    """Return a function that compares a picture with the stored one of a name."""

    def compare(image: NDArray[np.uint8], name: str) -> None:
        reference = REFERENCES / f"{name}.png"
        if request.config.getoption("--update-references"):
            REFERENCES.mkdir(exist_ok=True)
            Image.fromarray(image).save(reference, optimize=True)
            return
        Image.fromarray(image).save(tmp_path / f"{name}.png")
        found = perceived_difference(image, np.asarray(Image.open(reference).convert("RGB")))
        assert found < LARGEST_DIFFERENCE, (
            f"{tmp_path / f'{name}.png'} does not look like {reference} ({found:.2f}); "
            "look at both, and where the new one is right, run pytest with --update-references"
        )

    return compare
