from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.viz.blocks import Blocks, block
from viz.contents import Look
from viz.live import LiveScene, visible_surface

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK = Look("displacement", "z")


@pytest.fixture(scope="module")
def scene() -> Iterator[LiveScene]:
    with closing(LiveScene((360, 240))) as made:
        yield made


def drawn(image: np.ndarray) -> np.ndarray:
    """Return where a picture is coloured."""
    return np.ptp(image.astype(int), axis=2) > 60


def test_colours_change_in_place(scene: LiveScene) -> None:
    part = Blocks().load("first", 1)
    scene.show(part, LOOK)
    actors = [list(renderer.actors) for renderer in scene.plotter.renderers]
    first = scene.image()
    assert drawn(first)[60:180].mean() > 0.1
    scene.show(part, replace(LOOK, field="von_mises_stress", component=""))
    assert (scene.image() != first).any()
    scene.show(part, LOOK)
    np.testing.assert_array_equal(scene.image(), first)
    assert [list(renderer.actors) for renderer in scene.plotter.renderers] == actors


def test_a_step_keeps_the_camera_and_a_case_does_not(scene: LiveScene) -> None:
    subject, camera = Blocks(), scene.plotter.renderers[0].camera
    scene.show(subject.load("first", 1), LOOK)
    camera.azimuth(20) if callable(camera.azimuth) else setattr(camera, "azimuth", 20)
    turned = camera.position
    scene.show(subject.load("first", 0), LOOK, keep_camera=True)
    assert camera.position == turned
    scene.show(subject.load("second", 0), LOOK)
    assert camera.position != turned


def test_comparison_stands_in_three_panels(scene: LiveScene) -> None:
    part = Blocks().load("first", 1)
    scene.show(part, replace(LOOK, compare=True))
    coloured = drawn(scene.image())
    assert all(coloured[:, 120 * i : 120 * i + 120].any() for i in range(3))
    truth, predicted, error = (content.colouring for content in scene.contents)
    assert truth.scale == predicted.scale
    np.testing.assert_allclose(error.values, -0.5 * truth.values)
    scene.show(part, LOOK)
    assert len(scene.contents) == 1


def test_the_camera_follows_the_window_until_it_is_moved(scene: LiveScene) -> None:
    scene.show(Blocks().load("first", 1), LOOK)
    scene.image()
    camera = scene.plotter.renderers[0].camera
    fitted = camera.parallel_scale
    scene.plotter.render_window.SetSize(160, 240)
    scene.plotter.render_window.Render()
    assert camera.parallel_scale > 1.5 * fitted
    camera.zoom(2.0)
    zoomed = camera.parallel_scale
    scene.plotter.render_window.SetSize(360, 240)
    scene.plotter.render_window.Render()
    assert camera.parallel_scale == zoomed


def test_the_whole_surface_has_every_outer_node() -> None:
    surface, nodes = visible_surface(block(), LOOK)
    np.testing.assert_array_equal(surface.points, block().points[nodes])
    assert len(nodes) == 9 * 5 * 5 - 7 * 3 * 3


@pytest.mark.parametrize(("axis", "kept"), [("x", (-4, 0)), ("y", (0, 2)), ("z", (0, 2))])
def test_a_cut_takes_away_the_near_half(axis: str, kept: tuple[float, float]) -> None:
    surface, nodes = visible_surface(block(), replace(LOOK, cut_axis=axis))
    along = surface.points[:, "xyz".index(axis)]
    assert (along.min(), along.max()) == kept
    np.testing.assert_array_equal(surface.points, block().points[nodes])
