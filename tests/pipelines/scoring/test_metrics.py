from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.scoring import metrics

TRUTH = np.array([3.0, 4.0, 0.0, 0.0], np.float32)
PREDICTION = np.array([3.0, 4.0, 1.0, -2.0], np.float32)


def test_closed_form_values():
    scores = metrics.score(PREDICTION, TRUTH, "von_mises_stress")
    assert scores == {
        "relative_l2": pytest.approx(math.sqrt(5) / 5),
        "r2": pytest.approx(1 - 5 / (25 - 49 / 4)),
        "mean_absolute_error": pytest.approx(3 / 4),
        # Sorted errors 0, 0, 1, 2: the 95th percentile lies at position 2.85.
        "p95_absolute_error": pytest.approx(1.85),
        "max_absolute_error": pytest.approx(2.0),
    }


def test_published_figure_decodes_with_the_random_affine_map():
    s, m = 0.34213, 0.45099
    decoded_truth = [s * 3 + m, s * 4 + m, m, m]
    expected = s * math.sqrt(5) / math.sqrt(sum(value**2 for value in decoded_truth))
    assert metrics.published_relative_l2(PREDICTION, TRUTH) == pytest.approx(expected)
    assert metrics.score(PREDICTION, TRUTH, "displacement_z")["published_relative_l2"] == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("relative_l2", 0.0), ("r2", 1.0), ("mean_absolute_error", 0.0), ("p95_absolute_error", 0.0)],
)
def test_a_perfect_prediction(name, expected):
    assert metrics.METRICS[name](TRUTH, TRUTH) == expected


def test_predicting_the_mean_has_r2_zero():
    assert metrics.r2(np.full(4, TRUTH.mean()), TRUTH) == pytest.approx(0.0)


fields = arrays(np.float32, 6, elements=st.floats(-5, 5, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3))


@given(prediction=fields, truth=fields, factor=st.floats(0.1, 10))
def test_errors_scale_with_the_unit_and_ratios_do_not(prediction, truth, factor):
    before = metrics.score(prediction, truth, "temperature")
    after = metrics.score(prediction * np.float64(factor), truth * np.float64(factor), "temperature")
    for name in before:
        unit = factor if name.endswith("error") else 1.0
        assert after[name] == pytest.approx(before[name] * unit, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(("prediction", "expected"), [([0.0, 0.0], math.nan), ([0.0, 1.0], math.inf)])
def test_a_field_of_zeros_cannot_be_scored_relatively(prediction, expected):
    score = metrics.relative_l2(np.array(prediction), np.zeros(2))
    assert score == pytest.approx(expected, nan_ok=True)


def test_a_vector_has_an_error_at_each_node():
    truth = np.array([[3.0, 0, 0], [0, 4, 0]])
    prediction = truth + np.array([[0, 3.0, 4], [0, 0, 1]])
    assert metrics.score(prediction, truth, "displacement") == {
        "relative_l2": pytest.approx(math.sqrt(26) / 5),
        # Squared distances from the mean vector (1.5, 2, 0) are 6.25 each.
        "r2": pytest.approx(1 - 26 / 12.5),
        "mean_absolute_error": pytest.approx(3),
        "p95_absolute_error": pytest.approx(1 + 0.95 * 4),
        "max_absolute_error": pytest.approx(5),
    }


@given(prediction=arrays(np.float64, (5, 3), elements=st.floats(-5, 5)), angle=st.floats(0, 7))
def test_errors_of_a_vector_do_not_depend_on_the_axes(prediction, angle):
    truth = np.linspace(0, 1, 15).reshape(5, 3)
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert metrics.score(prediction @ turn, truth @ turn, "displacement") == pytest.approx(
        metrics.score(prediction, truth, "displacement"), abs=1e-9
    )


def test_large_float32_fields_are_summed_in_double_precision():
    truth = np.full(100_000, 1e20, np.float32)
    assert metrics.relative_l2(truth * np.float32(1.5), truth) == pytest.approx(0.5, rel=1e-6)


def test_summary_of_cases():
    cases = [{"relative_l2": value} for value in (0.1, 0.2, 0.6)]
    summary = metrics.summarize(cases)
    assert summary["mean"]["relative_l2"] == pytest.approx(0.3)
    assert summary["median"]["relative_l2"] == pytest.approx(0.2)


def test_a_case_that_cannot_be_scored_shows_in_the_summary():
    assert math.isnan(metrics.summarize([{"r2": 0.5}, {"r2": math.nan}])["mean"]["r2"])
