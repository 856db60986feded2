from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pyvista as pv

from viz import rendering
from viz.rendering import (
    RenderingError,
    check_image_path,
    prepare_offscreen,
    require_display,
    save_screenshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
DRAW = """
from viz.rendering import prepare_offscreen
prepare_offscreen()
import pyvista as pv
plotter = pv.Plotter(off_screen=True, window_size=[64, 64])
plotter.add_mesh(pv.Sphere(), color="red")
assert plotter.screenshot(return_img=True).std() > 10
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a desktop")


def draw_headless(then: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "VTK_DEFAULT_OPENGL_WINDOW")}
    return subprocess.run(
        [sys.executable, "-c", DRAW + then],
        env=inherited | environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def scene() -> Iterator[pv.Plotter]:
    plotter = pv.Plotter(off_screen=True, window_size=[64, 48])
    plotter.add_mesh(pv.Sphere(), color="red")
    yield plotter
    plotter.close()


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str | None, str]], None]:
    """Return a way to say which window VTK makes for each choice in its environment variable."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)

    def made(by_choice: dict[str | None, str]) -> None:
        monkeypatch.setattr(
            rendering, "_window_class", lambda: by_choice[os.environ.get("VTK_DEFAULT_OPENGL_WINDOW")]
        )

    return made


@linux_only
def test_triton_can_be_loaded_after_a_picture_was_drawn():
    pytest.importorskip("triton")
    drawn = draw_headless("import triton")
    assert drawn.returncode == 0, drawn.stderr


@linux_only
def test_without_a_desktop_nothing_is_printed() -> None:
    finished = draw_headless()
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@linux_only
def test_without_a_driver_there_is_a_reason_and_no_crash() -> None:
    # What a machine without any driver has: libglvnd finds no vendor in an empty folder.
    finished = draw_headless(__EGL_VENDOR_LIBRARY_DIRS="/nonexistent")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].endswith("(Debian and Ubuntu: apt install libegl1 libgl1)")
    assert "WARN" not in finished.stderr


def test_egl_is_chosen_where_it_works(windows: Callable[..., None]) -> None:
    windows({"vtkEGLRenderWindow": "vtkEGLRenderWindow"})
    prepare_offscreen()
    assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "vtkEGLRenderWindow"


def test_a_desktop_serves_where_egl_does_not(
    windows: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    windows({"vtkEGLRenderWindow": "vtkOSOpenGLRenderWindow", None: "vtkXOpenGLRenderWindow"})
    prepare_offscreen()
    assert "VTK_DEFAULT_OPENGL_WINDOW" not in os.environ


@pytest.mark.parametrize("display", ["", ":0"])
def test_no_opengl_names_the_packages(
    windows: Callable[..., None], monkeypatch: pytest.MonkeyPatch, display: str
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    windows({"vtkEGLRenderWindow": "vtkOSOpenGLRenderWindow", None: "vtkOSOpenGLRenderWindow"})
    with pytest.raises(RenderingError, match="libegl1 libgl1"):
        prepare_offscreen()


def test_the_choice_of_the_user_stands(windows: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    windows({})
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
    prepare_offscreen()
    assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "vtkOSOpenGLRenderWindow"


def test_no_desktop_points_at_screenshots(windows: Callable[..., None]) -> None:
    windows({})
    with pytest.raises(RenderingError, match=r"DISPLAY is not set.*--screenshot"):
        require_display()


def test_a_dead_display_points_at_screenshots(
    windows: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":77")
    windows({None: "vtkEGLRenderWindow"})
    with pytest.raises(RenderingError, match=r"display :77.*--screenshot"):
        require_display()


def test_a_live_display_will_do(windows: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    windows({None: "vtkXOpenGLRenderWindow"})
    require_display()


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "deep/folder/picture.PNG"])
def test_screenshots_are_written_whole_with_their_folder(
    scene: pv.Plotter, tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    save_screenshot(scene, target)
    assert pv.read(target).dimensions == (64, 48, 1)
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_earlier_picture(
    scene: pv.Plotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"earlier")

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(scene, "screenshot", fail)
    with pytest.raises(RenderingError, match=r"cannot write .*picture.png: disk full"):
        save_screenshot(scene, target)
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_named(scene: pv.Plotter, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RenderingError, match=r"cannot write .*file/picture.png: "):
        save_screenshot(scene, tmp_path / "file" / "picture.png")


@pytest.mark.parametrize("name", ["picture", "picture.svg", "picture.pn"])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(RenderingError, match=rf"{name}: the name must end in \.png"):
        check_image_path(tmp_path / name)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(RenderingError, match="it is a folder"):
        check_image_path(tmp_path / "folder.png")
