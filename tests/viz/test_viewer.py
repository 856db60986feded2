from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.viz.blocks import CASES, SLOPE, Blocks
from viz.contents import Look
from viz.live import LiveScene
from viz.subjects import SubjectError
from viz.viewer import Viewer

SIZE = (320, 240)


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def scene() -> Iterator[LiveScene]:
    with closing(LiveScene(SIZE)) as made:
        yield made


@pytest.fixture
def viewer(scene: LiveScene) -> Viewer:
    return Viewer(Blocks(), scene)


def test_it_begins_with_the_vertical_displacement_of_the_last_step(viewer: Viewer) -> None:
    assert (viewer.case_name, viewer.step) == ("first", 1)
    assert (viewer.look.field, viewer.look.component) == ("displacement", "z")
    assert viewer.components == ("", "x", "y", "z")


def test_cases_follow_in_a_circle(viewer: Viewer) -> None:
    viewer.move_case(1)
    assert viewer.case_name == "second"
    viewer.move_case(-1)
    assert viewer.case_name == "first"


def test_a_case_that_cannot_be_read_leaves_everything_as_it_was(viewer: Viewer) -> None:
    before = viewer.part, viewer.look, viewer.scene.contents
    with pytest.raises(SubjectError, match="it is cut off"):
        viewer.move_case(-1)
    assert (viewer.part, viewer.look, viewer.scene.contents) == before
    assert viewer.case_name == "first"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: v.set_case("none"), "blocks has no case 'none'"),
        (lambda v: v.set_step(2), "has no step 2; it has 2"),
        (lambda v: v.set_field("heat"), "no field 'heat'; it has displacement, von_mises_stress"),
        (lambda v: v.set_component("q"), "no component 'q'"),
        (lambda v: v.set_cut("q", 0.5), "cannot cut along 'q'"),
    ],
)
def test_what_there_is_not_is_named(viewer: Viewer, call, message: str) -> None:
    look = viewer.look
    with pytest.raises(SubjectError, match=message):
        call(viewer)
    assert viewer.look == look


def test_a_component_does_not_outlive_its_field(viewer: Viewer) -> None:
    viewer.set_field("von_mises_stress")
    assert (viewer.look.component, viewer.components) == ("", ())
    viewer.set_field("displacement")
    assert viewer.look.component == ""


def test_fields_follow_by_scalars(viewer: Viewer) -> None:
    seen = []
    for _ in viewer.scalars:
        viewer.move_field(1)
        seen.append((viewer.look.field, viewer.look.component))
    assert sorted(seen) == sorted(viewer.scalars.values())
    assert seen[-1] == ("displacement", "z")


def test_the_warp_is_automatic_until_it_is_set(viewer: Viewer) -> None:
    assert viewer.warp == 10  # 0.08 mm drawn as at most a tenth of 8 mm
    viewer.move_case(1)
    assert viewer.warp == 5
    viewer.set_warp(3.0)
    assert viewer.warp == 3.0
    assert viewer.warp_limit == 15


def test_comparing_offers_only_what_is_predicted(viewer: Viewer) -> None:
    viewer.set_field("von_mises_stress")
    viewer.set_compare(True)
    assert (viewer.look.field, viewer.look.component) == ("displacement", "z")
    assert (viewer.field_names, viewer.components) == (("displacement",), ("z",))
    viewer.set_compare(False)
    assert viewer.field_names == ("displacement", "von_mises_stress")


def test_there_must_be_a_model_to_compare_with(scene: LiveScene) -> None:
    viewer = Viewer(Blocks(predicted=()), scene)
    assert not viewer.can_compare
    with pytest.raises(SubjectError, match="open a run of lpbf-train"):
        viewer.set_compare(True)


def test_a_click_reads_the_nearest_node(viewer: Viewer) -> None:
    viewer.set_compare(True)
    viewer.set_compare(False)
    viewer.set_warp(0.0)
    viewer.scene.image()
    viewer.pick(SIZE[0] // 2, SIZE[1] // 2)
    readings = dict(viewer.readings)
    place = np.asarray(viewer.part.mesh.points)[viewer.picked]
    assert readings["x, y, z [mm]"] == ", ".join(f"{x + 0.0:.4g}" for x in place)
    assert readings["displacement x, y, z [mm]"].endswith(f"{2 * SLOPE * place[0] + 0.0:.4g}")
    assert readings["von mises stress [MPa]"] == f"{100 * place[2]:.4g}"
    viewer.pick(2, SIZE[1] - 2)
    assert viewer.readings == []


def test_what_was_picked_goes_with_the_case(viewer: Viewer) -> None:
    viewer.scene.image()
    viewer.pick(SIZE[0] // 2, SIZE[1] // 2)
    assert viewer.readings
    viewer.set_edges(False)
    assert viewer.readings
    viewer.set_case(CASES[1])
    assert viewer.readings == []


def test_a_look_can_be_given(scene: LiveScene) -> None:
    viewer = Viewer(Blocks(), scene, case_name="second", look=Look(compare=True, warp=2.0))
    assert (viewer.case_name, viewer.warp, len(scene.contents)) == ("second", 2.0, 3)
