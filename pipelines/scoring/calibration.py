"""How far the uncertainty of a prediction is to be believed: pure functions of one scalar field of one case.

The mean and the standard deviation s over the K members of an ensemble are estimates from few values.  If the
truth is as likely as any member, that is if all are draws from one normal distribution, then
(truth - mean) / (s sqrt(1 + 1 / K)) follows Student's t with K - 1 degrees of freedom: the prediction
interval of a further observation (Hahn and Meeker 1991, Statistical Intervals, chapter 4).  So the factor
sqrt((K + 1) / K) (Fortin et al. 2014, Journal of Hydrometeorology 15, 1708) and the quantiles are those of K;
with Gaussian quantiles a perfect ensemble of five would seem too sure.  A standard deviation that comes from
elsewhere is taken for that of a Gaussian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

LEVELS = {f"coverage_{percent}": percent / 100 for percent in (10, 20, 30, 40, 50, 60, 68, 70, 80, 90, 95)}
"""Probability of each central interval whose coverage is measured, by the name of the metric."""

NAMES = (
    "spread_skill_ratio",
    "calibration_error",
    *LEVELS,
    "negative_log_likelihood",
    "error_spread_correlation",
)
"""What `calibration` gives."""


def calibration(prediction: Array, std: Array, truth: Array, members: int | None) -> dict[str, float]:
    """Compare the uncertainty of a prediction with its error.

    Parameters
    ----------
    prediction, truth : (n,) floating ndarray
        In the unit of the field.
    std : (n,) floating ndarray
        Standard deviation of the prediction at each node, in the same unit, not negative; of an ensemble the
        root of the unbiased variance over its members.
    members : int or None
        Size of the ensemble, at least 2; None if `std` is of no ensemble.

    Returns
    -------
    dict of str to float
        ``spread_skill_ratio``: root mean square of the standard deviation over that of the error, 1 where
        they agree, less where the model is too sure.
        ``coverage_<percent>``: share of the nodes whose truth lies in the central interval of that
        probability.
        ``calibration_error``: mean of |coverage - probability| over `LEVELS` (Kuleshov et al. 2018, arXiv
        1807.00263, who square it).
        ``negative_log_likelihood``: mean over nodes, of a Gaussian, in nats, of a density per unit of the
        field (Lakshminarayanan et al. 2017, arXiv 1612.01474).
        ``error_spread_correlation``: rank correlation (Spearman) of |error| and standard deviation.
    """
    assert prediction.shape == std.shape == truth.shape, (prediction.shape, std.shape, truth.shape)
    assert members is None or members > 1
    error = np.abs(prediction.astype(np.float64) - truth)
    spread = math.sqrt(1 + 1 / members if members else 1) * std.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of a node without error the interval of no width holds the truth.
        standardised = np.where(error > 0, error / spread, 0.0)
        log_density = -0.5 * np.square(standardised) - np.log(math.sqrt(2 * math.pi) * spread)
        ratio = float(np.linalg.norm(spread) / np.linalg.norm(error))
    coverage = {
        name: float((standardised <= _half_width(level, members)).mean()) for name, level in LEVELS.items()
    }
    return {
        "spread_skill_ratio": ratio,
        "calibration_error": float(np.mean([abs(coverage[name] - level) for name, level in LEVELS.items()])),
        **coverage,
        "negative_log_likelihood": -float(log_density.mean()),
        "error_spread_correlation": _rank_correlation(error, spread),
    }


def _half_width(level: float, members: int | None) -> float:
    """Half of the central interval of a probability, in standard deviations."""
    upper = 0.5 + level / 2
    return float(stdtrit(members - 1, upper) if members else ndtri(upper))


def _rank_correlation(first: Array, second: Array) -> float:
    """Spearman's coefficient, ties having their mean rank; NaN if one is constant."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (first, second)]
    a, b = (rank - rank.mean() for rank in ranks)
    with np.errstate(invalid="ignore"):
        return float(np.float64(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)))
