"""One panel of a live scene: a surface, what is written about it, and a marked node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv
from matplotlib import colormaps
from vtkmodules.vtkRenderingAnnotation import vtkScalarBarActor
from vtkmodules.vtkRenderingCore import vtkCellPicker

from viz.annotations import FAINT_INK, INK, font_file
from viz.scenes import AMBIENT, DIFFUSE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from viz.contents import Colouring, Content

COLORS = 256
BARE_COLOR = "#b8c2cc"
MARK_COLOR = "#e4007c"

# Heights in pixels where the window is 900 high; the smallest is what can still be read.
_TEXT_PIXELS = 18
_SMALLEST_TEXT = 11
_REFERENCE_HEIGHT = 900

_HEADING, _CAPTION, _NOTE, _TITLE = (0.5, 0.955), (0.5, 0.915), (0.5, 0.03), (0.5, 0.145)
_BAR = (0.2, 0.065, 0.6, 0.06)


class Panel:
    """Draws on one renderer of a plotter and changes what it has drawn.

    Parameters
    ----------
    plotter : pyvista.Plotter
        Of one row of panels.
    column : int
        Which panel.
    """

    def __init__(self, plotter: pv.Plotter, column: int) -> None:
        plotter.subplot(0, column)
        self.renderer: pv.Renderer = plotter.renderer
        self._nodes: NDArray[np.int64] = np.empty(0, np.int64)
        self._surface = pv.PolyData()
        self._mapper = pv.DataSetMapper(self._surface)
        self._table = pv.LookupTable()
        self._mapper.lookup_table = self._table
        # Colours of values between nodes are those of the values, not mixtures of the nodes' colours.
        self._mapper.interpolate_before_map = True
        self._actor = pv.Actor(mapper=self._mapper)
        self._actor.prop.ambient, self._actor.prop.diffuse = AMBIENT, DIFFUSE
        self._actor.prop.edge_opacity = 0.2
        self._edges = True
        self._texts = [
            _text(*place) for place in ((_HEADING, INK), (_CAPTION, INK), (_NOTE, FAINT_INK), (_TITLE, INK))
        ]
        self._bar = _color_bar(self._table)
        self._marked = pv.PolyData(np.zeros((1, 3)))
        self._mark = pv.Actor(mapper=pv.DataSetMapper(self._marked))
        self._mark.prop.color = MARK_COLOR
        self._mark.prop.point_size = 14
        self._mark.prop.render_points_as_spheres = True
        self._mark.SetVisibility(False)
        self._mark.SetPickable(False)
        for actor in (self._actor, self._mark, self._bar, *self._texts):
            self.renderer.AddViewProp(actor)
        self._has_axes = column == 0
        if self._has_axes:
            self.renderer.add_axes(color=INK, line_width=3, viewport=(0.0, 0.14, 0.3, 0.36))

    @property
    def points(self) -> NDArray[np.float32]:
        """Where the nodes of the surface are drawn, (m, 3) float32, mm."""
        return np.asarray(self._surface.points)

    def set_surface(self, surface: pv.PolyData, nodes: NDArray[np.int64]) -> None:
        """Draw another surface from the next `show` on.

        Parameters
        ----------
        surface : pyvista.PolyData
            Its faces count.
        nodes : (m,) int64 ndarray
            Node of the part that each of its points is.
        """
        self._surface = surface.copy(deep=False)
        self._nodes = nodes
        self._mapper.dataset = self._surface
        self._mark.SetVisibility(False)

    def show(self, content: Content, *, edges: bool) -> None:
        """Move and colour the surface, and write about it."""
        self._surface.points = content.points[self._nodes]
        self._color(content.colouring)
        self._actor.prop.show_edges = self._edges = edges
        title = content.colouring.title if content.colouring else ""
        for actor, text in zip(
            self._texts, (content.heading, content.caption, content.note, title), strict=False
        ):
            actor.input = text

    def mark(self, node: int | None) -> None:
        """Mark a node where it is on the surface."""
        where = np.flatnonzero(self._nodes == node)
        self._mark.SetVisibility(bool(len(where)))
        if len(where):
            self._marked.points = self.points[where[:1]]

    def pick(self, x: int, y: int) -> int | None:
        """Find the node of the surface nearest to what is seen at a pixel."""
        picker = vtkCellPicker()
        picker.SetTolerance(0.0005)
        if not picker.Pick(x, y, 0, self.renderer) or picker.GetCellId() < 0:
            return None
        corners = self._surface.get_cell(picker.GetCellId()).point_ids
        distances = np.linalg.norm(self.points[corners] - np.array(picker.GetPickPosition()), axis=1)
        return int(self._nodes[corners[int(distances.argmin())]])

    def add_note(self, position: tuple[float, float]) -> pv.Text:
        """Add lines of their own, to be written on later, left-aligned below a position."""
        note = _text(position, INK, mono=True)
        note.prop.justification_horizontal = "left"
        note.prop.justification_vertical = "top"
        self._texts.append(note)
        self.renderer.AddViewProp(note)
        return note

    def set_plain(self, *, plain: bool) -> None:
        """Take away, or bring back, headings, bar, and the edges, which vtk.js would draw opaque."""
        change = self.renderer.RemoveViewProp if plain else self.renderer.AddViewProp
        for actor in (self._bar, self._mark, *self._texts):
            change(actor)
        if self._has_axes:
            axes = self.renderer.axes_widget
            assert axes is not None
            axes.SetEnabled(not plain)
        self._actor.prop.show_edges = self._edges and not plain

    def fit_text(self, window_height: int) -> None:
        """Make letters and bar legible in a window of a height in pixels."""
        pixels = max(_SMALLEST_TEXT, round(_TEXT_PIXELS * window_height / _REFERENCE_HEIGHT))
        for actor in self._texts:
            actor.prop.font_size = pixels
        self._bar.GetLabelTextProperty().SetFontSize(pixels)

    def _color(self, colouring: Colouring | None) -> None:
        self._bar.SetVisibility(colouring is not None)
        self._mapper.scalar_visibility = colouring is not None
        self._actor.prop.color = BARE_COLOR
        if colouring is None:
            return
        self._surface.point_data["values"] = colouring.values[self._nodes]
        self._surface.set_active_scalars("values")
        scale = colouring.scale
        self._table.apply_cmap(colormaps[scale.cmap], COLORS)
        self._table.scalar_range = scale.limits
        self._mapper.scalar_range = scale.limits


def _text(position: tuple[float, float], color: str, *, mono: bool = False) -> pv.Text:
    text = pv.Text("")
    text.prop.color = color
    text.prop.set_font_file(str(font_file(mono=mono)))
    text.prop.justification_horizontal = "center"
    text.prop.justification_vertical = "center"
    text.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    text.position = position
    return text


def _color_bar(table: pv.LookupTable) -> vtkScalarBarActor:
    bar = vtkScalarBarActor()
    bar.SetLookupTable(table)
    bar.SetOrientationToHorizontal()
    bar.SetNumberOfLabels(5)
    bar.SetMaximumNumberOfColors(COLORS)
    bar.SetLabelFormat("{:.4g}")
    bar.SetUnconstrainedFontSize(True)
    left, bottom, width, height = _BAR
    bar.SetPosition(left, bottom)
    bar.SetPosition2(width, height)
    labels = pv.TextProperty(color=INK, font_file=str(font_file()))
    labels.shadow = False
    bar.SetLabelTextProperty(labels)
    return bar
