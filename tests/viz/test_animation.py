from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.viz.blocks import Blocks
from viz import animation
from viz.animation import COMPARISON_SIZE, LAST_FRAME_SECONDS, animate_build, build_frames
from viz.contents import Look
from viz.live import LiveScene
from viz.rendering import RenderingError
from viz.subjects import FileSubject, ResultsSubject, SubjectError

if TYPE_CHECKING:
    from pathlib import Path

    import pyvista as pv

LOOK = Look("displacement", "z")
SIZE = (240, 180)


@pytest.fixture(scope="module")
def results(step2: Path) -> ResultsSubject:
    return ResultsSubject(step2, plate=False)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list]:
    """Return a list that the contents of each frame will be added to."""
    frames: list[list] = []
    image = LiveScene.image

    def record(self: LiveScene) -> np.ndarray:
        frames.append(self.contents)
        return image(self)

    monkeypatch.setattr(LiveScene, "image", record)
    return frames


def test_frames_share_colours_and_camera(results: ResultsSubject, shown: list[list]) -> None:
    frames = list(build_frames(results, results.first_case, Look("displacement", "z", warp=0.0), SIZE))
    assert len(frames) == 8
    [scale] = {content.colouring.scale for [content] in shown}
    assert scale.limits[1] >= max(np.abs(content.colouring.values).max() for [content] in shown)
    # The part grows before a camera that stands still.
    highest = [np.flatnonzero((frame[15:140] < 250).any(axis=(1, 2)))[0] for frame in frames]
    assert highest[0] > highest[2] > highest[4] == highest[6]


def test_colours_and_deformation_are_those_of_the_largest_step(shown: list[list]) -> None:
    assert len(list(build_frames(Blocks(), "first", LOOK, SIZE))) == 2
    limits = {content.colouring.scale.limits for [content] in shown}
    assert limits == {(-0.08, 0.08)}
    assert {content.note for [content] in shown} == {"deformation \N{MULTIPLICATION SIGN} 10"}


def test_truth_prediction_and_error_move_together(shown: list[list]) -> None:
    list(build_frames(Blocks(), "first", Look("displacement", "z", compare=True), (480, 180)))
    assert [[content.caption for content in contents] for contents in shown] == 2 * [
        ["truth", "prediction", "prediction \N{MINUS SIGN} truth"]
    ]
    scales = [[content.colouring.scale.limits for content in contents] for contents in shown]
    assert scales == 2 * [[(-0.08, 0.08), (-0.08, 0.08), (-0.04, 0.04)]]


def test_progress_is_shown_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    list(build_frames(Blocks(), "first", LOOK, SIZE))
    assert capsys.readouterr().err == ""
    list(build_frames(Blocks(), "first", LOOK, SIZE, quiet=False))
    told = capsys.readouterr().err
    assert "reading: 100%" in told
    assert "drawing: 100%" in told


def test_a_gif_runs_through_the_steps_and_rests_on_the_last(tmp_path: Path) -> None:
    path = tmp_path / "new" / "build.gif"
    animate_build(Blocks(), "first", LOOK, path, size=SIZE, frames_per_second=5.0)
    picture = Image.open(path)
    durations = []
    for frame in range(picture.n_frames):
        picture.seek(frame)
        durations.append(picture.info["duration"])
    assert picture.size == SIZE
    assert durations == [200.0, 1000.0 * LAST_FRAME_SECONDS]
    assert [file.name for file in path.parent.iterdir()] == ["build.gif"]


def test_an_mp4_is_one_and_a_comparison_is_wide(tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "build.mp4"
    animate_build(Blocks(), "first", Look("displacement", "z", compare=True), path)
    frames, _ = imageio_ffmpeg.count_frames_and_secs(path)
    assert frames == 1 + 4 * LAST_FRAME_SECONDS
    assert next(imageio_ffmpeg.read_frames(path))["size"] == COMPARISON_SIZE


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [("build.avi", SIZE, r"ends in \.gif or \.mp4"), ("build.mp4", (241, 180), "even width and height")],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, size: tuple[int, int], reason: str
) -> None:
    with pytest.raises(RenderingError, match=reason):
        animate_build(Blocks(), "first", LOOK, tmp_path / name, size=size)
    assert not any(tmp_path.iterdir())


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RenderingError, match="needs imageio-ffmpeg"):
        animate_build(Blocks(), "first", LOOK, tmp_path / "build.mp4", size=SIZE)


def test_what_has_no_steps_does_not_move(skin: pv.PolyData, tmp_path: Path) -> None:
    skin.save(tmp_path / "part.vtp")
    subject = FileSubject(tmp_path / "part.vtp")
    with pytest.raises(SubjectError, match=r"part.vtp has no steps to animate"):
        animate_build(subject, "part.vtp", LOOK, tmp_path / "build.gif")
    assert not (tmp_path / "build.gif").exists()
