from __future__ import annotations

import pandas as pd
import pytest

COLUMNS = {
    "extract s",
    "shards s",
    "rest s",
    "build s",
    "CPU s",
    "parent MB",
    "worker MB",
    "open ms",
    "read ms",
}


@pytest.fixture(scope="module")
def build_scaling(benchmark_module):
    return benchmark_module("build_scaling")


def test_a_build_is_told_by_phase(build_scaling):
    figures = build_scaling.measure(5, 100, 1)
    assert figures.keys() > COLUMNS
    phases = figures["extract s"] + figures["shards s"] + figures["rest s"]
    assert phases == pytest.approx(figures["build s"])
    assert figures["worker MB"] == 0
    assert min(figures[name] for name in COLUMNS - {"worker MB"}) > 0


def test_rates_are_compared_with_the_fewest_workers_at_each_size(build_scaling):
    times = pd.DataFrame(
        [
            (10, 1, 4.0, 2.0, 10.0),
            (10, 2, 2.0, 1.0, 5.0),
            (100, 1, 40.0, 20.0, 80.0),
            (100, 2, 20.0, 20.0, 60.0),
        ],
        columns=["cases", "workers", "extract s", "shards s", "build s"],
    )
    table = build_scaling.with_rates(times)
    assert list(table["cases/s"]) == pytest.approx([1, 2, 1.25, 100 / 60])
    assert list(table["extract ratio"]) == [1, 2, 1, 2]
    assert list(table["work ratio"]) == [1, 2, 1, 1.5]


@pytest.mark.slow
def test_workers_are_measured_apart(build_scaling):
    table = build_scaling.scaling([3], 100, [1, 2], rounds=1)
    assert list(table["workers"]) == [1, 2]
    assert (table["worker MB"] > 0).tolist() == [False, True]
