"""The viewer in a window of a desktop: keys for everything, and sliders for what is continuous."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz.annotations import INK
from viz.contents import CUT_AXES
from viz.rendering import RenderingError, save_image
from viz.subjects.base import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from viz.viewer import Viewer

HELP = """n / p         next / previous case
f / F         next / previous field
+ / -         more / less deformation
Left / Right  step of the build
s             cut along x, y, z, not at all
[ / ]         move the cut
e             edges of cells
c             compare with the prediction
r             whole part
S             save a picture here
click         values of a node
h             this help
q             close"""

_WARP_STEP = 1.25
_CUT_STEP = 0.05


_STEP = "step"


@dataclass
class _Slider:
    title: str
    highest: float
    value: Callable[[], float]
    change: Callable[[float], None]
    widget: Any = None


class DesktopViewer:
    """Keys and panel of a viewer.

    Parameters
    ----------
    viewer : Viewer
        On a scene of its own.
    folder : Path, optional
        Where pictures are saved.
    """

    def __init__(self, viewer: Viewer, folder: Path = Path()) -> None:
        self.viewer = viewer
        self.folder = folder
        self._plotter = viewer.scene.plotter
        self._status = viewer.scene.add_note((0.01, 0.985))
        self._help = viewer.scene.add_note((0.01, 0.8))
        self._sliders: list[_Slider] = []
        self._sliders = self._add_sliders()
        self._connect_keys()
        viewer.scene.on_click(self._click)
        self._message = ""
        self._write()

    @property
    def keys(self) -> Mapping[str, Callable[[], None]]:
        """What each key does, by its X11 name."""
        viewer = self.viewer
        return {
            "n": lambda: viewer.move_case(1),
            "p": lambda: viewer.move_case(-1),
            "f": lambda: viewer.move_field(1),
            "F": lambda: viewer.move_field(-1),
            "plus": lambda: self._warp(_WARP_STEP),
            "equal": lambda: self._warp(_WARP_STEP),
            "minus": lambda: self._warp(1 / _WARP_STEP),
            "Right": lambda: self._step(1),
            "Left": lambda: self._step(-1),
            "s": self._next_cut,
            "bracketleft": lambda: self._move_cut(-_CUT_STEP),
            "bracketright": lambda: self._move_cut(_CUT_STEP),
            "e": lambda: viewer.set_edges(not viewer.look.edges),
            "c": lambda: viewer.set_compare(not viewer.look.compare),
            "r": viewer.scene.reset_camera,
            "S": self._save,
            "h": self._toggle_help,
        }

    def press(self, key: str) -> None:
        """Do what a key does; say so in the window if it cannot be done."""
        self._attempt(self.keys[key])

    def run(self) -> None:
        """Show the window until it is closed."""
        self._plotter.show(title=f"lpbf-view {self.viewer.subject.name}")

    def _connect_keys(self) -> None:
        keyboard = self._plotter.iren
        assert keyboard is not None
        keyboard.clear_key_event_callbacks()
        # VTK's own keys would quit, change the surface or the camera.
        self.viewer.scene.interactor.GetInteractorStyle().AddObserver("CharEvent", lambda *_: None)
        for key in self.keys:
            keyboard.add_key_event(key, lambda key=key: self.press(key))
        keyboard.add_key_event("q", lambda: self.viewer.scene.interactor.ExitCallback())

    def _add_sliders(self) -> list[_Slider]:
        """Sliders down the left side, for what there is to choose."""
        viewer = self.viewer
        sliders = [
            _Slider(
                "cut", 1.0, lambda: viewer.look.cut_at, lambda at: viewer.set_cut(viewer.look.cut_axis, at)
            )
        ]
        if viewer.warp_limit:
            sliders.append(_Slider("deformation", viewer.warp_limit, lambda: viewer.warp, viewer.set_warp))
        if last := len(viewer.step_labels) - 1:
            sliders.append(
                _Slider(_STEP, last, lambda: viewer.step, lambda place: viewer.set_step(round(place)))
            )
        self._plotter.subplot(0, 0)
        for row, slider in enumerate(sliders):
            height = 0.3 + 0.1 * row
            slider.widget = self._plotter.add_slider_widget(
                partial(self._slide, slider),  # type: ignore[arg-type]
                (0.0, slider.highest),
                value=slider.value(),
                title=slider.title,
                pointa=(0.02, height),
                pointb=(0.2, height),
                color=INK,
                style="modern",
                slider_width=0.018,
                tube_width=0.006,
                title_height=0.014,
                fmt="%.3g",
                interaction_event="always",
            )
        return sliders

    def _slide(self, slider: _Slider, place: float) -> None:
        # A new slider reports the value that it was given.
        if place != slider.value():
            self._attempt(lambda: slider.change(place))

    def _attempt(self, change: Callable[[], None]) -> None:
        """Make a change; say so in the window if it cannot be made."""
        self._message = ""
        try:
            change()
        except (SubjectError, RenderingError) as error:
            self._message = str(error)
        self._write()
        for slider in self._sliders:
            representation = slider.widget.GetRepresentation()
            if slider.title == _STEP:
                # Cases have as many steps as they have.
                representation.SetMaximumValue(max(len(self.viewer.step_labels) - 1, 1))
            representation.SetValue(slider.value())
        self._plotter.render()

    def _write(self) -> None:
        names = self.viewer.subject.case_names
        readings = "\n".join(f"{label}: {text}" for label, text in self.viewer.readings)
        place = f"case {names.index(self.viewer.case_name) + 1} of {len(names)}, h for help"
        self._status.input = f"{place}\n{self._message}\n{readings}"

    def _toggle_help(self) -> None:
        self._help.input = "" if self._help.input else HELP

    def _warp(self, ratio: float) -> None:
        # From no deformation one comes to the true one.
        self.viewer.set_warp(self.viewer.warp * ratio or 1.0)

    def _step(self, offset: int) -> None:
        count = len(self.viewer.step_labels)
        self.viewer.set_step(min(max(self.viewer.step + offset, 0), count - 1))

    def _next_cut(self) -> None:
        look = self.viewer.look
        following = (CUT_AXES.index(look.cut_axis) + 1) % len(CUT_AXES)
        self.viewer.set_cut(CUT_AXES[following], look.cut_at)

    def _move_cut(self, offset: float) -> None:
        look = self.viewer.look
        self.viewer.set_cut(look.cut_axis, look.cut_at + offset)

    def _save(self) -> None:
        path = self.folder / f"{Path(self.viewer.case_name).name}_{self.viewer.look.field or 'shape'}.png"
        save_image(self.viewer.scene.image(), path)
        self._message = f"wrote {path}"

    def _click(self, x: int, y: int) -> None:
        self._attempt(lambda: self.viewer.pick(x, y))
