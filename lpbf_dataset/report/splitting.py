"""Sections on the splits and on what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.report.markup import details, element, frame, section, table
from lpbf_dataset.report.text import number, percent

if TYPE_CHECKING:
    import pandas as pd

    from lpbf_dataset.report.curation import Leakage
    from lpbf_dataset.report.markup import Html, Section

_HEADS = {
    "mean_max_z": "mean height [mm]",
    "max_displacement": "largest displacement [mm]",
    "mean_max_displacement": "mean largest displacement [mm]",
    "sibling_share": "with a sibling in training",
    "duplicate_share": "with a near-duplicate in training",
}
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
    marked = comparison.assign(
        method=[f"{method} (used)" if method == used else method for method in comparison["method"]]
    )
    return section("Ways to split", "splits", frame(marked, _HEADS))


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
    count = number(len(pairs))
    if len(shown) < len(pairs):
        count = f"{number(len(shown))} of {count}"
    heads = {"case_id": "case", "other": "other case", "other_split": "its split", last: head}
    return [details(f"{title}: {count}", frame(shown, heads))]
