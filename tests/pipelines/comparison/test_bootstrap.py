from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.comparison.bootstrap import mean_interval


def singles(count):
    return [f"design {index}" for index in range(count)]


def slow_interval(values, designs, seed):
    """Draw whole designs one resample at a time."""
    names = sorted(set(designs))
    of_design = {name: [v for v, d in zip(values, designs, strict=True) if d == name] for name in names}
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(4000):
        drawn = [value for name in rng.choice(names, len(names)) for value in of_design[name]]
        means.append(np.mean(drawn))
    return np.quantile(means, [0.025, 0.975])


def test_interval_of_a_normal_sample_is_the_closed_form():
    """The mean of n independent cases has the standard deviation s / sqrt(n), and is nearly normal."""
    values = np.random.default_rng(1).normal([0.02, 300.0], [0.005, 40.0], (400, 2))
    low, high = mean_interval(values, singles(400))
    half = 1.959964 * values.std(axis=0) / math.sqrt(400)
    np.testing.assert_allclose(low, values.mean(axis=0) - half, atol=0.05 * half.max(), rtol=1e-3)
    np.testing.assert_allclose((high - low) / 2, half, rtol=0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    samples = rng.exponential(1.0, (60, 300))
    low, high = mean_interval(samples, singles(60))
    assert np.mean((low <= 1.0) & (high >= 1.0)) == pytest.approx(0.93, abs=0.04)


def test_siblings_are_drawn_together():
    """Ten equal bodies of each design tell no more than one of each."""
    errors = np.random.default_rng(3).uniform(0.01, 0.05, (20, 1))
    once = mean_interval(errors, singles(20))
    tenfold = mean_interval(np.repeat(errors, 10, axis=0), np.repeat(singles(20), 10).tolist())
    np.testing.assert_allclose(tenfold, once)
    as_if_independent = mean_interval(np.repeat(errors, 10, axis=0), singles(200))
    assert np.ptp(as_if_independent) < 0.5 * np.ptp(once)


def test_it_is_that_of_resampling_one_by_one():
    rng = np.random.default_rng(4)
    designs = rng.choice(["a", "b", "c", "d", "e", "f", "g", "h"], 30).tolist()
    values = rng.lognormal(size=30)
    low, high = mean_interval(values[:, None], designs)
    expected = slow_interval(values, designs, 0)
    np.testing.assert_allclose([low[0], high[0]], expected, atol=0.04 * np.ptp(expected))


def test_the_seed_decides():
    values, designs = np.random.default_rng(5).normal(size=(9, 1)), singles(9)
    np.testing.assert_array_equal(mean_interval(values, designs, 7), mean_interval(values, designs, 7))
    assert (mean_interval(values, designs, 7)[0] != mean_interval(values, designs, 8)[0]).all()


@pytest.mark.parametrize("count", [1, 3])
def test_one_design_has_no_interval(count):
    assert np.isnan(mean_interval(np.ones((count, 2)), ["a"] * count)).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_leaves_the_others_alone(bad):
    values = np.random.default_rng(6).normal(size=(12, 2))
    clean = mean_interval(values, singles(12))
    values[3, 0] = bad
    spoilt = mean_interval(values, singles(12))
    assert np.isnan([bound[0] for bound in spoilt]).all()
    assert [bound[1] for bound in spoilt] == [bound[1] for bound in clean]


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=12),
    shift=st.floats(-9, 9),
    factor=st.floats(0.1, 9),
)
def test_another_unit_is_another_unit_of_the_interval(values, shift, factor):
    column = np.array(values)[:, None]
    low, high = mean_interval(column, singles(len(values)))
    moved = mean_interval(factor * column + shift, singles(len(values)))
    np.testing.assert_allclose(moved, (factor * low + shift, factor * high + shift), atol=1e-9)
    assert column.min() - 1e-9 <= low[0] <= high[0] <= column.max() + 1e-9
