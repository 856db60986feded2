from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import lpbf_dataset as lpbf
from tests.builds import GrowingBar, write_builds
from viz.animation import LAST_FRAME_SECONDS, animate_build, build_frames
from viz.colors import field_scale
from viz.rendering import RenderingError
from viz.steps import build_states, stored_states

if TYPE_CHECKING:
    from pathlib import Path

    from lpbf_dataset.sources.netfabb import NetfabbCase
    from viz.steps import BuildState

FIELD = "displacement_z"
SIZE = (240, 180)


@pytest.fixture(scope="module")
def states(step2_run: NetfabbCase) -> list[BuildState]:
    return list(build_states(step2_run, ("displacement",)))


def test_states_of_a_build_are_named_and_grow_without_the_plate(states: list[BuildState]) -> None:
    groups = [f"layer group {group} of 3, {kind}" for group in (1, 2, 3) for kind in ("deposited", "dwelt")]
    assert [state.title for state in states] == [
        *groups,
        "cooled down on the plate",
        "removed from the plate",
    ]
    heights = [float(state.case.points[:, 2].max()) for state in states]
    assert heights == pytest.approx([3.2, 3.2, 6.4, 6.4, 8.8, 8.8, 8.8, 8.8])
    assert all(state.case.points[:, 2].min() == 0.0 for state in states)
    assert np.all(np.diff([state.time for state in states]) > 0)


def test_the_last_state_is_the_final_step(states: list[BuildState], step2_run: NetfabbCase) -> None:
    final = step2_run.final_step(("displacement",))
    case = states[-1].case
    np.testing.assert_array_equal(case.points[case.cells], final.points[final.cells])
    np.testing.assert_array_equal(case.displacement[case.cells], final.fields["displacement"][final.cells])


def test_the_steps_of_a_store_are_states_too(tmp_path: Path) -> None:
    path = write_builds(tmp_path / "s.zarr", GrowingBar("t", layers=2, missing=(1,)))
    stored = list(stored_states(lpbf.open_dataset(path)["t"]))
    assert [state.title for state in stored] == [
        "layer group 1 of 2, deposited",
        "layer group 2 of 2, deposited",
        "layer group 2 of 2, dwelt",
        "cooled down on the plate",
        "removed from the plate",
    ]
    scale = field_scale(FIELD, *(state.case.scalar(FIELD) for state in stored))
    assert len(list(build_frames(stored, FIELD, scale, size=SIZE))) == 5


def test_frames_share_colours_and_camera(states: list[BuildState]) -> None:
    scale = field_scale(FIELD, *(state.case.scalar(FIELD) for state in states))
    frames = list(build_frames(states, FIELD, scale, warp=0.0, size=SIZE))
    assert len(frames) == len(states)
    # The colour bar stands still while the part grows.
    bars = [frame[:, 208:][40:140] for frame in frames]
    assert all(np.array_equal(bars[0], bar) for bar in bars)
    highest = [np.flatnonzero((frame[20:150, 90:140] < 250).any(axis=(1, 2)))[0] for frame in frames]
    assert highest[0] > highest[2] > highest[4] == highest[6]


def test_a_gif_runs_through_the_steps_and_rests_on_the_last(states: list[BuildState], tmp_path: Path) -> None:
    path = tmp_path / "new" / "build.gif"
    animate_build(states, FIELD, path, size=SIZE, frames_per_second=5.0)
    picture = Image.open(path)
    durations = []
    for frame in range(picture.n_frames):
        picture.seek(frame)
        durations.append(picture.info["duration"])
    assert picture.size == SIZE
    assert durations == [200.0] * 7 + [1000.0 * LAST_FRAME_SECONDS]
    assert [file.name for file in path.parent.iterdir()] == ["build.gif"]


def test_an_mp4_is_one(states: list[BuildState], tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "build.mp4"
    animate_build(states[:3], FIELD, path, size=SIZE)
    frames, _ = imageio_ffmpeg.count_frames_and_secs(path)
    assert frames == 2 + 4 * LAST_FRAME_SECONDS


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [("build.avi", SIZE, r"ends in \.gif or \.mp4"), ("build.mp4", (241, 180), "even width and height")],
)
def test_what_cannot_be_written_is_refused(
    states: list[BuildState], tmp_path: Path, name: str, size: tuple[int, int], reason: str
) -> None:
    with pytest.raises(RenderingError, match=reason):
        animate_build(states[:2], FIELD, tmp_path / name, size=size)
    assert not any(tmp_path.iterdir())


def test_a_missing_encoder_is_named(
    states: list[BuildState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(RenderingError, match="needs imageio-ffmpeg"):
        animate_build(states[:2], FIELD, tmp_path / "build.mp4", size=SIZE)
