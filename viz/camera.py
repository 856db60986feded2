"""The view on a part: isometric in kind, z up, and as close as the picture allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyvista as pv
    from numpy.typing import NDArray

# From the front, right and above: x runs to the right, z up.
VIEW_DIRECTION = np.array([0.55, -1.0, 0.6])
UP = np.array([0.0, 0.0, 1.0])


def look_at(
    renderer: pv.Renderer, points: NDArray[np.floating], frame: tuple[float, float, float, float]
) -> None:
    """Place a parallel-projection camera so that points fill a frame in the picture.

    Parameters
    ----------
    renderer : pyvista.Renderer
        The panel whose camera is placed.
    points : (n, 3) float ndarray
        What is to be seen, mm.
    frame : (float, float, float, float)
        Left, bottom, right and top of the frame, as fractions of the panel.
    """
    toward_viewer = VIEW_DIRECTION / np.linalg.norm(VIEW_DIRECTION)
    right = np.cross(UP, toward_viewer)
    right /= np.linalg.norm(right)
    up = np.cross(toward_viewer, right)
    seen = points @ np.column_stack([right, up, toward_viewer])
    lowest, highest = seen.min(axis=0), seen.max(axis=0)
    width, height, depth = np.maximum(highest - lowest, 1e-6)

    panel_width, panel_height = renderer.width, renderer.height
    left, bottom, right_edge, top = frame
    mm_per_pixel = max(width / ((right_edge - left) * panel_width), height / ((top - bottom) * panel_height))
    off_center = np.array(
        [
            (0.5 - (left + right_edge) / 2) * panel_width * mm_per_pixel,
            (0.5 - (bottom + top) / 2) * panel_height * mm_per_pixel,
            0.0,
        ]
    )
    focal_point = np.column_stack([right, up, toward_viewer]) @ ((lowest + highest) / 2 + off_center)

    camera = renderer.camera
    camera.focal_point = tuple(focal_point)
    camera.position = tuple(focal_point + 3.0 * (depth + width + height) * toward_viewer)
    camera.up = tuple(UP)
    camera.parallel_projection = True
    # VTK's parallel scale is half the height of the picture in world units.
    camera.parallel_scale = 0.5 * panel_height * mm_per_pixel
    renderer.camera_set = True
    renderer.reset_camera_clipping_range()
