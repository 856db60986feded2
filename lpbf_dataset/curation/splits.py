"""Division of cases into training, validation and test sets.

A split depends on the names, the statistics and the seed alone: not on the order in which the cases were
found, nor on Python's hash seed.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

import yaml  # type: ignore[import-untyped]

from lpbf_dataset.schema import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    import pandas as pd

SplitMethod = Literal["design", "random", "size", "official", "largest", "tallest", "thinnest"]

DEFAULT_FRACTIONS: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}

STRATUM = 10
"""Designs of about one size among which chance decides; with the default fractions one of them is for
testing."""


class SplitError(ValueError):
    """Cases cannot be split as asked."""


class _Extreme(NamedTuple):
    """Which designs an out-of-distribution test holds out: those with the extremes of a statistic."""

    statistic: str
    sign: int


EXTREMES = {
    "largest": _Extreme("volume", 1),
    "tallest": _Extreme("max_z", 1),
    "thinnest": _Extreme("wall_thickness", -1),
}


def split_cases(
    table: pd.DataFrame,
    method: SplitMethod = "design",
    seed: int = 0,
    fractions: Mapping[Split, float] = DEFAULT_FRACTIONS,
    official: Mapping[str, Split] = MappingProxyType({}),
) -> dict[str, Split]:
    """Assign each case to a split.

    Bodies of one design resemble each other, so a model tested on the sibling of a part it was trained
    on looks better than it is.  All methods but "random" and "official" keep siblings together.

    Parameters
    ----------
    table : DataFrame
        A row per case with ``case_id`` and ``design_id``, and the statistic that the method goes by.
    method : {"design", "random", "size", "official", "largest", "tallest", "thinnest"}
        "design" draws whole designs, "random" single cases.  "size" draws whole designs so that meshes
        of all sizes, by the mean ``nodes`` of the bodies of a design, are in each split alike.
        "official" follows a list, as that of the publisher of the parts.  The others test out of
        distribution: the designs with the largest (``volume``), tallest (``max_z``) or thinnest
        (``wall_thickness``) bodies are for testing, as many as it takes to reach the test fraction, and the
        rest is drawn as by "design".
    seed : int
        Another seed gives another split.
    fractions : mapping of str to float
        Share of the cases in each split; normalised to a sum of one.
    official : mapping of str to {"train", "val", "test"}, optional
        Split of each case, by case id, for "official"; cases it does not name go to "train".

    Returns
    -------
    dict of str to {"train", "val", "test"}
        Split of each case, by case id.

    Raises
    ------
    SplitError
        If a fraction is negative or all are zero, the statistic is not known of any case, or none of the
        cases has an official split.
    """
    wanted = _wanted(fractions, len(table))
    if method == "official":
        return _official(table["case_id"], official)
    bodies: dict[str, list[str]] = defaultdict(list)
    for case_id, design in zip(table["case_id"], table["design_id"], strict=True):
        bodies[case_id if method == "random" else design].append(case_id)
    drawn = sorted(bodies, key=lambda group: _draw(seed, group))
    if method in EXTREMES:
        return _out_of_distribution(table, EXTREMES[method], bodies, drawn, wanted)
    if method == "size":
        return _deal_evenly(bodies, _strata(table, drawn), wanted)
    return _deal(bodies, drawn, wanted)


def _wanted(fractions: Mapping[Split, float], count: int) -> dict[Split, float]:
    """Share the cases out among the splits; the numbers are not yet whole."""
    shares = {split: float(fractions.get(split, 0.0)) for split in SPLITS}
    total = sum(shares.values())
    if not (min(shares.values()) >= 0 and 0 < total < float("inf")):
        raise SplitError(f"split fractions must be non-negative and not all zero, not {dict(fractions)}")
    return {split: share / total * count for split, share in shares.items()}


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


def _official(case_ids: pd.Series[str], official: Mapping[str, Split]) -> dict[str, Split]:
    if official.keys().isdisjoint(case_ids):
        raise SplitError("there is no official split of these cases; choose --split design, or another")
    return {case_id: official.get(case_id, "train") for case_id in case_ids}


def _deal(
    bodies: Mapping[str, list[str]], groups: Iterable[str], wanted: Mapping[Split, float]
) -> dict[str, Split]:
    """Give each group to the split that lacks most; training, first in order, wins ties."""
    lacking = dict(wanted)
    assigned: dict[str, Split] = {}
    for group in groups:
        neediest = max(SPLITS, key=lacking.__getitem__)
        lacking[neediest] -= len(bodies[group])
        assigned.update(dict.fromkeys(bodies[group], neediest))
    return assigned


def _deal_evenly(
    bodies: Mapping[str, list[str]], groups: Iterable[str], wanted: Mapping[Split, float]
) -> dict[str, Split]:
    """Deal so that the shares hold not only in the end, but all along the groups (error diffusion)."""
    total = sum(wanted.values())
    lacking = dict.fromkeys(SPLITS, 0.0)
    assigned: dict[str, Split] = {}
    for group in groups:
        for split, count in wanted.items():
            lacking[split] += count / total * len(bodies[group])
        neediest = max(SPLITS, key=lacking.__getitem__)
        lacking[neediest] -= len(bodies[group])
        assigned.update(dict.fromkeys(bodies[group], neediest))
    return assigned


def _strata(table: pd.DataFrame, drawn: list[str]) -> list[str]:
    """Designs from small to large meshes, those of about one size in the order in which they are drawn."""
    nodes = table.groupby("design_id")["nodes"].mean()
    by_size = sorted(drawn, key=nodes.__getitem__)
    place = {design: i for i, design in enumerate(drawn)}
    strata = (by_size[i : i + STRATUM] for i in range(0, len(by_size), STRATUM))
    return [design for stratum in strata for design in sorted(stratum, key=place.__getitem__)]


def _out_of_distribution(
    table: pd.DataFrame,
    extreme: _Extreme,
    bodies: Mapping[str, list[str]],
    drawn: list[str],
    wanted: Mapping[Split, float],
) -> dict[str, Split]:
    """Hold out the designs with the most extreme bodies for testing; deal the others, at least one.

    A design counts by its most extreme body, so that no body left for training is beyond one of every
    design held out.
    """
    if extreme.statistic not in table or table[extreme.statistic].isna().all():
        raise SplitError(f"no case has the statistic {extreme.statistic}; choose --split design, or another")
    scores = (extreme.sign * table[extreme.statistic]).groupby(table["design_id"]).max()
    # Sorting is stable, so that designs of equal extremes stand as they were drawn; unknown ones come last.
    ranked = scores[drawn].sort_values(ascending=False, kind="stable").index[: len(drawn) - 1]
    test: dict[str, Split] = {}
    for design in ranked:
        if len(test) >= wanted["test"]:
            break
        test.update(dict.fromkeys(bodies[design], "test"))
    rest = [design for design in drawn if bodies[design][0] not in test]
    remaining: dict[Split, float] = {"train": wanted["train"], "val": wanted["val"]}
    if not any(remaining.values()):
        remaining = {"train": 1.0}
    return test | _deal(bodies, rest, _wanted(remaining, len(table) - len(test)))


def read_split_file(path: str | PathLike[str]) -> dict[str, Split]:
    """Read the splits of cases from a file.

    Parameters
    ----------
    path : path
        CSV with the columns ``case_id`` and ``split``, or JSON or YAML with the lists of case ids
        ``train``, ``val`` and ``test``.

    Returns
    -------
    dict of str to {"train", "val", "test"}
        Split by case id.

    Raises
    ------
    SplitError
        If the file is of another kind or malformed, names another split, or puts a case into two.
    """
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise SplitError(f"{path}: splits are read from {', '.join(_READERS)}")
    splits: dict[str, Split] = {}
    try:
        pairs = list(_READERS[path.suffix.lower()](path.read_text(encoding="utf-8-sig")))
    except (ValueError, csv.Error, yaml.YAMLError, RecursionError) as error:
        raise SplitError(f"{path}: {' '.join(str(error).split())}") from None
    for case_id, split in pairs:
        if split not in SPLITS:
            raise SplitError(f"{path}: {case_id!r} is in {split!r}, but splits are {', '.join(SPLITS)}")
        if splits.setdefault(case_id, split) != split:
            raise SplitError(f"{path}: {case_id!r} is in {splits[case_id]} and in {split}")
    if not splits:
        raise SplitError(f"{path}: names no case")
    return splits


def _pairs_of_csv(text: str) -> Iterator[tuple[str, str]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    if missing := {"case_id", "split"} - set(reader.fieldnames or ()):
        raise ValueError(f"has no column {sorted(missing)[0]}; expected case_id,split")
    for row in reader:
        yield str(row["case_id"]).strip(), str(row["split"]).strip()


def _pairs_of_lists(lists: object) -> Iterator[tuple[str, str]]:
    if not isinstance(lists, dict) or not all(isinstance(ids, list) for ids in lists.values()):
        raise ValueError('expected {"train": [case ids], "val": [...], "test": [...]}')
    for split, case_ids in lists.items():
        for case_id in case_ids:
            # YAML reads 21_492 as a number, and would write it differently.
            if not isinstance(case_id, str):
                raise SplitError(f"case id {case_id!r} of {split} is not text; put it in quotes")
            yield case_id, str(split)


_READERS = {
    ".csv": _pairs_of_csv,
    ".json": lambda text: _pairs_of_lists(json.loads(text)),
    ".yaml": lambda text: _pairs_of_lists(yaml.safe_load(text)),
    ".yml": lambda text: _pairs_of_lists(yaml.safe_load(text)),
}
