"""Putting a part on the build plate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from trimesh.transformations import euler_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trimesh
    from numpy.typing import NDArray

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
    return _placed(mesh, scale_to_mm, orient)[0]


def plate_frame(
    mesh: trimesh.Trimesh, scale_to_mm: float | None = None, orient: str | Sequence[float] = "as-is"
) -> NDArray[np.float64]:
    """Transform that `place_on_plate` applies.

    Parameters
    ----------
    mesh, scale_to_mm, orient
        As in `place_on_plate`.

    Returns
    -------
    (4, 4) float64 ndarray
        Homogeneous matrix from the frame of the part to that of the plate; its inverse brings what belongs
        to the placed part, such as a compensated surface, back to where the user has the part.

    Raises
    ------
    ValueError
        As `place_on_plate`.
    """
    return _placed(mesh, scale_to_mm, orient)[1]


def _placed(
    mesh: trimesh.Trimesh, scale_to_mm: float | None, orient: str | Sequence[float]
) -> tuple[trimesh.Trimesh, NDArray[np.float64]]:
    if scale_to_mm is not None and not (np.isfinite(scale_to_mm) and scale_to_mm > 0):
        raise ValueError(f"scale_to_mm is {scale_to_mm}; give the longest edge as a positive length in mm")
    placed = mesh.copy()
    rotation = _rotation(orient)
    placed.vertices = placed.vertices @ rotation.T
    factor = 1.0 if scale_to_mm is None else scale_to_mm / placed.extents.max()
    placed.vertices *= factor
    low, high = placed.bounds
    base = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    placed.vertices -= base
    frame = np.eye(4)
    frame[:3, :3] = factor * rotation
    frame[:3, 3] = -base
    return placed, frame


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
