"""How far a predicted field is from the true one: pure functions of one case, and their summary.

All take the predicted and the true field of a case in physical units, (n,) arrays of a scalar or (n, k) of a
vector, and compute in float64.  The error of a vector at a node is the length of the difference.  A ratio
whose denominator vanishes is NaN or infinite, and stays so in the summary: a case that cannot be scored is
not passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.floating]

PUBLISHED_MEAN = 0.45099
PUBLISHED_STD = 0.34213
"""The affine map with which the published code decodes its target: random numbers drawn at seed 0."""

PUBLISHED_TARGET = "displacement_z"
"""The field, in mm, that the published figures are about."""


def relative_l2(prediction: Array, truth: Array) -> float:
    """||prediction - truth|| / ||truth||, over nodes and components together."""
    return _ratio(np.linalg.norm(_error(prediction, truth)), np.linalg.norm(truth.astype(np.float64)))


def r2(prediction: Array, truth: Array) -> float:
    """Coefficient of determination: 1 minus squared error over squared deviation from the mean."""
    wide = truth.astype(np.float64)
    squared_error = np.square(_error(prediction, truth)).sum()
    return 1.0 - _ratio(squared_error, np.square(wide - wide.mean(axis=0)).sum())


def mean_absolute_error(prediction: Array, truth: Array) -> float:
    """Mean of |prediction - truth|, in the unit of the field."""
    return float(_lengths(_error(prediction, truth)).mean())


def p95_absolute_error(prediction: Array, truth: Array) -> float:
    """95th percentile of |prediction - truth| over the nodes (linear interpolation), same unit."""
    return float(np.percentile(_lengths(_error(prediction, truth)), 95))


def max_absolute_error(prediction: Array, truth: Array) -> float:
    """Largest |prediction - truth|, in the unit of the field."""
    return float(_lengths(_error(prediction, truth)).max())


def published_relative_l2(prediction: Array, truth: Array) -> float:
    """Relative L2 as in the published LPBF tables: || s (p - t) || / || s t + m ||, of mm.

    The published code passes truth and prediction, in mm, through a map with s = `PUBLISHED_STD` and
    m = `PUBLISHED_MEAN` that has nothing to do with the data (vpuri3/FLARE.py).  The offset enlarges the
    denominator, so the figure is smaller than `relative_l2` for small displacements.
    """
    decoded_truth = PUBLISHED_STD * truth.astype(np.float64) + PUBLISHED_MEAN
    return _ratio(PUBLISHED_STD * np.linalg.norm(_error(prediction, truth)), np.linalg.norm(decoded_truth))


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "relative_l2": relative_l2,
    "r2": r2,
    "mean_absolute_error": mean_absolute_error,
    "p95_absolute_error": p95_absolute_error,
    "max_absolute_error": max_absolute_error,
}
"""Metrics of every target, by name."""


def score(prediction: Array, truth: Array, target: str) -> dict[str, float]:
    """Every metric of one case.

    Parameters
    ----------
    prediction, truth : (n,) or (n, k) floating ndarray
        In the unit of the target.
    target : str
        Name of the field; `published_relative_l2` is added for `PUBLISHED_TARGET` alone.

    Returns
    -------
    dict of str to float
    """
    scores = {name: metric(prediction, truth) for name, metric in METRICS.items()}
    if target == PUBLISHED_TARGET:
        scores["published_relative_l2"] = published_relative_l2(prediction, truth)
    return scores


def summarize(cases: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and median over cases of each metric.

    Parameters
    ----------
    cases : sequence of mapping of str to float
        Scores of one case each, all with the same names; not empty.

    Returns
    -------
    dict
        ``{"mean": {metric: value}, "median": {metric: value}}``.
    """
    return {
        kind: {name: float(average([case[name] for case in cases])) for name in cases[0]}
        for kind, average in (("mean", np.mean), ("median", np.median))
    }


def _error(prediction: Array, truth: Array) -> NDArray[np.float64]:
    assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
    return prediction.astype(np.float64) - truth.astype(np.float64)


def _lengths(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute value of a scalar, length of a vector, at each node."""
    return np.abs(errors) if errors.ndim == 1 else np.linalg.norm(errors, axis=1)


def _ratio(numerator: np.floating | float, denominator: np.floating | float) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))
