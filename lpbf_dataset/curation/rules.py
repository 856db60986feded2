"""Which cases are kept: bounds on their statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpbf_dataset.schema import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Rule:
    """A case is kept if one of its statistics does not exceed a bound.

    Parameters
    ----------
    statistic : str
        Name in `lpbf_dataset.schema.STATISTICS`.
    maximum : float
        Largest value kept, in the statistic's unit.

    Raises
    ------
    ValueError
        If there is no such statistic.
    """

    statistic: str
    maximum: float

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise ValueError(f"no statistic named {self.statistic!r}; there are {', '.join(STATISTICS)}")

    def keeps(self, statistics: Mapping[str, float | int]) -> bool:
        """Tell whether a case passes.  NaN does not."""
        return statistics[self.statistic] <= self.maximum

    def __str__(self) -> str:
        return f"{self.statistic} <= {self.maximum:g}"


PUBLISHED_RULES = (
    Rule("nodes", 50_000),
    Rule("directed_edges", 250_000),
    Rule("mean_aspect_ratio", 3.0),
    Rule("max_aspect_ratio", 3.0),
    Rule("max_displacement_z", 1.0),
    Rule("max_von_mises_stress", 2000.0),
)
"""The selection of the published LPBF set (Puri et al., FLARE, arXiv 2508.12594)."""


def first_violation(statistics: Mapping[str, float | int], rules: Sequence[Rule]) -> Rule | None:
    """First rule, in order, that rejects a case; None for a case to keep.

    Parameters
    ----------
    statistics : mapping of str to float or int
        Statistics of the case.
    rules : sequence of Rule
        Rules to apply.
    """
    return next((rule for rule in rules if not rule.keeps(statistics)), None)
