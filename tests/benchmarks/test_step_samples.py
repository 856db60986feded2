"""The benchmark of step samples times what it says, and both ways of carrying give the same."""

from __future__ import annotations

import numpy as np
import pytest

import lpbf_dataset as lpbf
from tests.builds import GrowingBar, write_builds


@pytest.fixture
def builds(tmp_path):
    return write_builds(tmp_path / "builds.zarr", GrowingBar("t1", 3, 2), GrowingBar("t2", 4, 2))


def test_all_parts_of_a_sample_are_timed(benchmark_module, builds, capsys):
    benchmark_module("step_samples").main([str(builds), "--steps", "2"])
    printed = capsys.readouterr().out
    for name in ("sample", "carries", "naive carries", "training step"):
        assert f"\n{name} " in printed


def test_both_ways_carry_the_same(benchmark_module, builds):
    module = benchmark_module("step_samples")
    store = lpbf.open_dataset(builds)
    carries = module.Carries(store, module.describe(store))
    transition = module.make_samples(store.train, module.describe(store)).transitions[2]
    states = carries.read(transition)
    for fast, naive in zip(carries.fast(*states), carries.naive(*states), strict=True):
        np.testing.assert_allclose(fast, naive, rtol=1e-5, atol=1e-6)
