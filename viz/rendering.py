"""A picture of a scene without a desktop, and a clear reason where there can be none.

VTK tries an X server first and falls back to EGL with a warning for each thing that it missed.
With neither, it goes on to a software renderer that is seldom installed, and the process dies of a
segmentation fault at the first frame (seen with VTK 9.7).  So the kind of window is settled here,
quietly, before the first scene.

Mesa's software renderer and Triton, which PyTorch loads at its convenience, both bring LLVM, and
Triton dies of a segmentation fault where Mesa's is in the process before its own (seen with Mesa 22.3
and Triton 3.9).  So Triton, where it is installed, is loaded here too.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    import numpy as np
    import pyvista as pv
    from numpy.typing import NDArray

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Formats that a scene can be saved in."""

# https://docs.vtk.org/en/latest/advanced/runtime_settings.html
_WINDOW_VARIABLE = "VTK_DEFAULT_OPENGL_WINDOW"
_EGL_WINDOW = "vtkEGLRenderWindow"
_LAST_RESORT_WINDOW = "vtkOSOpenGLRenderWindow"


class RenderingError(ValueError):
    """Nothing can be drawn here: a library or a display is missing, or the file cannot be an image."""


def prepare_offscreen() -> None:
    """Make VTK draw into memory, through EGL on Linux.

    A choice that the user made through ``VTK_DEFAULT_OPENGL_WINDOW`` stands.

    Raises
    ------
    RenderingError
        If VTK finds no way to draw.
    """
    if sys.platform != "linux":
        return
    with suppress(ImportError):
        import triton  # noqa: F401
    if _WINDOW_VARIABLE in os.environ:
        return
    os.environ[_WINDOW_VARIABLE] = _EGL_WINDOW
    if _window_class() == _EGL_WINDOW:
        return
    del os.environ[_WINDOW_VARIABLE]
    if not os.environ.get("DISPLAY") or _window_class() == _LAST_RESORT_WINDOW:
        raise RenderingError(
            "no OpenGL to draw with: install the system's EGL library with a driver "
            "(Debian and Ubuntu: apt install libegl1 libgl1)"
        )


def require_display() -> None:
    """Check that VTK can open a window.

    Raises
    ------
    RenderingError
        If there is no desktop to open one on.
    """
    if sys.platform != "linux":
        return
    display = os.environ.get("DISPLAY")
    if not display:
        raise RenderingError(
            "no desktop to open a window on ($DISPLAY is not set): use --web, or --screenshot FILE.png"
        )
    if _window_class() in (_EGL_WINDOW, _LAST_RESORT_WINDOW):
        raise RenderingError(
            f"cannot open a window on display {display}: use --web, or --screenshot FILE.png"
        )


def check_image_path(path: str | PathLike[str]) -> Path:
    """Check the format that the name of an image asks for.

    Parameters
    ----------
    path : path
        Where an image is to be written.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    RenderingError
        If no image can be saved under this name.
    """
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise RenderingError(
            f"cannot save an image as {path}: the name must end in {', '.join(IMAGE_SUFFIXES)}"
        )
    if path.is_dir():
        raise RenderingError(f"cannot save an image as {path}: it is a folder")
    return path


def save_screenshot(plotter: pv.Plotter, path: str | PathLike[str]) -> None:
    """Render a scene into an image file, which appears when it is whole.

    Parameters
    ----------
    plotter : pyvista.Plotter
        Made with ``off_screen=True``.
    path : path
        The image; its folder is made where it does not exist.

    Raises
    ------
    RenderingError
        If no image can be saved under this name, or the file cannot be written.
    """
    with replacing(check_image_path(path)) as unfinished:
        plotter.screenshot(unfinished)


def save_image(pixels: NDArray[np.uint8], path: str | PathLike[str]) -> None:
    """Write an image file, which appears when it is whole.

    Parameters
    ----------
    pixels : (height, width, 3) uint8 ndarray
        Red, green and blue.
    path : path
        The image; its folder is made where it does not exist.

    Raises
    ------
    RenderingError
        If no image can be saved under this name, or the file cannot be written.
    """
    with replacing(check_image_path(path)) as unfinished:
        Image.fromarray(pixels).save(unfinished)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, in the same folder, that then takes the place of another.

    Parameters
    ----------
    path : Path
        What is to be written; its folder is made where it does not exist.

    Raises
    ------
    RenderingError
        If the file cannot be written.
    """
    unfinished = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise RenderingError(f"cannot write {path}: {error.strerror or error}") from error


def _window_class() -> str:
    """Name of the class of window that VTK makes, without its warnings on those that it cannot."""
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (registers the classes of windows)
    from vtkmodules.vtkCommonCore import vtkLogger
    from vtkmodules.vtkRenderingCore import vtkRenderWindow

    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        return str(vtkRenderWindow().GetClassName())
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)
