"""Calibration against closed forms: errors that are drawn from what is claimed of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.scoring.calibration import LEVELS, NAMES, calibration

NODES = 100_000


@pytest.fixture(scope="module")
def spreads():
    """Standard deviations of the nodes, over a decade."""
    return np.random.default_rng(1).uniform(0.1, 1, NODES)


def claimed(spreads, true_factor, members=None):
    """Calibration where errors are Gaussian with `true_factor` times the claimed standard deviation."""
    errors = np.random.default_rng(0).normal(size=NODES) * true_factor * spreads
    return calibration(errors, spreads, np.zeros(NODES), members)


def test_a_gaussian_that_is_right(spreads):
    scores = claimed(spreads, 1.0)
    assert tuple(scores) == NAMES
    assert scores["spread_skill_ratio"] == pytest.approx(1, abs=0.01)
    assert {name: scores[name] for name in LEVELS} == pytest.approx(LEVELS, abs=0.006)
    assert scores["calibration_error"] < 0.004
    # Entropy of a Gaussian, log(sigma sqrt(2 pi e)), over sigma uniform on [0.1, 1].
    mean_log = (1 * math.log(1) - 1 - (0.1 * math.log(0.1) - 0.1)) / 0.9
    expected = mean_log + 0.5 * math.log(2 * math.pi * math.e)
    assert scores["negative_log_likelihood"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_gaussian_that_is_too_sure_or_too_careful(spreads, factor):
    scores = claimed(spreads, factor)
    expected = {
        name: 2 * stats.norm.cdf(stats.norm.ppf(0.5 + p / 2) / factor) - 1 for name, p in LEVELS.items()
    }
    assert {name: scores[name] for name in LEVELS} == pytest.approx(expected, abs=0.006)
    assert scores["spread_skill_ratio"] == pytest.approx(1 / factor, rel=0.01)
    gaps = [abs(expected[name] - p) for name, p in LEVELS.items()]
    assert scores["calibration_error"] == pytest.approx(np.mean(gaps), abs=0.004)


@pytest.mark.parametrize("members", [2, 5, 10])
def test_an_ensemble_that_is_right(members):
    """Truth and members are drawn from one Gaussian, which differs from node to node."""
    rng = np.random.default_rng(members)
    center, width = rng.normal(size=(1, NODES)), rng.uniform(0.1, 1, (1, NODES))
    truth, *drawn = center + width * rng.normal(size=(members + 1, NODES))
    scores = calibration(np.mean(drawn, axis=0), np.std(drawn, axis=0, ddof=1), truth, members)
    assert {name: scores[name] for name in LEVELS} == pytest.approx(LEVELS, abs=0.006)
    assert scores["spread_skill_ratio"] == pytest.approx(1, abs=0.02)


def test_the_likelihood_and_the_rank_correlation_are_those_of_scipy():
    rng = np.random.default_rng(3)
    prediction, truth = rng.normal(size=(2, 200))
    std = np.round(rng.uniform(0.1, 1, 200), 1)  # with ties
    scores = calibration(prediction, std, truth, None)
    expected = -stats.norm.logpdf(truth, prediction, std).mean()
    assert scores["negative_log_likelihood"] == pytest.approx(expected)
    correlation = stats.spearmanr(np.abs(prediction - truth), std).statistic
    assert scores["error_spread_correlation"] == pytest.approx(correlation)


def test_the_factor_of_few_members():
    values = np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([1.0, 0.0])
    alone, of_two = calibration(*values, None), calibration(*values, 2)
    assert alone["spread_skill_ratio"] == 1
    assert of_two["spread_skill_ratio"] == pytest.approx(math.sqrt(1.5))
    assert of_two["negative_log_likelihood"] == pytest.approx(0.5 / 1.5 + 0.5 * math.log(2 * math.pi * 1.5))


def test_no_uncertainty_at_all():
    """Without spread only what is predicted exactly is covered, and the rest is infinitely unlikely."""
    scores = calibration(np.array([1.0, 2.0]), np.zeros(2), np.array([1.0, 1.0]), 3)
    assert [scores[name] for name in LEVELS] == [0.5] * len(LEVELS)
    assert scores["spread_skill_ratio"] == 0
    assert not math.isfinite(scores["negative_log_likelihood"])
    assert math.isnan(scores["error_spread_correlation"])


def test_no_error_at_all():
    scores = calibration(np.ones(3), np.ones(3), np.ones(3), None)
    assert scores["spread_skill_ratio"] == math.inf
    assert scores["coverage_10"] == 1


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.sampled_from([None, 2, 7]))
def test_units_change_nothing_but_the_density(seed, unit, members):
    rng = np.random.default_rng(seed)
    prediction, truth, std = (*rng.normal(size=(2, 20)), rng.uniform(0.1, 1, 20))
    scores = calibration(prediction, std, truth, members)
    scaled = calibration(unit * prediction, unit * std, unit * truth, members)
    scores["negative_log_likelihood"] += math.log(unit)
    assert scaled == pytest.approx(scores, abs=1e-9)
    covered = [scores[name] for name in LEVELS]
    assert covered == sorted(covered)
