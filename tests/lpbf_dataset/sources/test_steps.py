from __future__ import annotations

import numpy as np

import lpbf_dataset as lpbf
from lpbf_dataset.sources.steps import case_steps
from tests.builds import FIELDS, GrowingBar, write_builds


def test_steps_of_a_source_are_those_of_its_store(tmp_path):
    bar = GrowingBar("t", missing=(2,))
    stored = lpbf.open_dataset(write_builds(tmp_path / "s.zarr", bar))["t"].steps
    for step, expected in zip(case_steps(bar), stored, strict=True):
        for name in ("case_id", "index", "kind", "time", "height", "group", "fault", "field_names"):
            np.testing.assert_equal(getattr(step, name), getattr(expected, name))
        assert step.is_missing == (step.index == 2)
        assert step.shares_mesh(expected)
        for name in ("points", "cells", *FIELDS):
            assert step.variables[name].dtype == expected.variables[name].dtype
            np.testing.assert_array_equal(step.variables[name], expected.variables[name])


def test_a_step_of_the_plate_alone_is_missing(monkeypatch):
    below = next(GrowingBar("t").history())
    below.points[:, 2] -= 5
    monkeypatch.setattr(GrowingBar, "history", lambda _: iter([below]))
    (step,) = case_steps(GrowingBar("t"))
    assert step.is_missing
    assert step.fault == "malformed_file: result 0 has no cell above the plate"
