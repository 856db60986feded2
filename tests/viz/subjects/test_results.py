from __future__ import annotations

from typing import TYPE_CHECKING

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
