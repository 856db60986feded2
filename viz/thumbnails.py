"""Small pictures of parts, for pages that show many."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv
from PIL import Image

from viz.camera import look_at
from viz.colors import field_scale
from viz.scenes import add_surface
from viz.warp import automatic_warp, deformed_surface, hexahedra

if TYPE_CHECKING:
    from lpbf_dataset import Case

SIZE = (320, 240)


def thumbnail(case: Case, field: str = "displacement_z", size: tuple[int, int] = SIZE) -> bytes:
    """Draw one field on the deformed part, without a word.

    Parameters
    ----------
    case : Case
        The part, with its displacement.
    field : str
        As `lpbf_dataset.Case.scalar` takes it.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    bytes
        PNG image.

    Raises
    ------
    KeyError
        If the case has no such field.
    """
    values = case.scalar(field)
    displacement = np.asarray(case.displacement, np.float32)
    factor = automatic_warp(case.points, displacement)
    surface = deformed_surface(hexahedra(case), values, displacement, factor)
    plotter = pv.Plotter(window_size=list(size), off_screen=True)
    try:
        add_surface(plotter, surface, field_scale(field, values))
        plotter.enable_anti_aliasing("ssaa", all_renderers=False)
        look_at(plotter.renderer, surface.points, (0.04, 0.04, 0.96, 0.96))
        image = np.asarray(plotter.screenshot(return_img=True))
    finally:
        plotter.close()
    encoded = BytesIO()
    Image.fromarray(image).save(encoded, "PNG", optimize=True)
    return encoded.getvalue()
