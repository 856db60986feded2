from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import pyvista as pv

from tests.viz.blocks import Blocks
from viz.desktop import HELP, DesktopViewer
from viz.live import LiveScene
from viz.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[DesktopViewer]:
    with closing(LiveScene((480, 320))) as scene:
        yield DesktopViewer(Viewer(Blocks(), scene), tmp_path)


def status(desktop: DesktopViewer) -> str:
    return desktop._status.input


def press(desktop: DesktopViewer, key: str) -> None:
    """Press a key as the window system reports it."""
    interactor = desktop.viewer.scene.plotter.iren.interactor
    interactor.SetKeyEventInformation(0, 0, key[0], 0, key)
    interactor.InvokeEvent("KeyPressEvent")
    interactor.InvokeEvent("CharEvent")


def test_keys_do_what_the_help_says(desktop: DesktopViewer) -> None:
    viewer = desktop.viewer
    press(desktop, "n")
    assert viewer.case_name == "second"
    assert status(desktop).startswith("case 2 of 3")
    press(desktop, "p")
    assert viewer.case_name == "first"
    press(desktop, "f")
    assert viewer.look.field == "von_mises_stress"
    press(desktop, "F")
    assert (viewer.look.field, viewer.look.component) == ("displacement", "z")
    press(desktop, "Left")
    assert viewer.step == 0
    press(desktop, "Left")
    assert viewer.step == 0
    press(desktop, "e")
    assert not viewer.look.edges
    press(desktop, "c")
    assert viewer.look.compare
    press(desktop, "s")
    press(desktop, "bracketright")
    assert (viewer.look.cut_axis, viewer.look.cut_at) == ("x", pytest.approx(0.55))


def test_deformation_grows_and_shrinks(desktop: DesktopViewer) -> None:
    viewer = desktop.viewer
    automatic = viewer.warp
    press(desktop, "plus")
    assert viewer.warp == 1.25 * automatic
    press(desktop, "minus")
    assert viewer.warp == automatic
    viewer.set_warp(0.0)
    press(desktop, "plus")
    assert viewer.warp == 1.0


def test_every_key_is_in_the_help(desktop: DesktopViewer) -> None:
    shown = {"plus": "+", "equal": "+", "minus": "-", "bracketleft": "[", "bracketright": "]"}
    keys = [word for line in HELP.splitlines() for word in line[:14].replace(" / ", " ").split()]
    assert {shown.get(key, key) for key in desktop.keys} <= set(keys)
    press(desktop, "h")
    assert desktop._help.input == HELP
    press(desktop, "h")
    assert not desktop._help.input


def test_what_cannot_be_done_is_said_in_the_window(desktop: DesktopViewer) -> None:
    press(desktop, "p")
    assert "case broken cannot be read: it is cut off" in status(desktop)
    assert desktop.viewer.case_name == "first"
    press(desktop, "e")
    assert "broken" not in status(desktop)


def test_a_picture_is_saved(desktop: DesktopViewer, tmp_path: Path) -> None:
    press(desktop, "S")
    assert pv.read(tmp_path / "first_displacement.png").dimensions == (480, 320, 1)
    assert "wrote" in status(desktop)


def test_a_drag_is_no_click(desktop: DesktopViewer) -> None:
    plotter = desktop.viewer.scene.plotter
    plotter.screenshot()
    interactor = plotter.iren.interactor

    def drag(end: tuple[int, int]) -> None:
        interactor.SetEventPosition(240, 160)
        interactor.InvokeEvent("LeftButtonPressEvent")
        interactor.SetEventPosition(*end)
        interactor.InvokeEvent("LeftButtonReleaseEvent")

    drag((300, 160))
    assert desktop.viewer.picked is None
    drag((241, 160))
    assert desktop.viewer.picked is not None
    assert "x, y, z [mm]:" in status(desktop)


def test_sliders_change_the_viewer_and_follow_it(desktop: DesktopViewer) -> None:
    by_title = {slider.title: slider for slider in desktop._sliders}
    assert set(by_title) == {"cut", "deformation", "step"}
    desktop._slide(by_title["deformation"], 4.0)
    assert desktop.viewer.warp == 4.0
    press(desktop, "Left")
    assert by_title["step"].widget.GetRepresentation().GetValue() == 0


def test_the_slider_of_steps_is_as_long_as_the_case_has_steps(
    desktop: DesktopViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slider,) = (slider for slider in desktop._sliders if slider.title == "step")
    monkeypatch.setattr(Blocks, "step_labels", lambda _, name: ["step"] * (5 if name == "second" else 2))
    press(desktop, "n")
    representation = slider.widget.GetRepresentation()
    assert (representation.GetMaximumValue(), representation.GetValue()) == (4, 4)
