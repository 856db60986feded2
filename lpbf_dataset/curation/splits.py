"""Division of cases into training, validation and test sets.

A split depends on the names and the seed alone: not on the order in which the cases were found,
nor on Python's hash seed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from lpbf_dataset.schema import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

SplitMethod = Literal["design", "random"]

DEFAULT_FRACTIONS: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def split_cases(
    designs: Mapping[str, str],
    method: SplitMethod = "design",
    seed: int = 0,
    fractions: Mapping[Split, float] = DEFAULT_FRACTIONS,
) -> dict[str, Split]:
    """Assign each case to a split.

    Bodies of one design resemble each other, so a model tested on the sibling of a part it was
    trained on looks better than it is: ``"design"`` keeps siblings together, ``"random"`` does not.

    Parameters
    ----------
    designs : mapping of str to str
        Design of each case, by case id.
    method : {"design", "random"}
        What is drawn: whole designs, or single cases.
    seed : int
        Another seed gives another split.
    fractions : mapping of str to float
        Share of the cases in each split; normalised to a sum of one.

    Returns
    -------
    dict of str to {"train", "val", "test"}
        Split of each case, by case id.

    Raises
    ------
    ValueError
        If a fraction is negative or all are zero.
    """
    shares = {split: float(fractions.get(split, 0.0)) for split in SPLITS}
    if min(shares.values()) < 0 or sum(shares.values()) == 0:
        raise ValueError(f"split fractions must be non-negative and not all zero, not {dict(fractions)}")

    groups: defaultdict[str, list[str]] = defaultdict(list)
    for case_id, design in designs.items():
        groups[design if method == "design" else case_id].append(case_id)

    total = sum(shares.values())
    wanted = {split: share / total * len(designs) for split, share in shares.items()}
    assigned: dict[str, Split] = {}
    for group in sorted(groups, key=lambda name: _draw(seed, name)):
        # The split that lacks most takes the next group; the training set, first in order, wins ties.
        neediest = max(SPLITS, key=wanted.__getitem__)
        wanted[neediest] -= len(groups[group])
        assigned.update(dict.fromkeys(groups[group], neediest))
    return assigned


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
