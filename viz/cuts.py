"""Looking into a part: slices, clips and thresholds.

Cuts are made where a part was designed, in undeformed coordinates, and move with it: a slice at
z = 10 mm goes through the same nodes however much the deformation is exaggerated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pyvista as pv

from viz.camera import VIEW_DIRECTION
from viz.checks import SceneError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mesh: TypeAlias = "pv.UnstructuredGrid | pv.PolyData"
"""What a part is drawn from: its hexahedra, or a triangulated surface."""

Axis: TypeAlias = Literal["x", "y", "z"]
_AXES: tuple[Axis, ...] = ("x", "y", "z")


@dataclass(frozen=True)
class Plane:
    """A plane across the part.

    Parameters
    ----------
    normal : (float, float, float)
        Of any length but zero.  A clip takes away the side that it points to.
    origin : (float, float, float)
        A point on the plane, mm.
    """

    normal: tuple[float, float, float]
    origin: tuple[float, float, float]


def across(axis: Axis, position: float) -> Plane:
    """Plane at a position along an axis, in mm; its normal points to the viewer of `viz.camera`."""
    toward_viewer = float(np.sign(VIEW_DIRECTION[_AXES.index(axis)]))
    x, y, z = (float(name == axis) for name in _AXES)
    return Plane(
        (x * toward_viewer, y * toward_viewer, z * toward_viewer), (x * position, y * position, z * position)
    )


@dataclass(frozen=True)
class Slice:
    """The section of the part with a plane."""

    plane: Plane


@dataclass(frozen=True)
class Clip:
    """What is left of the part without the side of a plane that its normal points to."""

    plane: Plane


@dataclass(frozen=True)
class ClipBox:
    """What is left of the part without the cells whose centres lie in a box.

    Parameters
    ----------
    low, high : (float, float, float)
        Opposite corners of the box, mm.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class Threshold:
    """The cells whose mean over their nodes lies in a range.

    Parameters
    ----------
    low, high : float
        Bounds, included, in the units of the field that is drawn.
    """

    low: float
    high: float


Cut: TypeAlias = Slice | Clip | ClipBox | Threshold


def cut_label(cut: Cut, units: str) -> str:
    """Say in words what a cut shows.

    Parameters
    ----------
    cut : Slice, Clip, ClipBox or Threshold
        The cut.
    units : str
        Of the field that is drawn.
    """
    match cut:
        case Slice():
            return f"slice at {_plane_label(cut.plane)}"
        case Clip():
            return f"clipped at {_plane_label(cut.plane)}"
        case ClipBox():
            return "clipped by a box"
        case Threshold(low, high) if math.isinf(high):
            return f"from {low:.4g} {units}".rstrip()
        case Threshold(low, high) if math.isinf(low):
            return f"up to {high:.4g} {units}".rstrip()
        case Threshold(low, high):
            return f"{low:.4g} to {high:.4g} {units}".rstrip()


def _plane_label(plane: Plane) -> str:
    axis = np.flatnonzero(plane.normal)
    if len(axis) == 1:
        return f"{_AXES[axis[0]]} = {round(plane.origin[axis[0]], 3):g} mm"
    normal = ", ".join(f"{component:.3g}" for component in plane.normal)
    return f"the plane with normal ({normal})"


def visible_surface(
    mesh: Mesh, values: NDArray[np.floating], displacement: NDArray[np.floating], cut: Cut | None
) -> pv.PolyData:
    """Undeformed surface of what a cut leaves of a mesh.

    Where small cells hang on the face of a larger one, their shared face counts as surface too.
    It lies inside the part, out of sight.

    Parameters
    ----------
    mesh : pyvista.UnstructuredGrid or pyvista.PolyData
        Undeformed, mm.
    values : (n,) float ndarray
        A number per point of the mesh.
    displacement : (n, 3) float ndarray
        mm.
    cut : Slice, Clip, ClipBox, Threshold or None
        What to show; None for all.

    Returns
    -------
    pyvista.PolyData
        A copy, with point data ``"values"`` and ``"displacement"``, interpolated where the cut goes through
        cells.

    Raises
    ------
    SceneError
        If the cut leaves nothing.
    """
    carrier = mesh.copy(deep=False)
    carrier.point_data["values"] = values
    carrier.point_data["displacement"] = displacement
    if cut is None:
        return _surface(carrier)
    surface = _surface(_apply(cut, carrier))
    if not surface.n_points:
        low, high = np.asarray(mesh.points).min(axis=0), np.asarray(mesh.points).max(axis=0)
        extents = ", ".join(f"{a} from {x:.4g} to {y:.4g}" for a, x, y in zip(_AXES, low, high, strict=True))
        raise SceneError(
            f"nothing to draw ({cut_label(cut, '')}): the part reaches in {extents} mm, "
            f"the values from {values.min():.4g} to {values.max():.4g}"
        )
    return surface


def _surface(dataset: pv.DataSet) -> pv.PolyData:
    if isinstance(dataset, pv.PolyData):
        return dataset.copy()
    return dataset.extract_surface(algorithm=None, pass_pointid=False, pass_cellid=False)


@singledispatch
def _apply(cut: Cut, mesh: Mesh) -> pv.DataSet:
    """Return what is left of a mesh."""
    raise NotImplementedError(type(cut))


@_apply.register
def _(cut: Slice, mesh: pv.DataSet) -> pv.DataSet:
    return mesh.slice(cut.plane.normal, origin=cut.plane.origin)


@_apply.register
def _(cut: Clip, mesh: pv.DataSet) -> pv.DataSet:
    return mesh.clip(cut.plane.normal, origin=cut.plane.origin)


@_apply.register
def _(cut: ClipBox, mesh: pv.DataSet) -> pv.DataSet:
    centers = mesh.cell_centers().points
    inside = ((centers >= cut.low) & (centers <= cut.high)).all(axis=1)
    return mesh.extract_cells(~inside)


@_apply.register
def _(cut: Threshold, mesh: pv.DataSet) -> pv.DataSet:
    means = np.asarray(mesh.point_data_to_cell_data()["values"])
    return mesh.extract_cells(np.flatnonzero((means >= cut.low) & (means <= cut.high)).astype(int))
