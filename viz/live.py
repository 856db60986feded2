"""A scene that follows what a user asks for: actors are changed in place, nothing is built anew."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyvista as pv

from viz.camera import look_at
from viz.contents import Look, panel_contents
from viz.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from vtkmodules.vtkRenderingCore import vtkRenderWindow

    from viz.contents import Content, Scales
    from viz.subjects.base import Part

DEFAULT_SIZE = (1600, 900)

# Room for the heading above and the bar below, as fractions of a panel.
_FRAME = (0.05, 0.19, 0.95, 0.88)
_PANELS = 3

# A press and a release further apart than this turn the part rather than point at a node.
_CLICK_PIXELS = 4

# Smooth edges cost nothing on a graphics card, and threefold the time without one, as on most servers.
_SAMPLES = 8


class LiveScene:
    """A part in one panel, or truth, prediction and error in three with one camera.

    Parameters
    ----------
    size : (int, int), optional
        Width and height in pixels.
    off_screen : bool, optional
        Draw into memory, or else into a window.
    """

    def __init__(self, size: tuple[int, int] = DEFAULT_SIZE, *, off_screen: bool = True) -> None:
        self.plotter = pv.Plotter(
            shape=(1, _PANELS), border=False, window_size=list(size), off_screen=off_screen
        )
        window, events = self.plotter.render_window, self.plotter.iren
        assert window is not None
        assert events is not None
        self.window: vtkRenderWindow = window
        self.interactor: Any = events.interactor
        self.window.SetMultiSamples(0 if self.plotter.off_screen else _SAMPLES)
        self._all_panels = [Panel(self.plotter, column) for column in range(_PANELS)]
        camera = self._all_panels[0].renderer.camera
        for panel in self._all_panels:
            panel.renderer.camera = camera
            panel.renderer.camera_set = True
        self._panels = self._all_panels[:0]
        self.contents: list[Content] = []
        self._part: Part | None = None
        self._look = Look()
        self._window_size = (0, 0)
        self._view_when_fitted: tuple[float, ...] = ()
        self.window.AddObserver("StartEvent", lambda *_: self._fit_to_window())

    def show(
        self, part: Part, look: Look, *, keep_camera: bool = False, scales: Scales | None = None
    ) -> None:
        """Draw a part, changing what is different from before.

        Parameters
        ----------
        part : Part
            The part.
        look : Look
            How it is looked at.
        keep_camera : bool, optional
            Look from where one does although the part is another: it is another step of the same.
        scales : Scales, optional
            Its colours; by default such as fit the part.

        Raises
        ------
        SubjectError
            If the part cannot be drawn; the scene stays as it was.
        """
        contents = panel_contents(part, look, scales)
        is_new = part is not self._part
        if is_new or (look.cut_axis, look.cut_at) != (self._look.cut_axis, self._look.cut_at):
            self._set_surface(part, look)
        rearranged = len(contents) != len(self._panels)
        self._arrange(len(contents))
        for panel, content in zip(self._panels, contents, strict=True):
            panel.show(content, edges=look.edges)
        self._part, self._look, self.contents = part, look, contents
        if rearranged or (is_new and not keep_camera):
            self.reset_camera()
        self._all_panels[0].renderer.reset_camera_clipping_range()

    def close(self) -> None:
        """Let go of the window; nothing can be drawn from then on."""
        # Sliders that outlive their window crash (VTK 9.7).
        self.plotter.clear_slider_widgets()  # type: ignore[call-arg]
        self.plotter.close()

    def reset_camera(self) -> None:
        """Look at the whole part from the front, right and above."""
        self.aim_at(np.concatenate([panel.points for panel in self._panels]))
        self._view_when_fitted = self._view()

    def aim_at(self, points: NDArray[np.floating]) -> None:
        """Look at places (n, 3), mm, that need not be of the part, from the front, right and above."""
        look_at(self._panels[0].renderer, points, _FRAME)
        self._view_when_fitted = ()

    def mark(self, node: int | None) -> None:
        """Mark a node of the surface; None takes the mark away."""
        for panel in self._panels:
            panel.mark(node)

    def add_note(self, position: tuple[float, float]) -> pv.Text:
        """Add lines of text to the first panel, left-aligned below a position in fractions of it."""
        note = self._all_panels[0].add_note(position)
        self._window_size = (0, 0)
        return note

    def pick(self, x: int, y: int) -> int | None:
        """Find the node nearest to what is seen at a pixel; None beside the part."""
        for panel in self._panels:
            if panel.renderer.IsInViewport(x, y):
                return panel.pick(x, y)
        return None

    def on_click(self, react: Callable[[int, int], None]) -> None:
        """Call with the pixel, from the lower left, when the left button is pressed without a drag."""
        interactor = self.interactor
        pressed_at = [(0, 0)]

        def press(*_: object) -> None:
            pressed_at[0] = interactor.GetEventPosition()

        def release(*_: object) -> None:
            x, y = interactor.GetEventPosition()
            if max(abs(x - pressed_at[0][0]), abs(y - pressed_at[0][1])) <= _CLICK_PIXELS:
                react(x, y)

        interactor.AddObserver("LeftButtonPressEvent", press)
        # While the button is down the style keeps all other events of the mouse to itself.
        interactor.GetInteractorStyle().AddObserver("EndInteractionEvent", release)

    @contextmanager
    def for_vtk_js(self) -> Iterator[None]:
        """Leave, for a while, what vtk.js draws as VTK does: it knows no text and no parallel camera."""
        camera = self._all_panels[0].renderer.camera
        hidden = self._all_panels[len(self._panels) :]
        position = camera.position
        toward = np.subtract(position, camera.focal_point)
        distance = camera.parallel_scale / np.tan(np.radians(camera.view_angle / 2))
        for panel in self._panels:
            panel.set_plain(plain=True)
        for panel in hidden:
            self.window.RemoveRenderer(panel.renderer)
        camera.position = camera.focal_point + toward * (distance / np.linalg.norm(toward))
        try:
            yield
        finally:
            camera.position = position
            for panel in self._panels:
                panel.set_plain(plain=False)
                panel.renderer.reset_camera_clipping_range()
            for panel in hidden:
                self.window.AddRenderer(panel.renderer)

    def _set_surface(self, part: Part, look: Look) -> None:
        surface, nodes = visible_surface(part.mesh, look)
        for panel in self._all_panels:
            panel.set_surface(surface, nodes)

    def _arrange(self, count: int) -> None:
        """Spread so many panels over the window."""
        self._panels = self._all_panels[:count]
        for position, panel in enumerate(self._all_panels):
            shown = position < count
            panel.renderer.SetDraw(shown)
            panel.renderer.viewport = (
                (position / count, 0.0, (position + 1) / count, 1.0) if shown else (0.0, 0.0, 0.001, 0.001)
            )

    def _view(self) -> tuple[float, ...]:
        camera = self._all_panels[0].renderer.camera
        return (*camera.position, *camera.focal_point, camera.parallel_scale)

    def image(self) -> NDArray[np.uint8]:
        """Picture of the scene as it is, with smooth edges, (height, width, 3)."""
        self.plotter.enable_anti_aliasing("ssaa", all_renderers=True)
        try:
            # A screenshot of its own accord is drawn once alone.
            self.window.Render()
            return np.asarray(self.plotter.screenshot(return_img=True))
        finally:
            self.plotter.disable_anti_aliasing(all_renderers=True)

    def _fit_to_window(self) -> None:
        """Follow a window that has changed its size; the camera too, if nobody has moved it."""
        width, height = self.window.GetSize()
        size = (width, height)
        if size == self._window_size or not self._panels:
            return
        self._window_size = size
        for panel in self._all_panels:
            panel.fit_text(height)
        if self._view() == self._view_when_fitted:
            self.reset_camera()


def visible_surface(
    mesh: pv.UnstructuredGrid | pv.PolyData, look: Look
) -> tuple[pv.PolyData, NDArray[np.int64]]:
    """Return the surface of a mesh, or of what is left when whole cells before a plane are taken away.

    Parameters
    ----------
    mesh : pyvista.UnstructuredGrid or pyvista.PolyData
        Undeformed.
    look : Look
        Where it is cut.

    Returns
    -------
    surface : pyvista.PolyData
        Without data.
    nodes : (m,) int64 ndarray
        Node of the mesh that each of its points is.
    """
    nodes = np.arange(mesh.n_points)
    if look.cut_axis:
        axis = "xyz".index(look.cut_axis)
        centers = mesh.cell_centers().points[:, axis]
        place = centers.min() + look.cut_at * np.ptp(centers)
        # The camera looks from +x, -y and +z.
        kept = centers >= place if look.cut_axis == "y" else centers <= place
        mesh = mesh.extract_cells(kept, pass_point_ids=True)
        nodes = np.asarray(mesh.point_data["vtkOriginalPointIds"])
    surface = mesh.extract_surface(algorithm=None, pass_pointid=True)
    nodes = nodes[surface.point_data["vtkOriginalPointIds"]]
    surface.clear_data()
    return surface, nodes
