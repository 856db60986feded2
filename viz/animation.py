"""The build of a part as a moving picture."""

from __future__ import annotations

import importlib.util
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from viz.colors import error_scale, value_scale
from viz.contents import Scales, panel_contents
from viz.live import LiveScene
from viz.rendering import RenderingError, replacing
from viz.subjects.base import FINAL, SubjectError
from viz.warp import warp_factor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from numpy.typing import NDArray

    from viz.contents import Look
    from viz.subjects.base import Part, Subject

SUFFIXES = (".gif", ".mp4")
"""Formats of moving pictures."""

DEFAULT_SIZE = (960, 540)
COMPARISON_SIZE = (1500, 640)
"""Of truth, prediction and error."""

LAST_FRAME_SECONDS = 2.0
"""How long the finished part stands still before the picture begins again."""


def animate_build(
    subject: Subject,
    case_name: str,
    look: Look,
    path: str | PathLike[str],
    *,
    frames_per_second: float = 4.0,
    size: tuple[int, int] | None = None,
    quiet: bool = True,
) -> None:
    """Write the build of a part as a moving picture, one frame a step.

    Colours, exaggeration and camera are those of all steps together, so that frames compare.

    Parameters
    ----------
    subject : Subject
        For example `viz.subjects.StoreSubject` of a store with history.
    case_name : str
        Which of its cases.
    look : Look
        How it is looked at; truth, prediction and error move side by side where it compares.
    path : path
        The file, which appears when it is whole: ``.gif``, or ``.mp4``, which needs imageio-ffmpeg.
    frames_per_second : float, optional
        How fast it runs.
    size : (int, int), optional
        Width and height in pixels, even numbers for ``.mp4``.
    quiet : bool, optional
        Show no progress.

    Raises
    ------
    RenderingError
        If no moving picture can be written under this name.
    SubjectError
        If the case has no steps, or one of them cannot be drawn.
    """
    size = size or (COMPARISON_SIZE if look.compare else DEFAULT_SIZE)
    path = check_movie(path, size)
    frames = build_frames(subject, case_name, look, size, quiet=quiet)
    with replacing(path) as unfinished:
        if path.suffix.lower() == ".gif":
            _write_gif(unfinished, frames, frames_per_second)
        else:
            _write_mp4(unfinished, frames, frames_per_second, size)


def build_frames(
    subject: Subject, case_name: str, look: Look, size: tuple[int, int], *, quiet: bool = True
) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of `animate_build`, (height, width, 3) uint8 each; arguments and errors as there."""
    labels = subject.step_labels(case_name)
    if list(labels) == [FINAL]:
        raise SubjectError(
            f"case {case_name} of {subject.name} has no steps to animate; a store of lpbf-build --steps all "
            "has steps"
        )

    def parts(what: str) -> Iterator[Part]:
        for step in tqdm(range(len(labels)), desc=what, unit="step", disable=quiet):
            yield subject.load(case_name, step)

    common = common_view(parts("reading"), look)
    look = replace(look, warp=common.factor)
    with closing(LiveScene(size)) as scene:
        for number, part in enumerate(parts("drawing")):
            scene.show(part, look, keep_camera=True, scales=common.scales)
            if number == 0:
                scene.aim_at(common.seen)
            yield scene.image()


class CommonView(NamedTuple):
    """How to draw several steps so that their pictures compare.

    Parameters
    ----------
    scales : Scales or None
        None for bare shapes.
    factor : float
        Exaggeration of the displacement.
    seen : (n, 3) float32 ndarray
        Every place where a node is drawn, mm.
    """

    scales: Scales | None
    factor: float
    seen: NDArray[np.float32]


def common_view(parts: Iterable[Part], look: Look) -> CommonView:
    """Find colours, exaggeration and places that suit all steps of a part.

    Parameters
    ----------
    parts : iterable of Part
        Its steps.
    look : Look
        How they are looked at.

    Raises
    ------
    SubjectError
        If a step cannot be drawn.
    """
    places: list[NDArray[np.float32]] = []
    moves: list[NDArray[np.float32]] = []
    predicted_moves: list[NDArray[np.float32]] = []
    values: list[NDArray[np.float32]] = []
    errors: list[NDArray[np.float32]] = []
    for part in parts:
        truth, *others = panel_contents(part, replace(look, warp=1.0))
        place = np.asarray(part.mesh.points, np.float32)
        places.append(place)
        moves.append(np.zeros_like(place) if part.displacement is None else part.displacement)
        predicted_moves += [content.points - place for content in others[:1]]
        colourings = [content.colouring for content in (truth, *others) if content.colouring]
        values += [colouring.values for colouring in colourings[:2]]
        errors += [colouring.values for colouring in colourings[2:]]
    still, moved = np.concatenate(places), np.concatenate(moves)
    factor = warp_factor(still, moved, look.warp)
    seen = [still + np.float32(factor) * moved]
    if predicted_moves:
        seen.append(still + np.float32(factor) * np.concatenate(predicted_moves))
    scales = None
    if values:
        scale_of_errors = error_scale(np.concatenate(errors)) if errors else None
        scales = Scales(value_scale(*values, signed=bool(look.component)), scale_of_errors)
    return CommonView(scales, factor, np.concatenate(seen))


def check_movie(path: str | PathLike[str], size: tuple[int, int]) -> Path:
    """Check the format that the name of a moving picture asks for.

    Parameters
    ----------
    path : path
        Where it is to be written.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    RenderingError
        If none can be written under this name, or in this size.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or path.is_dir():
        raise RenderingError(
            f"cannot write a moving picture as {path}: expected a file that ends in {' or '.join(SUFFIXES)}"
        )
    if suffix == ".mp4":
        if importlib.util.find_spec("imageio_ffmpeg") is None:
            raise RenderingError(
                "an .mp4 file needs imageio-ffmpeg (pip install 'lpbf-toolkit[viz]'); a .gif file does not"
            )
        if size[0] % 2 or size[1] % 2:
            raise RenderingError(f"an .mp4 file needs an even width and height, not {size[0]} x {size[1]}")
    return path


def _write_gif(path: Path, frames: Iterator[NDArray[np.uint8]], frames_per_second: float) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    # One palette for all frames keeps colours from flickering; coverage rather than frequency decides on
    # its colours, so that the colour bar is as smooth as the part.
    montage = Image.fromarray(np.concatenate([np.asarray(picture)[::2, ::2] for picture in pictures]))
    palette = montage.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    # Without dithering, the colours of truth and error do not fit into one palette.
    reduced = [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
    durations = [1000.0 / frames_per_second] * (len(reduced) - 1) + [1000.0 * LAST_FRAME_SECONDS]
    reduced[0].save(path, save_all=True, append_images=reduced[1:], duration=durations, loop=0)


def _write_mp4(
    path: Path, frames: Iterator[NDArray[np.uint8]], frames_per_second: float, size: tuple[int, int]
) -> None:
    from imageio_ffmpeg import write_frames  # type: ignore[import-untyped]

    writer = write_frames(path, size, fps=frames_per_second, macro_block_size=2, quality=7)
    writer.send(None)
    try:
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        for _ in range(round(frames_per_second * LAST_FRAME_SECONDS) - 1):
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
