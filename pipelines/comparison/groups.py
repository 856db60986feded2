"""Groups of cases, and of nodes, for which the error is told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lpbf_dataset.curation.leakage import find_leakage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from lpbf_dataset.schema import Split
    from lpbf_dataset.store.reader import Dataset

OVERALL = "overall"

TITLES = {
    "size": "by size of the mesh, terciles of the cases",
    "height": "by height of the part, terciles of the cases",
    "leakage": "by what the training cases tell of a case",
    "region": "by where the nodes lie",
    "steps": "by how the steps are predicted",
}
"""What each group is about, in the order of `groups`."""

_REGIONS = {
    "surface": ("region", "surface nodes"),
    "interior": ("region", "interior nodes"),
    "last_step": ("steps", "last step on the plate"),
    "teacher_forced": ("steps", "all steps, each from the true one before"),
    "unchanged": ("steps", "all steps, if nothing changed since the one before"),
}


class Group(NamedTuple):
    """Some of the scores of `pipelines.scoring.evaluation.case_scores`, one row a case."""

    name: str
    level: str
    scores: pd.DataFrame


def groups(scores: pd.DataFrame, leaking: Collection[str] | None) -> Iterator[Group]:
    """Divide the scores of one target, first all cases, then by each of `TITLES`.

    Parameters
    ----------
    scores : DataFrame
        Of one target and split.
    leaking : collection of str or None
        Ids of the cases that resemble training cases, as `leaking_cases` finds them; None if not known.

    Yields
    ------
    Group
        None is empty.  Where terciles are the same because of ties, there are fewer.
    """
    whole = scores[scores["region"] == "all"]
    yield Group(OVERALL, "all", whole)
    yield from _terciles("size", whole, whole["nodes"], lambda nodes: f"{nodes:,.0f} nodes")
    yield from _terciles("height", whole, whole["max_z"], lambda height: f"{height:.4g} mm")
    if leaking is not None:
        resembles = whole["case_id"].isin(leaking)
        for level, chosen in (("sibling or duplicate in train", resembles), ("neither", ~resembles)):
            if chosen.any():
                yield Group("leakage", level, whole[chosen])
    for region, (name, level) in _REGIONS.items():
        of_region = scores[scores["region"] == region]
        if len(of_region):
            yield Group(name, level, of_region)


def _terciles(
    name: str, scores: pd.DataFrame, values: pd.Series[float], write: Callable[[float], str]
) -> Iterator[Group]:
    first, second = np.quantile(values, [1 / 3, 2 / 3], method="lower")
    levels = (
        (f"up to {write(first)}", values <= first),
        (f"up to {write(second)}", (first < values) & (values <= second)),
        (f"over {write(second)}", values > second),
    )
    found = [Group(name, level, scores[chosen]) for level, chosen in levels if chosen.any()]
    if len(found) > 1:
        yield from found


def leaking_cases(cases: Dataset, training: Dataset) -> set[str]:
    """Find the cases that resemble training cases.

    Parameters
    ----------
    cases : Dataset
        Those that a model is tested on.
    training : Dataset
        Those that it was trained on, of the same store or of another.

    Returns
    -------
    set of str
        Ids of the cases that are training cases themselves, that have a sibling by design among them, or,
        where the stores hold shape descriptors, a near-duplicate by shape.
    """
    tested, trained = cases.case_table, training.case_table
    seen = tested.index.isin(trained.index)
    siblings = tested["design_id"].isin(trained["design_id"])
    leaking = set(tested.index[seen | siblings])
    shapes, training_shapes = cases.shape_descriptors(), training.shape_descriptors()
    if shapes and training_shapes:
        # Stores may give the same id to different parts, so rows rather than ids tell which is whose.
        unseen = tested[~seen]
        table = pd.concat([unseen, trained]).reset_index(names="case_id")
        splits: dict[str, Split] = dict.fromkeys(trained.index, "train") | dict.fromkeys(unseen.index, "test")
        rows = [*(shapes[case_id] for case_id in unseen.index), *training_shapes.values()]
        leaking |= set(find_leakage(table, splits, np.array(rows)).duplicates["case_id"])
    return leaking
