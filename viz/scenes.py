"""A scene of one field on one part, and what every scene is drawn with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np
import pyvista as pv
from matplotlib import colormaps

from lpbf_dataset.schema import resolve_scalar
from viz.annotations import (
    FAINT_INK,
    HEADING_SIZE,
    INK,
    add_bar,
    add_text,
    case_label,
    deformation_label,
    field_label,
    field_units,
    with_units,
)
from viz.camera import look_at
from viz.checks import finite_displacement, finite_scalar, require_finite
from viz.colors import field_scale
from viz.cuts import cut_label
from viz.warp import deformed_surface, hexahedra, sharp_edges, warp_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from viz.colors import ColorScale
    from viz.cuts import Cut
    from viz.warp import Mesh, Warp

DEFAULT_SIZE = (1600, 900)

# Much of the light comes from everywhere: faces in the shade keep the colour that the bar names.
AMBIENT = 0.55
DIFFUSE = 0.5

PART_FRAME = (0.12, 0.08, 0.82, 0.88)
_BAR_BOX = (0.87, 0.2, 0.06, 0.62)


class SceneOptions(TypedDict, total=False):
    """How a part is shown; every option may be left out.

    Parameters
    ----------
    warp : float or "auto"
        Factor that exaggerates the displacement, "auto" by default; 0 draws the undeformed part.
    cut : Slice, Clip, ClipBox, Threshold or None
        What to show of the part, of `viz.cuts`; all by default.
    edges : bool
        Whether the edges of the cells are drawn; by default those of hexahedra, but not of triangles.
    outline : bool
        Whether the sharp edges of the undeformed part are drawn too; not by default.
    size : (int, int)
        Width and height in pixels.
    off_screen : bool
        Draw into memory, which is the default, or else into a window.
    """

    warp: Warp
    cut: Cut | None
    edges: bool
    outline: bool
    size: tuple[int, int]
    off_screen: bool


def field_scene(case: Case, field: str, **options: Unpack[SceneOptions]) -> pv.Plotter:
    """Draw one field on the deformed part.

    Parameters
    ----------
    case : Case
        The part.
    field : str
        Scalar field, component of a vector, or vector (its magnitude), as `Case.scalar` takes it.
    **options
        See `SceneOptions`.

    Returns
    -------
    pyvista.Plotter
        Its ``show`` opens the window, its ``screenshot`` gives the image.

    Raises
    ------
    KeyError
        If the case has no such field.
    SceneError
        If the field or the displacement is not finite everywhere, or the cut leaves nothing.
    """
    values, displacement = finite_scalar(case, field), finite_displacement(case)
    return _scene(hexahedra(case), values, displacement, field, case_label(case), options)


def surface_scene(
    surface: pv.PolyData, field: str, label: str, **options: Unpack[SceneOptions]
) -> pv.Plotter:
    """Draw one field on a deformed surface, such as an STL file with fields mapped onto it.

    Parameters
    ----------
    surface : pyvista.PolyData
        Undeformed, in mm; ``pyvista.wrap`` makes one of a trimesh.  Its point data are fields,
        components or vectors by the names and in the units of `lpbf_dataset.schema.VARIABLES`;
        ``"displacement"`` deforms it where it is there.
    field : str
        As for `field_scene`.
    label : str
        What the part is, for the heading: ``"part bracket.stl"``.
    **options
        See `SceneOptions`.

    Returns
    -------
    pyvista.Plotter
        Its ``show`` opens the window, its ``screenshot`` gives the image.

    Raises
    ------
    KeyError
        If the surface has no such field.
    SceneError
        As `field_scene`.
    """
    values = surface_scalar(surface, field)
    moves = "displacement" in surface.point_data
    displacement = np.asarray(surface["displacement"] if moves else np.zeros_like(surface.points), np.float32)
    require_finite(values, f"{field} of {label}")
    require_finite(displacement, f"displacement of {label}")
    bare = pv.PolyData(surface.points, surface.faces)
    return _scene(bare, values, displacement, field, label, options)


def surface_scalar(surface: pv.PolyData, name: str) -> NDArray[np.floating]:
    """One number per point of a surface, as `lpbf_dataset.Case.scalar` names it.

    Raises
    ------
    KeyError
        If the surface has no such field.
    """
    variable, component = resolve_scalar(name)
    if name in surface.point_data:
        values = np.asarray(surface.point_data[name])
        return values if values.ndim == 1 else np.linalg.norm(values, axis=1)
    if variable not in surface.point_data:
        known = ", ".join(surface.point_data)
        raise KeyError(f"the surface has no field {name!r}; it has {known or 'none'}")
    return np.asarray(surface.point_data[variable])[:, component]


def _scene(
    mesh: Mesh,
    values: NDArray[np.floating],
    displacement: NDArray[np.float32],
    field: str,
    label: str,
    options: SceneOptions,
) -> pv.Plotter:
    factor = warp_factor(np.asarray(mesh.points), displacement, options.get("warp", "auto"))
    cut = options.get("cut")
    surface = deformed_surface(mesh, values, displacement, factor, cut=cut)

    size, off_screen = options.get("size", DEFAULT_SIZE), options.get("off_screen", True)
    plotter = pv.Plotter(window_size=list(size), off_screen=off_screen)
    edges = options.get("edges", isinstance(mesh, pv.UnstructuredGrid))
    actor = add_surface(plotter, surface, field_scale(field, values), edges=edges)
    if options.get("outline", False):
        add_lines(plotter, sharp_edges(mesh))
    deformation = deformation_label(factor)
    note = f"{cut_label(cut, field_units(field))}, {deformation}" if cut else deformation
    annotate(plotter, actor.mapper, field, label, note)
    # The whole part stays in the frame, so that cuts of it show where they are.
    finish_panel(plotter, mesh.points + np.float32(factor) * displacement, PART_FRAME)
    return plotter


def annotate(plotter: pv.Plotter, mapper: pv.DataSetMapper, field: str, label: str, note: str) -> None:
    """Write on a scene of one panel what it shows.

    Parameters
    ----------
    plotter : pyvista.Plotter
        The scene.
    mapper : pyvista.DataSetMapper
        Of the surface, for the colour bar.
    field : str
        Field that colours it.
    label : str
        What the part is.
    note : str
        How it is shown.
    """
    name = field_label(field)
    add_bar(plotter, mapper, with_units(name, field_units(field)), _BAR_BOX, vertical=True)
    add_text(plotter, f"{name}, {label}", (0.5, 0.945), size=HEADING_SIZE)
    add_text(plotter, note, (0.985, 0.04), align="right", color=FAINT_INK)


def add_surface(
    plotter: pv.Plotter, surface: pv.PolyData, scale: ColorScale, *, edges: bool = True
) -> pv.Actor:
    """Draw a surface of `viz.warp.deformed_surface` on the active panel, without a colour bar."""
    return plotter.add_mesh(
        surface,
        scalars="values",
        cmap=colormaps[scale.cmap],
        clim=scale.limits,
        show_scalar_bar=False,
        show_edges=edges,
        edge_color="black",
        edge_opacity=0.2,
        line_width=max(1.0, plotter.window_size[1] / 900),
        ambient=AMBIENT,
        diffuse=DIFFUSE,
        reset_camera=False,
        render=False,
    )


def add_plain(plotter: pv.Plotter, surface: pv.PolyData, *, opacity: float = 1.0) -> pv.Actor:
    """Draw a surface in grey on the active panel."""
    return plotter.add_mesh(
        surface,
        color="#c8c8c8",
        opacity=opacity,
        ambient=AMBIENT,
        diffuse=DIFFUSE,
        reset_camera=False,
        render=False,
    )


def add_lines(plotter: pv.Plotter, lines: pv.PolyData) -> pv.Actor:
    """Draw lines, such as those of `viz.warp.sharp_edges`, on the active panel."""
    width = max(1.0, plotter.window_size[1] / 600)
    return plotter.add_mesh(
        lines, color=INK, line_width=width, lighting=False, reset_camera=False, render=False
    )


def finish_panel(
    plotter: pv.Plotter, points: NDArray[np.floating], frame: tuple[float, float, float, float]
) -> None:
    """Give the active panel its axes, smooth edges and a camera with the points in the frame."""
    plotter.renderer.add_axes(color=INK, line_width=3, viewport=(0.0, 0.0, 0.24, 0.28))
    plotter.enable_anti_aliasing("ssaa", all_renderers=False)
    look_at(plotter.renderer, points, frame)
