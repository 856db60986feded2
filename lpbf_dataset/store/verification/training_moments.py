"""The moments that a store keeps of its training cases, against those of the values that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.schema import NORMALIZED_DIMS, STORED_VARIABLES
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.verification.problems import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

MOMENTS_TOLERANCE = 1e-6
"""Relative to the spread of the values."""


class TrainingMoments:
    """Moments summed up case by case, while the cases are read for other checks."""

    def __init__(self) -> None:
        self._moments: dict[str, Moments] = {}
        self._incomplete: set[str] = set()

    def add(self, variables: Mapping[str, NDArray[Any]]) -> None:
        """Take in what a training case holds, as far as it is normalised."""
        for name, values in variables.items():
            if STORED_VARIABLES[name].dim in NORMALIZED_DIMS and len(values):
                moments = Moments.of(values)
                earlier = self._moments.get(name)
                self._moments[name] = earlier.merge(moments) if earlier else moments

    def give_up(self, name: str) -> None:
        """Leave a variable out of the comparison, since not all of its values can be read."""
        self._incomplete.add(name)

    def flaws(self, stored: object) -> Iterator[str]:
        """Say in what stored moments differ from these.

        Parameters
        ----------
        stored : JSON value
            Attribute ``normalization`` of the store.
        """
        try:
            moments = {name: Moments.from_json(of_name) for name, of_name in stored.items()}  # type: ignore[attr-defined]
        except UNREADABLE as error:
            yield f"normalization cannot be read: {error}"
            return
        for name in sorted(self._moments.keys() - self._incomplete - moments.keys()):
            yield f"normalization lacks {name}"
        for name in sorted(moments.keys() - self._incomplete):
            if name not in self._moments:
                yield f"no training case has {name}"
            elif flaw := _difference(moments[name], self._moments[name]):
                yield f"{name}: {flaw}"


def _difference(stored: Moments, computed: Moments) -> str | None:
    """Say in what two moments differ, if they do."""
    if stored.count != computed.count:
        return f"{stored.count} rows, but the training cases have {computed.count}"
    tolerance = MOMENTS_TOLERANCE * np.max(computed.std)
    for name in ("mean", "std", "min", "max"):
        given, expected = getattr(stored, name), getattr(computed, name)
        if given.shape != expected.shape or not np.allclose(given, expected, MOMENTS_TOLERANCE, tolerance):
            return f"{name} is {given.tolist()}, but that of the training cases {expected.tolist()}"
    return None
