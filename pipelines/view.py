"""``lpbf-view``: parts in 3D, in a window, in a browser, or in a file."""

from __future__ import annotations

import difflib
import importlib.util
import math
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionConfigFile, ArgumentParser

from pipelines.console import UserError, add_verbosity, run_command, set_verbosity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import Namespace

    from viz.live import LiveScene
    from viz.subjects import Subject
    from viz.viewer import Viewer
    from viz.warp import Warp

# The smallest that the writing still fits into, and the largest that graphics drivers agree on.
MIN_SIDE, MAX_SIDE = 200, 8192

DEFAULT_SIZE = (1600, 900)
LOCALHOST = "127.0.0.1"


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels, from ``"1600x900"``."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size {text}: expected WIDTHxHEIGHT in pixels, such as 1600x900")
    size = int(width), int(height)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise UserError(f"--size {text}: each side must be {MIN_SIDE} to {MAX_SIDE} pixels")
    return size


def parse_warp(value: float | str) -> Warp:
    """Exaggeration of the displacement: "auto" or a factor that is not negative."""
    if value == "auto":
        return "auto"
    if isinstance(value, str) or not 0.0 <= value < math.inf:
        raise UserError(f"--warp {value}: expected auto, or a factor of at least 0")
    return value


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-view",
        description="Show a part and its fields; of a training run, truth, prediction and error.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument(
        "path",
        type=str,
        help="a store (path or URL), a run, results of a simulation, or a file of a mesh or a surface",
    )
    parser.add_argument(
        "--case",
        type=str,
        help="case id, or position from 0 (default: the first; of a run, the first test case)",
    )
    parser.add_argument(
        "--field",
        type=str,
        help="such as displacement_z or von_mises_stress (default: displacement_z; of a run, its target)",
    )
    parser.add_argument(
        "--warp", type=float | str, default="auto", help="exaggeration of the displacement: auto, or a factor"
    )
    parser.add_argument("--size", type=str, help="pixels of the picture, such as 1600x900")
    parser.add_argument("--screenshot", type=Path, help="write this image instead of opening a window")
    parser.add_argument(
        "--export_html",
        type=Path,
        help="write this page, which needs nothing else, instead of opening a window",
    )
    parser.add_argument("--web", action="store_true", help="serve the viewer to a browser")
    parser.add_argument("--host", type=str, default=LOCALHOST, help="address that --web listens on")
    parser.add_argument("--port", type=int, default=8080, help="port that --web listens on; 0 for a free one")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    warp = parse_warp(options.warp)
    size = DEFAULT_SIZE if options.size is None else parse_size(options.size)
    if importlib.util.find_spec("pyvista") is None:
        raise UserError("drawing needs PyVista: pip install 'lpbf-toolkit[viz]'")
    in_window = not (options.web or options.screenshot or options.export_html)
    check_outputs(options, in_window=in_window)

    from pipelines.view_subjects import open_subject
    from viz.live import LiveScene
    from viz.rendering import prepare_offscreen

    # Before OpenGL: Mesa's LLVM and that of Triton, which PyTorch imports, live together in this order alone.
    subject = open_subject(options.path)
    if not in_window:
        prepare_offscreen()
    with closing(LiveScene(size, off_screen=not in_window)) as scene:
        viewer = make_viewer(subject, scene, options, warp)
        if in_window:
            from viz.desktop import DesktopViewer

            DesktopViewer(viewer).run()
        write_files(viewer, options)
        if options.web:
            from viz.web import serve

            serve(viewer, options.host, options.port)
    return 0


def check_outputs(options: Namespace, *, in_window: bool) -> None:
    """Check, before anything is read, that what is asked for can be shown or written.

    Raises
    ------
    UserError, RenderingError
        If not.
    """
    from viz.rendering import check_image_path, require_display

    if in_window:
        require_display()
        return
    if options.screenshot is not None:
        check_image_path(options.screenshot)
    page = options.export_html
    if page is not None and (page.suffix.lower() not in (".html", ".htm") or page.is_dir()):
        raise UserError(f"--export-html {page}: expected the name of a file that ends in .html")
    if (options.web or page is not None) and importlib.util.find_spec("trame_vtk") is None:
        raise UserError("--web and --export-html need trame: pip install 'lpbf-toolkit[web]'")


def make_viewer(subject: Subject, scene: LiveScene, options: Namespace, warp: Warp) -> Viewer:
    """Make the viewer of what the options name.

    Raises
    ------
    UserError
        If the subject has no such case or field.
    """
    from viz.contents import Look
    from viz.viewer import Viewer

    look = Look(warp=warp, compare=bool(subject.predicted))
    viewer = Viewer(subject, scene, case_name=find_case(subject, options.case), look=look)
    if options.field is not None:
        viewer.set_scalar(find_scalar(viewer, options.field))
    return viewer


def write_files(viewer: Viewer, options: Namespace) -> None:
    """Write the picture and the page that the options ask for."""
    from viz.rendering import replacing, save_image

    if options.screenshot is not None:
        save_image(viewer.scene.image(), options.screenshot)
    if options.export_html is not None:
        from viz.html import scene_html

        with replacing(options.export_html) as unfinished:
            unfinished.write_text(scene_html(viewer.scene), encoding="utf-8")
    for path in (options.screenshot, options.export_html):
        if path is not None and not options.quiet:
            print(f"wrote {path}")


def find_case(subject: Subject, key: str | None) -> str:
    """Find a case by what a user calls it: its name, or else its position; None for the one to begin with.

    Raises
    ------
    UserError
        If there is no such case.
    """
    if key is None:
        return subject.first_case
    names = subject.case_names
    if key in names:
        return key
    if key.isdecimal() and int(key) < len(names):
        return names[int(key)]
    raise UserError(
        f"no case {key!r}; positions are 0 to {len(names) - 1}, the nearest case ids {_nearest(key, names)}"
    )


def find_scalar(viewer: Viewer, name: str) -> tuple[str, str]:
    """Find field and component by the name of the scalar.

    Raises
    ------
    UserError
        If what is shown has no such scalar.
    """
    known = viewer.scalars
    if name not in known:
        what = f"the model of {viewer.subject.name}" if viewer.look.compare else viewer.subject.name
        raise UserError(f"{what} has no field {name!r}; the nearest are {_nearest(name, list(known))}")
    return known[name]


def _nearest(name: str, known: Sequence[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.0)) or "none"


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-view``."""
    run_command(run, arguments)
