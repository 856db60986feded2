"""Sections on the splits and on what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset.report.markup import details, element, section, table
from lpbf_dataset.report.text import NARROW_SPACE, number, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from lpbf_dataset.report.curation import Leakage
    from lpbf_dataset.report.markup import Html, Section

_COMPARISON: dict[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", str),
    "split": ("split", str),
    "cases": ("cases", number),
    "mean_nodes": ("mean nodes", number),
    "mean_max_z": ("mean height [mm]", number),
    "max_displacement": ("largest displacement [mm]", number),
    "sibling_share": ("with a sibling in training", percent),
    "duplicate_share": ("with a near-duplicate in training", percent),
}
"""Column of the comparison, its head and how its values are written."""
_LISTED_PAIRS = 500


def splits_section(comparison: pd.DataFrame, used: str) -> Section:
    """Table of the ways to split.

    Parameters
    ----------
    comparison : DataFrame
        As in `lpbf_dataset.report.Curation.split_comparison`.
    used : str
        Method of the store, marked in the table; empty if not known.
    """
    rows = []
    for record in comparison.to_dict("records"):
        cells = [write(record[name]) for name, (_, write) in _COMPARISON.items()]
        if record["method"] == used:
            cells[0] = element("b", f"{used} (used)")
        rows.append(cells)
    heads = [head for head, _ in _COMPARISON.values()]
    return section("Ways to split", "splits", table(heads, rows, numeric=range(2, len(heads))))


def leakage_section(leakage: Leakage) -> Section:
    """Warnings, shares and pairs of cases that are alike across splits."""
    warnings = [element("p", warning, class_="warning") for warning in leakage.warnings()]
    fine = element("p", "No case outside the training split has a sibling or a near-duplicate in it.")
    shares = (
        ("with a sibling (same design) in training", percent(leakage.sibling_share)),
        (
            f"with a near-duplicate (distance up to {number(leakage.threshold)}) in training",
            percent(leakage.duplicate_share),
        ),
    )
    return section(
        "Leakage between splits",
        "leakage",
        *(warnings or [fine]),
        table((f"of {number(leakage.evaluated)} cases outside training", "share"), shares, numeric=(1,)),
        *_pairs("Siblings", leakage.siblings, "design_id", "design"),
        *_pairs("Near-duplicates", leakage.duplicates, "distance", "distance"),
    )


def _pairs(title: str, pairs: pd.DataFrame, last: str, head: str) -> list[Html]:
    """Pairs of cases, folded; the first ones if there are very many."""
    if pairs.empty:
        return []
    shown = pairs.head(_LISTED_PAIRS)[["case_id", "split", "other", "other_split", last]]
    rows = (
        [cell if isinstance(cell, str) else number(cell) for cell in row]
        for row in shown.itertuples(index=False)
    )
    count = number(len(pairs))
    if len(shown) < len(pairs):
        count = f"{number(len(shown))} of {count}"
    headers = ("case", "split", "other case", "its split", head)
    return [details(f"{title}:{NARROW_SPACE}{count}", table(headers, rows))]
