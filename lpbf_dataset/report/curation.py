"""The outcome of a curation, which every report is made from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pandas as pd

from lpbf_dataset.schema import HISTORY_VARIABLES, SPLITS, STATISTICS, VARIABLES, history_variables
from lpbf_dataset.sources.base import FailureReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lpbf_dataset.curation.histories import Histories
    from lpbf_dataset.schema import Variable


class Rule(Protocol):
    """A bound on a statistic; ``str(rule)`` is what the catalog calls it."""

    @property
    def statistic(self) -> str:
        """Name in `lpbf_dataset.schema.STATISTICS`."""

    @property
    def minimum(self) -> float:
        """Smallest value kept, -inf for no such bound."""

    @property
    def maximum(self) -> float:
        """Largest value kept, inf for no such bound."""


class Leakage(Protocol):
    """What training and evaluation cases have in common.

    ``siblings`` has the columns ``case_id, split, other, other_split, design_id``, ``duplicates``
    has ``distance`` in place of the last.
    """

    @property
    def evaluated(self) -> int:
        """Number of cases outside the training split."""

    @property
    def siblings(self) -> pd.DataFrame:
        """Pairs of cases of one design in different splits."""

    @property
    def duplicates(self) -> pd.DataFrame:
        """Pairs of cases in different splits that are nearly alike in shape."""

    @property
    def threshold(self) -> float:
        """Largest distance between duplicates."""

    @property
    def sibling_share(self) -> float:
        """Share of the evaluated cases with a sibling in the training split."""

    @property
    def duplicate_share(self) -> float:
        """Share of the evaluated cases with a duplicate in the training split."""

    def warnings(self) -> list[str]:
        """One sentence for each thing that makes an evaluation look better than it is."""


class Stage(NamedTuple):
    """How many cases are left after a stage of the curation, and how many it took."""

    label: str
    left: int
    lost: int


@dataclass(frozen=True, eq=False)
class Curation:
    """What became of every case found.

    Parameters
    ----------
    catalog : DataFrame
        One row per case found.  Text columns ``case_id``, ``design_id``, ``source``, ``status``
        ("kept", "rejected", "failed"), ``reason``, ``rule``, ``failure`` and ``split``, a float
        column ``value`` (what the rule rejected) and the statistics of
        `lpbf_dataset.schema.STATISTICS`; NaN, or -1 in a column of integers, where not known.
    rules : sequence of Rule
        The rules in the order in which they were applied.
    sensitivity : DataFrame, optional
        How many cases would be ``kept`` with a bound of one ``rule`` multiplied by a ``factor``, which
        is not finite for the rule left out.  More columns are shown as they are.
    leakage : Leakage, optional
        What the splits have in common.
    split_comparison : DataFrame, optional
        A row per ``method`` and ``split``, columns of numbers; those named ``*_share`` are shares of one.
    attributes : mapping of str to JSON values
        Root attributes of the store.
    histories : Histories, optional
        The steps of the builds that the store holds; None where it holds final states alone.
    """

    catalog: pd.DataFrame
    rules: Sequence[Rule] = ()
    sensitivity: pd.DataFrame | None = None
    leakage: Leakage | None = None
    split_comparison: pd.DataFrame | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    histories: Histories | None = None

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Ragged variables of the store, those of histories last."""
        known = self.attributes.get("normalization", {})
        final = [v for v in VARIABLES.values() if not v.optional or v.name in known]
        of_history = history_variables(self.histories.fields) if self.histories else ()
        return (*final, *(HISTORY_VARIABLES[name] for name in of_history))

    @property
    def kept(self) -> pd.DataFrame:
        """Rows of the catalog that are in the store."""
        return self.catalog[self.catalog["status"] == "kept"]

    @property
    def readable(self) -> pd.DataFrame:
        """Rows of the catalog with statistics: kept, rejected by a rule, or not stored."""
        return self.catalog[(self.catalog["status"] != "failed") | self._is_missing]

    @property
    def not_stored(self) -> pd.DataFrame:
        """Rows of the catalog that the rules would keep, if the store they come from held them."""
        return self.catalog[self._is_missing]

    @property
    def _is_missing(self) -> pd.Series[bool]:
        return self.catalog["failure"] == FailureReason.NOT_STORED

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics that the catalog has, in the order of the schema."""
        return tuple(name for name in STATISTICS if name in self.catalog)

    @property
    def distributions(self) -> tuple[str, ...]:
        """Statistics that are known of a kept case and are no mere yes or no."""
        kept = self.kept
        values = {name: known(kept, name) for name in self.statistics}
        return tuple(name for name, found in values.items() if not found.isin((0, 1)).all())

    def split_counts(self) -> dict[str, int]:
        """Kept cases of each split, every split named."""
        counts = self.kept["split"].value_counts()
        return {split: int(counts.get(split, 0)) for split in SPLITS}

    def funnel(self) -> list[Stage]:
        """Cases left after each stage: found, readable, each rule in order, stored where they come from.

        Rules that the catalog names and `rules` does not are one stage after the others.  The last stage is
        there only if it takes a case.
        """
        stages = [Stage("found", len(self.catalog), 0)]

        def then(label: str, lost: int) -> None:
            stages.append(Stage(label, stages[-1].left - lost, lost))

        then("readable", len(self.catalog) - len(self.readable))
        rejecting = self.readable.loc[self.readable["status"] == "rejected", "rule"]
        for rule in map(str, self.rules):
            then(rule, int((rejecting == rule).sum()))
        missing = len(self.not_stored)
        if others := stages[-1].left - missing - len(self.kept):
            then("other rules", others)
        if missing:
            then("stored", missing)
        return stages

    def violations(self) -> pd.DataFrame:
        """Tell for each readable case which rules it violates, not only the first.

        Returns
        -------
        (readable cases, rules) DataFrame of bool
            Columns are the rules as text.  A value that is not known violates.
        """
        table = self.readable
        violated = {}
        for rule in self.rules:
            if rule.statistic in table:
                values = known(table, rule.statistic)
                fitting = values.index[values.between(rule.minimum, rule.maximum)]
                violated[str(rule)] = ~table.index.isin(fitting)
        return pd.DataFrame(violated, index=table.index)


def known(table: pd.DataFrame, statistic: str) -> pd.Series[float]:
    """Values of a statistic without the cases for which it is not known.

    Parameters
    ----------
    table : DataFrame
        Rows of a catalog.
    statistic : str
        Name in `lpbf_dataset.schema.STATISTICS`.

    Returns
    -------
    Series of float64
        With the index of `table`, less the rows without a value.
    """
    values = table[statistic].astype("float64")
    if STATISTICS[statistic].dtype.startswith("int"):
        values = values[values >= 0]
    return values[values.abs() < math.inf]
