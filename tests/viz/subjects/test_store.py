from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lpbf_dataset as lpbf
from tests.builds import GrowingBar, write_builds
from viz.live import LiveScene
from viz.subjects import StoreSubject, SubjectError
from viz.viewer import Viewer

if TYPE_CHECKING:
    from lpbf_dataset import Case
    from viz.subjects.base import Prediction

BARS = (
    GrowingBar("t", layers=2),
    GrowingBar("v", layers=3, missing=(1, 2)),
    GrowingBar("x", with_steps=False),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> lpbf.Dataset:
    return lpbf.open_dataset(write_builds(tmp_path_factory.mktemp("history") / "s.zarr", *BARS))


@pytest.fixture
def subject(dataset: lpbf.Dataset) -> StoreSubject:
    return StoreSubject("s.zarr", dataset)


def test_steps_are_named_and_the_last_is_the_final_state(subject: StoreSubject) -> None:
    assert subject.step_labels("t") == [
        "layer group 1 of 2, deposited, z = 1 mm",
        "layer group 1 of 2, dwelt, z = 1 mm",
        "layer group 2 of 2, deposited, z = 2 mm",
        "layer group 2 of 2, dwelt, z = 2 mm",
        "cooled down on the plate, z = 2 mm",
        "final",
    ]


def test_a_step_is_what_is_built_by_then(subject: StoreSubject, dataset: lpbf.Dataset) -> None:
    part = subject.load("t", 2)
    step = dataset["t"].steps[2]
    assert part.full_title == "case t (train split), layer group 2 of 2, deposited, z = 2 mm"
    np.testing.assert_array_equal(part.mesh.points, step.points)
    np.testing.assert_array_equal(part.displacement, step.displacement)
    assert [field.name for field in part.fields] == list(dataset.history_fields)


def test_the_final_state_has_what_else_is_known_of_its_nodes(
    subject: StoreSubject, dataset: lpbf.Dataset
) -> None:
    part = subject.load("t", 5)
    assert part.full_title == "case t (train split)"
    assert "sdf" in part.values
    np.testing.assert_array_equal(part.displacement, dataset["t"].displacement)


def test_missing_steps_are_passed_over_and_told(subject: StoreSubject, dataset: lpbf.Dataset) -> None:
    labels = subject.step_labels("v")
    assert labels[:2] == [
        "layer group 1 of 3, deposited, z = 1 mm",
        "layer group 2 of 3, dwelt, z = 2 mm (missing before it: 2)",
    ]
    assert len(labels) == 6
    np.testing.assert_array_equal(subject.load("v", 1).displacement, dataset["v"].steps[3].displacement)


def test_a_case_without_steps_has_its_final_state(subject: StoreSubject) -> None:
    assert subject.step_labels("x") == ["final"]
    assert subject.load("x", 0).node_count > 0


def test_a_model_predicts_the_final_state_alone(dataset: lpbf.Dataset) -> None:
    def predict(case: Case) -> Prediction:
        return {"displacement_z": 0.5 * case.scalar("displacement_z")}

    subject = StoreSubject("run", dataset, ("displacement_z",), predict)
    assert subject.step_labels("t") == ["final"]
    assert subject.load("t", 0).prediction["displacement_z"].min() == -0.5


def test_a_store_of_final_states(tmp_path, subject: StoreSubject) -> None:
    path = write_builds(tmp_path / "final.zarr", BARS[0], steps="final")
    assert StoreSubject("final.zarr", lpbf.open_dataset(path)).step_labels("t") == ["final"]


def test_an_unknown_case_is_named(subject: StoreSubject) -> None:
    for ask in (lambda: subject.step_labels("other"), lambda: subject.load("other", 0)):
        with pytest.raises(SubjectError, match=r"s.zarr has no case 'other'"):
            ask()


def test_the_viewer_goes_through_the_steps(subject: StoreSubject) -> None:
    with closing(LiveScene((320, 240))) as scene:
        viewer = Viewer(subject, scene)
        assert viewer.step == 5
        viewer.set_field("sdf")
        viewer.set_step(0)
        # A step has simulated fields alone.
        assert (viewer.look.field, viewer.look.component) == ("displacement", "z")
        assert viewer.part.node_count == 16
        viewer.set_case("x")
        assert viewer.step == 0
