"""What a model could know of the test set from the training set: siblings and near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lpbf_dataset.curation.splits import DEFAULT_FRACTIONS, split_cases
from lpbf_dataset.schema import SPLITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.curation.splits import SplitMethod
    from lpbf_dataset.schema import Split

DEFAULT_THRESHOLD = 0.03
"""Distance of shape descriptors up to which two parts are near-duplicates.

From 65 parts, 46 of them of the Fusion 360 Gallery, scaled to 60 mm and meshed with cells of 0.6 mm.  Of
257 copies that were turned by 90 degrees or askew, or meshed with cells of 0.5 or 0.9 mm, 95 % lie within
0.011 of the original and all but two within 0.024; the two are of a lattice with walls as thin as the cells.
Of 2044 pairs of different designs all but one are 0.037 or more apart, half of them 0.29; the one, 0.024
apart, are synthetic cubes with small cut-outs.  Siblings are 0.063 or more apart: bodies of one design need
not be alike in shape, so both kinds of leakage are looked for.
"""

_PAIR = ["case_id", "split", "other", "other_split"]


@dataclass(frozen=True, eq=False)
class Leakage:
    """Cases for validation and testing that resemble cases for training.

    Parameters
    ----------
    evaluated : int
        Number of cases for validation and testing.
    siblings : DataFrame
        A row per pair of a case for validation or testing, ``case_id`` and ``split``, and a body of the
        same design in training, ``other`` and ``other_split``; with their ``design_id``.
    duplicates : DataFrame
        A row per case for validation or testing that has a near-duplicate by shape in training: the
        nearest, ``other``; with the ``distance`` of their descriptors.
    threshold : float
        Largest distance of near-duplicates.
    """

    evaluated: int
    siblings: pd.DataFrame
    duplicates: pd.DataFrame
    threshold: float

    @property
    def sibling_share(self) -> float:
        """Share of the cases for validation and testing with a sibling in training; 0 of none."""
        return self.siblings["case_id"].nunique() / max(self.evaluated, 1)

    @property
    def duplicate_share(self) -> float:
        """Share of the cases for validation and testing with a near-duplicate in training; 0 of none."""
        return len(self.duplicates) / max(self.evaluated, 1)

    def warnings(self) -> list[str]:
        """One line for each kind of leakage that there is."""
        lines = []
        if len(self.siblings):
            first = self.siblings.iloc[0]
            lines.append(
                f"{self._count(self.siblings)} have a body of the same design in training, first "
                f"{first['case_id']} and {first['other']}; split by design to keep them together"
            )
        if len(self.duplicates):
            nearest = self.duplicates.sort_values("distance", kind="stable").iloc[0]
            lines.append(
                f"{self._count(self.duplicates)} have a near-duplicate by shape in training, nearest "
                f"{nearest['case_id']} and {nearest['other']}"
            )
        return lines

    def _count(self, pairs: pd.DataFrame) -> str:
        count = pairs["case_id"].nunique()
        return f"{count} of {self.evaluated} cases for validation and testing ({count / self.evaluated:.0%})"

    def to_json(self) -> dict[str, float | int]:
        """Return the counts and shares, to be stored with a data set."""
        return {
            "evaluated": self.evaluated,
            "with_sibling_in_training": int(self.siblings["case_id"].nunique()),
            "sibling_share": self.sibling_share,
            "with_near_duplicate_in_training": len(self.duplicates),
            "duplicate_share": self.duplicate_share,
            "duplicate_threshold": self.threshold,
        }


def find_leakage(
    table: pd.DataFrame,
    splits: Mapping[str, Split],
    descriptors: Mapping[str, NDArray[np.float64]] | NDArray[np.float64],
    threshold: float = DEFAULT_THRESHOLD,
) -> Leakage:
    """Find cases for validation and testing that resemble cases for training.

    Parameters
    ----------
    table : DataFrame
        A row per case, with ``case_id`` and ``design_id``.
    splits : mapping of str to {"train", "val", "test"}
        Split of each case, by case id.
    descriptors : (n, K) float64 ndarray, or mapping of str to (K,) float64 ndarray
        `lpbf_dataset.curation.shape.shape_descriptor` of each case, in the order of `table` or by case
        id.  Their Euclidean distance is taken as it is: its unit is the size of a part, whatever the set,
        where a distance standardised over the set would change with every part added to it.
    threshold : float
        Largest distance of near-duplicates.

    Returns
    -------
    Leakage
        Rows in the order of `table`.
    """
    if isinstance(descriptors, Mapping):
        descriptors = np.array([descriptors[case_id] for case_id in table["case_id"]])
    cases = table[["case_id", "design_id"]].assign(split=table["case_id"].map(splits))
    assert len(descriptors) == len(cases)
    assert cases["split"].isin(SPLITS).all()
    in_training = (cases["split"] == "train").to_numpy()
    evaluated, training = cases[~in_training], cases[in_training]
    others = training.rename(columns={"case_id": "other", "split": "other_split"})
    siblings = evaluated.merge(others, on="design_id")[[*_PAIR, "design_id"]]

    duplicates = evaluated.iloc[:0].assign(other="", other_split="", distance=0.0)
    if len(evaluated) and len(training):
        # Takes a second to import, and only a build needs it.
        from sklearn.neighbors import NearestNeighbors

        neighbours = NearestNeighbors(n_neighbors=1).fit(descriptors[in_training])
        distance, nearest = neighbours.kneighbors(descriptors[~in_training])
        pairs = evaluated.assign(
            other=training["case_id"].to_numpy()[nearest[:, 0]], other_split="train", distance=distance[:, 0]
        )
        duplicates = pairs[pairs["distance"] <= threshold]
    duplicates = duplicates[[*_PAIR, "distance"]].reset_index(drop=True)
    return Leakage(len(evaluated), siblings, duplicates, threshold)


def compare_splits(
    table: pd.DataFrame,
    methods: Sequence[SplitMethod],
    descriptors: Mapping[str, NDArray[np.float64]] | NDArray[np.float64],
    seed: int = 0,
    fractions: Mapping[Split, float] = DEFAULT_FRACTIONS,
    official: Mapping[str, Split] = MappingProxyType({}),
    threshold: float = DEFAULT_THRESHOLD,
) -> pd.DataFrame:
    """Describe the splits that several methods would make.

    Parameters
    ----------
    table : DataFrame
        A row per case, with ``case_id``, ``design_id`` and the statistics.
    methods : sequence of str
        Methods of `lpbf_dataset.curation.splits.split_cases`.
    seed, fractions, official
        As there.
    descriptors, threshold
        As of `find_leakage`.

    Returns
    -------
    DataFrame
        A row for each method and split: ``method``, ``split``, the number of ``cases``, ``mean_nodes``,
        ``mean_max_z`` and ``mean_max_displacement`` in mm, and ``sibling_share`` and ``duplicate_share``,
        the shares of the cases with a sibling and with a near-duplicate in training (NaN for "train", and
        for a split without cases).

    Raises
    ------
    SplitError
        If a method cannot split these cases.
    """
    rows = []
    for method in methods:
        splits = split_cases(table, method, seed, fractions, official)
        leakage = find_leakage(table, splits, descriptors, threshold)
        split_of = table["case_id"].map(splits)
        for split in SPLITS:
            cases = table[split_of == split]
            row: dict[str, object] = {"method": method, "split": split, "cases": len(cases)}
            row |= {f"mean_{name}": cases[name].mean() for name in ("nodes", "max_z", "max_displacement")}
            shared = split != "train" and len(cases) > 0
            for name, pairs in (("sibling", leakage.siblings), ("duplicate", leakage.duplicates)):
                count = pairs.loc[pairs["split"] == split, "case_id"].nunique()
                row[f"{name}_share"] = count / len(cases) if shared else np.nan
            rows.append(row)
    return pd.DataFrame(rows)
