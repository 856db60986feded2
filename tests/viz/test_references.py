"""Pictures as a person sees them, beside stored ones; ``pytest --update-references`` writes those anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from viz.animation import build_frames
from viz.arrows import arrows_scene
from viz.compare import comparison_scene
from viz.contents import Look
from viz.cuts import Clip, ClipBox, Slice, Threshold, across
from viz.deviation import Shape, deviation_scene
from viz.gallery import gallery_scene
from viz.scenes import field_scene, surface_scene
from viz.subjects import ResultsSubject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

    Picture = NDArray[np.uint8]
    Compare = Callable[[Picture, str], None]

SIZE = (400, 300)
FIELD = "displacement_z"


def shot(plotter: pv.Plotter) -> Picture:
    image = np.asarray(plotter.screenshot(return_img=True))
    plotter.close()
    return image


def test_field(step2_case: Case, looks_like: Compare) -> None:
    looks_like(shot(field_scene(step2_case, FIELD, outline=True, size=SIZE)), "field")


@pytest.mark.parametrize(
    ("cut", "name"),
    [
        (Slice(across("y", 0.0)), "slice"),
        (Clip(across("y", 0.0)), "clip"),
        (ClipBox((0.0, -20.0, 3.0), (20.0, 0.0, 20.0)), "box"),
        (Threshold(300.0, np.inf), "threshold"),
    ],
)
def test_cut(
    step2_case: Case, cut: Slice | Clip | ClipBox | Threshold, name: str, looks_like: Compare
) -> None:
    plotter = field_scene(step2_case, "von_mises_stress", cut=cut, outline=True, size=SIZE)
    looks_like(shot(plotter), name)


def test_surface(skin: pv.PolyData, looks_like: Compare) -> None:
    looks_like(shot(surface_scene(skin, "displacement", "part bar.stl", size=SIZE)), "surface")


def test_arrows(step2_case: Case, looks_like: Compare) -> None:
    looks_like(shot(arrows_scene(step2_case, size=SIZE)), "arrows")


def test_comparison(step2_case: Case, looks_like: Compare) -> None:
    prediction = {FIELD: 0.8 * step2_case.scalar(FIELD)}
    looks_like(shot(comparison_scene(step2_case, FIELD, prediction, size=(600, 250))), "comparison")


def test_deviation(skin: pv.PolyData, looks_like: Compare) -> None:
    moved = np.asarray(skin["displacement"])
    shapes = [
        Shape("as printed", skin.points + moved, moved[:, 2]),
        Shape("compensated", skin.points - moved, -moved[:, 2]),
        Shape("compensated, as printed", skin.points + 0.1 * moved, 0.1 * moved[:, 2]),
    ]
    looks_like(shot(deviation_scene(skin, shapes, "part bar.stl", size=(600, 250))), "deviation")


@pytest.mark.parametrize("common_range", [True, False])
def test_gallery(step2_case: Case, tilted_bar: Case, common_range: bool, looks_like: Compare) -> None:
    plotter = gallery_scene([step2_case, tilted_bar] * 3, FIELD, common_range=common_range)
    image = shot(plotter)[::4, ::4]
    looks_like(image, f"gallery_{'common' if common_range else 'own'}")


def test_frame_of_the_build(step2: Path, looks_like: Compare) -> None:
    subject = ResultsSubject(step2, plate=False)
    frames = list(build_frames(subject, subject.first_case, Look("displacement", "z"), SIZE))
    looks_like(frames[2], "build")


class TestTheComparison:
    """What the tolerance lets pass, and what it does not."""

    @pytest.fixture
    def bar(self, tilted_bar: Case) -> Picture:
        return shot(field_scene(tilted_bar, FIELD, size=SIZE))

    def test_noise_and_a_shift_by_a_pixel_pass(self, bar: Picture, difference: Callable[..., float]) -> None:
        noise = np.random.default_rng(0).normal(0, 4, bar.shape)
        assert difference(np.clip(bar + noise, 0, 255).astype(np.uint8), bar) < 3.0
        assert difference(np.roll(bar, 1, axis=1), bar) < 3.0

    @pytest.mark.parametrize(
        "options", [{"field": "von_mises_stress"}, {"warp": 0.0}, {"cut": Clip(across("x", 0.0))}]
    )
    def test_another_field_shape_or_cut_fails(
        self, tilted_bar: Case, bar: Picture, options: dict, difference: Callable[..., float]
    ) -> None:
        other = shot(field_scene(tilted_bar, **{"field": FIELD, "size": SIZE, **options}))
        assert difference(other, bar) > 3.0

    def test_another_camera_fails(
        self, tilted_bar: Case, bar: Picture, difference: Callable[..., float]
    ) -> None:
        plotter = field_scene(tilted_bar, FIELD, size=SIZE)
        plotter.camera.azimuth += 5
        assert difference(shot(plotter), bar) > 3.0

    def test_a_part_that_is_gone_fails(self, bar: Picture, difference: Callable[..., float]) -> None:
        assert difference(np.full_like(bar, 255), bar) > 3.0
