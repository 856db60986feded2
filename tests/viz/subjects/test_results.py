from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from viz.subjects import ResultsSubject, SubjectError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_build_is_seen_step_by_step(step2: Path) -> None:
    subject = ResultsSubject(step2)
    name = subject.first_case
    labels = subject.step_labels(name)
    assert "removed" in labels[-1]
    first, last = subject.load(name, 0), subject.load(name, len(labels) - 1)
    assert (first.node_count, last.node_count) == (1836, 3227)
    assert last.field("von_mises_stress").units == "MPa"
    assert labels[-1] in last.title


def test_an_unknown_case_is_named(step2: Path) -> None:
    with pytest.raises(SubjectError, match="no case 'other'"):
        ResultsSubject(step2).load("other", 0)


def test_the_build_is_without_the_plate(step2: Path) -> None:
    subject = ResultsSubject(step2)
    steps = subject.build(subject.first_case).steps
    assert [step.kind for step in steps] == ["deposited", "dwelt"] * 3 + ["cooled", "removed"]
    assert [step.height for step in steps] == pytest.approx([3.2, 3.2, 6.4, 6.4, 8.8, 8.8, 8.8, 8.8])
    assert all(step.points[:, 2].min() == 0.0 for step in steps)
    part = ResultsSubject(step2, plate=False).load(subject.first_case, 0)
    np.testing.assert_array_equal(part.mesh.points, steps[0].points)
    assert "recoater_clearance" in steps[0].field_names
    with pytest.raises(SubjectError, match="no case 'other'"):
        subject.build("other")
