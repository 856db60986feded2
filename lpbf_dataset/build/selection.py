"""Which cases go into a store, in which splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.build.catalog import summary, with_splits
from lpbf_dataset.build.extraction import CaseRecord
from lpbf_dataset.build.history import faults
from lpbf_dataset.build.options import BuildError
from lpbf_dataset.curation.leakage import find_leakage
from lpbf_dataset.curation.splits import read_split_file, split_cases
from lpbf_dataset.store.tables import Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset.build.gather import Outcome
    from lpbf_dataset.build.options import BuildOptions
    from lpbf_dataset.curation.leakage import Leakage
    from lpbf_dataset.schema import Split


@dataclass(frozen=True, eq=False)
class Selection:
    """The cases to store, and how they are split.

    Parameters
    ----------
    members : list of Member
        By case id, so that the store does not depend on who came first.
    splits : mapping of str to {"train", "val", "test"}
        By case id.
    catalog : DataFrame
        Every case found, with its split.
    leakage : Leakage
        What the splits have in common.
    warnings : list of str
        What a user of the store should know, a sentence each.
    """

    members: list[Member]
    splits: Mapping[str, Split]
    catalog: pd.DataFrame
    leakage: Leakage
    warnings: list[str]


def listed_splits(options: BuildOptions, official: Mapping[str, Split]) -> Mapping[str, Split]:
    """Return the list of splits to follow, before hours of reading show that there is none.

    Parameters
    ----------
    options : BuildOptions
        May name a file.
    official : mapping of str to {"train", "val", "test"}
        What the publisher of the parts, or an earlier store, says.

    Raises
    ------
    BuildError
        If a list is to be followed and there is none, or the other way round.
    SplitError
        If there is one, but it cannot be read.
    """
    if options.split_file:
        if options.split != "official":
            raise BuildError(
                f"{options.split_file} is followed by the split 'official' only, not by {options.split!r}"
            )
        return read_split_file(options.split_file)
    if options.split == "official" and not official:
        raise BuildError("there is no official split of these sources; give a split_file or another split")
    return official


def select(
    outcomes: Sequence[Outcome],
    catalog: pd.DataFrame,
    options: BuildOptions,
    listed: Mapping[str, Split],
) -> Selection:
    """Divide the cases that the rules keep into splits, and compare these.

    Parameters
    ----------
    outcomes : sequence of Outcome
        What became of each case.
    catalog : DataFrame
        The same, see `make_catalog`.
    options : BuildOptions
        How to split.
    listed : mapping of str to {"train", "val", "test"}
        From `listed_splits`.

    Raises
    ------
    BuildError
        If no case is kept.
    SplitError
        If they cannot be split so.
    """
    kept = catalog[catalog["status"] == "kept"]
    if kept.empty:
        raise BuildError(f"no case to keep, so no store is written: {_outcome(catalog)}")
    splits = split_cases(kept, options.split, options.seed, options.split_fractions, listed)
    members = _members(outcomes, splits)
    leakage = find_leakage(kept, splits, _descriptors(members))
    return Selection(
        members,
        splits,
        with_splits(catalog, splits),
        leakage,
        [
            *leakage.warnings(),
            *(_unlisted(members, listed) if options.split == "official" else ()),
            *(_missing_steps(members) if options.steps == "all" else ()),
        ],
    )


def _members(outcomes: Sequence[Outcome], splits: Mapping[str, Split]) -> list[Member]:
    members = [
        Member(
            identity.case_id,
            identity.design_id,
            identity.source,
            record.counts,
            record.rows,
            record.statistics,
            record.descriptor,
            record.history,
        )
        for identity, record in outcomes
        if isinstance(record, CaseRecord) and identity.case_id in splits and record.rows is not None
    ]
    return sorted(members, key=lambda member: member.case_id)


def _descriptors(members: Sequence[Member]) -> dict[str, NDArray[np.float64]]:
    return {m.case_id: np.asarray(m.descriptor, np.float64) for m in members if m.descriptor is not None}


def _unlisted(members: Sequence[Member], listed: Mapping[str, Split]) -> list[str]:
    if missing := [member.case_id for member in members if member.case_id not in listed]:
        return [f"{len(missing)} cases are in no split of the list, so in train, first {missing[0]}"]
    return []


def _missing_steps(members: Sequence[Member]) -> Iterator[str]:
    histories = {member.case_id: member.history for member in members if member.history}
    without = [member.case_id for member in members if member.case_id not in histories]
    if not histories:
        yield "--steps all adds nothing: the sources know final states alone, so the store has no history"
    elif without:
        cases = "1 case" if len(without) == 1 else f"{len(without)} cases"
        yield f"{cases} without a history: their source knows the final state alone, first {without[0]}"
    for case_id, table in histories.items():
        yield from (f"case {case_id}: {fault}" for fault in faults(table))


def _outcome(catalog: pd.DataFrame) -> str:
    """One line on what became of the cases."""
    if catalog.empty:
        return "the sources hold no case"
    first = catalog.iloc[0]
    return f"{summary(catalog)[0]}, first {first.case_id} ({first.reason})"
