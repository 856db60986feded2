from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset import StoreError
from tests.builds import GrowingBar, write_builds
from viz.contents import Look, panel_contents
from viz.live import LiveScene
from viz.subjects import BuildSubject, SubjectError
from viz.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lpbf_dataset import Case
    from lpbf_dataset.step_table import StepTable
    from viz.subjects.base import Prediction

BARS = (
    GrowingBar("t", layers=2),
    GrowingBar("v", layers=3, missing=(1, 2)),
    GrowingBar("x", with_steps=False),
)


def on_plate(table: StepTable) -> list[int]:
    return [step for step in range(len(table)) if table.mesh[step] >= 0 and table.kinds[step] != "removed"]


@dataclass
class HalfRight:
    """A model that predicts half of the true displacement, and remembers what it was asked."""

    asked: list[tuple[str, int]] = field(default_factory=list)
    fails_at: int = -1

    def roll_out(self, case: Case) -> Iterator[Prediction]:
        for step in (case.steps[position] for position in on_plate(case.steps.table)):
            if step.index == self.fails_at:
                raise StoreError("a chunk is damaged")
            self.asked.append((case.case_id, step.index))
            yield {"displacement_z": 0.5 * step.scalar("displacement_z")}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_builds(tmp_path_factory.mktemp("builds") / "s.zarr", *BARS)


@pytest.fixture
def model() -> HalfRight:
    return HalfRight()


@pytest.fixture
def subject(path: Path, model: HalfRight) -> BuildSubject:
    return BuildSubject("run", lpbf.open_dataset(path), ("displacement_z",), on_plate, model.roll_out)


def test_its_steps_are_those_that_are_predicted(subject: BuildSubject) -> None:
    assert subject.step_labels("t") == [
        "layer group 1 of 2, deposited, z = 1 mm",
        "layer group 1 of 2, dwelt, z = 1 mm",
        "layer group 2 of 2, deposited, z = 2 mm",
        "layer group 2 of 2, dwelt, z = 2 mm",
        "cooled down on the plate, z = 2 mm",
    ]
    assert "layer group 2 of 3, dwelt, z = 2 mm (missing before it: 2)" in subject.step_labels("v")


def test_it_begins_with_a_case_that_has_steps(subject: BuildSubject) -> None:
    assert subject.first_case == "v"
    assert list(subject.case_names) == ["t", "v", "x"]
    with pytest.raises(SubjectError, match="case x has no step that run predicts"):
        subject.step_labels("x")


def test_each_step_has_its_own_truth_and_prediction(subject: BuildSubject) -> None:
    look = Look("displacement", "z", compare=True)
    for step, nodes in enumerate((16, 16, 24, 24, 24)):
        part = subject.load("t", step)
        assert part.node_count == nodes
        truth, prediction, error = panel_contents(part, look)
        np.testing.assert_allclose(prediction.colouring.values, 0.5 * truth.colouring.values)
        headings = ["displacement z", "case t (train split)", subject.step_labels("t")[step]]
        assert [content.heading for content in (truth, prediction, error)] == headings


def test_a_step_is_predicted_once_when_it_is_asked_for(subject: BuildSubject, model: HalfRight) -> None:
    part = subject.load("t", 1)
    assert model.asked == []
    _ = part.prediction, subject.load("t", 0).prediction, subject.load("t", 1).prediction
    assert model.asked == [("t", 0), ("t", 1)]
    assert [position for position, _ in subject.predictions("v")] == [0, 3, 4, 5, 6]
    _ = subject.load("t", 4).prediction
    assert model.asked[:2] + model.asked[7:] == [("t", step) for step in range(5)]


def test_what_goes_wrong_is_said_and_tried_again(subject: BuildSubject, model: HalfRight) -> None:
    model.fails_at = 1
    with pytest.raises(SubjectError, match="a chunk is damaged"):
        subject.predict("t", 3)
    model.fails_at = -1
    assert subject.predict("t", 3)["displacement_z"].shape == (24,)


def test_cases_of_which_none_has_steps_are_refused(path: Path, model: HalfRight) -> None:
    without = lpbf.open_dataset(path).test
    with pytest.raises(SubjectError, match="no case of run has steps"):
        BuildSubject("run", without, ("displacement_z",), on_plate, model.roll_out)


def test_the_viewer_compares_step_by_step(subject: BuildSubject) -> None:
    with closing(LiveScene((480, 240))) as scene:
        viewer = Viewer(subject, scene, case_name="t", step=1, look=Look(compare=True))
        assert (viewer.step, len(scene.contents)) == (1, 3)
        viewer.set_step(4)
        assert scene.contents[1].note == "relative L2 error 50.0%"
        with pytest.raises(SubjectError, match="case x has no step"):
            viewer.set_case("x")
        assert (viewer.case_name, viewer.step) == ("t", 4)
