"""Putting a part on the build plate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from trimesh.transformations import euler_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trimesh

UP = {
    "as-is": (0.0, 0.0, 0.0),
    "x": (0.0, -90.0, 0.0),
    "y": (90.0, 0.0, 0.0),
    "-x": (0.0, 90.0, 0.0),
    "-y": (-90.0, 0.0, 0.0),
    "-z": (180.0, 0.0, 0.0),
}
"""Rotations in degrees about the fixed x, y and z axes that turn the named axis of the part upwards."""


def place_on_plate(
    mesh: trimesh.Trimesh, scale_to_mm: float | None = None, orient: str | Sequence[float] = "as-is"
) -> trimesh.Trimesh:
    """Rotate and scale a part, centre it on the z axis and stand it on z = 0.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        The part in mm; it is left as it is.
    scale_to_mm : float, optional
        Length that the longest edge of the bounding box shall have, measured after rotation; the
        published parts have 60 mm.  None keeps the size.
    orient : {"as-is", "x", "y", "-x", "-y", "-z"} or sequence of 3 float
        Which axis of the part points up in the build, or three angles in degrees to rotate by about
        the fixed x, y and z axes, in this order.

    Returns
    -------
    trimesh.Trimesh
        A new mesh with the same triangles.

    Raises
    ------
    ValueError
        If `orient` is not known or `scale_to_mm` is not a positive length.
    """
    if scale_to_mm is not None and not (np.isfinite(scale_to_mm) and scale_to_mm > 0):
        raise ValueError(f"scale_to_mm is {scale_to_mm}; give the longest edge as a positive length in mm")
    placed = mesh.copy()
    rotation = _rotation(orient)
    placed.vertices = placed.vertices @ rotation.T
    if scale_to_mm is not None:
        placed.vertices *= scale_to_mm / placed.extents.max()
    low, high = placed.bounds
    placed.vertices -= [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    return placed


def _rotation(orient: str | Sequence[float]) -> np.ndarray:
    if isinstance(orient, str):
        if orient not in UP:
            raise ValueError(f"orient is {orient!r}; give one of {', '.join(UP)}, or three angles in degrees")
        angles: Sequence[float] = UP[orient]
    else:
        angles = orient
    if len(angles) != 3 or not np.all(np.isfinite(angles)):
        raise ValueError(f"orient is {orient!r}; give three angles in degrees about x, y and z")
    about_x, about_y, about_z = np.radians(angles)
    rotation = euler_matrix(about_x, about_y, about_z, axes="sxyz")[:3, :3]
    # Quarter turns come out exact, so that flat faces stay flat on the voxel grid.
    return np.where(np.abs(rotation) < 1e-15, 0.0, rotation)
