"""The build of a part as a moving picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv
from PIL import Image

from viz.annotations import case_label, deformation_label
from viz.checks import finite_displacement, finite_scalar
from viz.colors import field_scale
from viz.rendering import RenderingError, replacing
from viz.scenes import PART_FRAME, add_surface, annotate, finish_panel
from viz.warp import deformed_surface, hexahedra, warp_factor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from viz.colors import ColorScale
    from viz.steps import BuildState
    from viz.warp import Warp

SUFFIXES = (".gif", ".mp4")
"""Formats of moving pictures."""

DEFAULT_SIZE = (960, 540)
LAST_FRAME_SECONDS = 2.0
"""How long the finished part stands still before the picture begins again."""


def animate_build(
    states: Sequence[BuildState],
    field: str,
    path: str | PathLike[str],
    *,
    warp: Warp = "auto",
    frames_per_second: float = 4.0,
    size: tuple[int, int] = DEFAULT_SIZE,
) -> None:
    """Write the build of a part as a moving picture, one frame a step.

    Colours, exaggeration and camera are those of all steps together, so that frames compare.

    Parameters
    ----------
    states : sequence of BuildState
        Of one part, in order of time; see `viz.steps.build_states` and `stored_states` there.
    field : str
        As for `viz.scenes.field_scene`.
    path : path
        The file, which appears when it is whole: ``.gif``, or ``.mp4``, which needs imageio-ffmpeg.
    warp : float or "auto", optional
        Factor that exaggerates the displacement.
    frames_per_second : float, optional
        How fast it runs.
    size : (int, int), optional
        Width and height in pixels, even numbers for ``.mp4``.

    Raises
    ------
    KeyError
        If a state has no such field.
    RenderingError
        If no moving picture can be written under this name.
    SceneError
        If a field or a displacement is not finite everywhere.
    """
    path = check_movie_path(path)
    scale = field_scale(field, *(finite_scalar(state.case, field) for state in states))
    frames = build_frames(states, field, scale, warp=warp, size=size)
    with replacing(path) as unfinished:
        if path.suffix.lower() == ".gif":
            _write_gif(unfinished, frames, frames_per_second)
        else:
            _write_mp4(unfinished, frames, frames_per_second, size)


def build_frames(
    states: Sequence[BuildState],
    field: str,
    scale: ColorScale,
    *,
    warp: Warp = "auto",
    size: tuple[int, int] = DEFAULT_SIZE,
) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of `animate_build`, (height, width, 3) uint8 each; arguments and errors as there."""
    values = [finite_scalar(state.case, field) for state in states]
    moves = [finite_displacement(state.case) for state in states]
    points, displacement = np.concatenate([state.case.points for state in states]), np.concatenate(moves)
    factor = warp_factor(points, displacement, warp)
    seen = points + np.float32(factor) * displacement

    plotter = pv.Plotter(window_size=list(size), off_screen=True)
    try:
        finish_panel(plotter, seen, PART_FRAME)
        for state, numbers, move in zip(states, values, moves, strict=True):
            plotter.scalar_bars.clear()
            plotter.clear_actors()
            surface = deformed_surface(hexahedra(state.case), numbers, move, factor)
            mapper = add_surface(plotter, surface, scale).mapper
            label = f"{case_label(state.case)}, {state.title}"
            annotate(plotter, mapper, field, label, deformation_label(factor))
            plotter.render()
            yield np.asarray(plotter.screenshot(return_img=True))
    finally:
        plotter.close()


def check_movie_path(path: str | PathLike[str]) -> Path:
    """Check the format that the name of a moving picture asks for.

    Raises
    ------
    RenderingError
        If none can be written under this name.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise RenderingError(
            f"cannot write a moving picture as {path}: expected a file that ends in {' or '.join(SUFFIXES)}"
        )
    return path


def _write_gif(path: Path, frames: Iterator[NDArray[np.uint8]], frames_per_second: float) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    # One palette for all frames keeps colours from flickering; coverage rather than frequency decides on
    # its colours, so that the colour bar is as smooth as the part.
    montage = Image.fromarray(np.concatenate([np.asarray(picture)[::2, ::2] for picture in pictures]))
    palette = montage.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    reduced = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [1000.0 / frames_per_second] * (len(reduced) - 1) + [1000.0 * LAST_FRAME_SECONDS]
    reduced[0].save(path, save_all=True, append_images=reduced[1:], duration=durations, loop=0)


def _write_mp4(
    path: Path, frames: Iterator[NDArray[np.uint8]], frames_per_second: float, size: tuple[int, int]
) -> None:
    try:
        from imageio_ffmpeg import write_frames  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise RenderingError(
            "an .mp4 file needs imageio-ffmpeg (pip install 'lpbf-toolkit[viz]'); a .gif file does not"
        ) from None
    if size[0] % 2 or size[1] % 2:
        raise RenderingError(f"an .mp4 file needs an even width and height, not {size[0]} x {size[1]}")
    writer = write_frames(path, size, fps=frames_per_second, macro_block_size=2, quality=7)
    writer.send(None)
    try:
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        for _ in range(round(frames_per_second * LAST_FRAME_SECONDS) - 1):
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
