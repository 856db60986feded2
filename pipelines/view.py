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
from pipelines.view_files import FILES, check_outputs, write_files

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
        "--step",
        type=int,
        help="step of the build to begin with: its position from 0, or from the end, -1 (default: the last)",
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
    parser.add_argument(
        "--film", type=Path, help="write the build as this moving picture (.gif or .mp4), a frame a step"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        help="write a figure of the largest distortion, or --field, over the height of the build, "
        "and of the recoater clearance where it is known",
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
    size = None if options.size is None else parse_size(options.size)
    if importlib.util.find_spec("pyvista") is None:
        raise UserError("drawing needs PyVista: pip install 'lpbf-toolkit[viz]'")
    in_window = not (options.web or any(getattr(options, name) for name in FILES))
    check_outputs(options, size, in_window=in_window)

    from pipelines.view_subjects import open_subject
    from viz.live import LiveScene
    from viz.rendering import prepare_offscreen

    # Before OpenGL: Mesa's LLVM and that of Triton, which PyTorch imports, live together in this order alone.
    subject = open_subject(options.path)
    if not in_window:
        prepare_offscreen()
    with closing(LiveScene(size or DEFAULT_SIZE, off_screen=not in_window)) as scene:
        viewer = make_viewer(subject, scene, options, warp)
        if in_window:
            from viz.desktop import DesktopViewer

            DesktopViewer(viewer).run()
        write_files(viewer, options, size)
        if options.web:
            from viz.web import serve

            serve(viewer, options.host, options.port)
    return 0


def make_viewer(subject: Subject, scene: LiveScene, options: Namespace, warp: Warp) -> Viewer:
    """Make the viewer of what the options name.

    Raises
    ------
    UserError
        If the subject has no such case, step or field.
    """
    from viz.contents import Look
    from viz.viewer import Viewer

    look = Look(warp=warp, compare=bool(subject.predicted))
    case_name = find_case(subject, options.case)
    step = find_step(subject, case_name, options.step)
    viewer = Viewer(subject, scene, case_name=case_name, step=step, look=look)
    if options.field is not None:
        viewer.set_scalar(find_scalar(viewer, options.field))
    return viewer


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


def find_step(subject: Subject, case_name: str, step: int | None) -> int | None:
    """Find a step by its position, a negative one from the end; None for the one to begin with.

    Raises
    ------
    UserError
        If there is no such step.
    """
    from viz.subjects import FINAL

    if step is None:
        return None
    labels = subject.step_labels(case_name)
    if list(labels) == [FINAL]:
        raise UserError(
            f"--step {step}: case {case_name} of {subject.name} has but one state; a store of lpbf-build "
            "--steps all has steps"
        )
    if not -len(labels) <= step < len(labels):
        raise UserError(
            f"--step {step}: case {case_name} has {len(labels)} steps, 0 to {len(labels) - 1}, "
            f"or -{len(labels)} to -1 from the end"
        )
    return step % len(labels)


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
