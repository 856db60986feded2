"""Mean, spread and extremes of a field, merged case by case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of the rows of an array, per component.

    Parameters
    ----------
    count : int
        Number of rows.
    mean : () or (k,) float64 ndarray
        Mean, in the unit of the field.
    squared_deviation : () or (k,) float64 ndarray
        Sum of squared deviations from the mean.
    min, max : () or (k,) float64 ndarray
        Extremes.
    """

    count: int
    mean: NDArray[np.float64]
    squared_deviation: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation, () or (k,)."""
        return np.sqrt(self.squared_deviation / self.count)

    @classmethod
    def of(cls, values: NDArray[np.generic]) -> Moments:
        """Moments of an (n,) or (n, k) array, n > 0."""
        wide = values.astype(np.float64)
        mean = wide.mean(axis=0)
        return cls(len(wide), mean, ((wide - mean) ** 2).sum(axis=0), wide.min(axis=0), wide.max(axis=0))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows together (Chan, Golub and LeVeque, 1979, equation 2.1)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.squared_deviation + other.squared_deviation + delta**2 * (self.count * other.count / count),
            np.minimum(self.min, other.min),
            np.maximum(self.max, other.max),
        )

    def to_json(self) -> dict[str, Any]:
        """Return count, mean, std, min and max as plain numbers or lists of them."""
        return {
            "count": self.count,
            **{name: getattr(self, name).tolist() for name in ("mean", "std", "min", "max")},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Moments:
        """Undo `to_json`."""
        mean, std, low, high = (np.array(stored[name], np.float64) for name in ("mean", "std", "min", "max"))
        return cls(stored["count"], mean, std**2 * stored["count"], low, high)
