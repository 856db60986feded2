"""Section that lists every case found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.report.markup import Html, element, join, section, table
from lpbf_dataset.report.published import KEPT_MEANS
from lpbf_dataset.report.text import number, unit
from lpbf_dataset.schema import STATISTICS

if TYPE_CHECKING:
    from lpbf_dataset.report.curation import Curation
    from lpbf_dataset.report.markup import Section

_TEXTS = ("case_id", "design_id", "source", "status", "split", "reason")


def listing_section(curation: Curation) -> Section:
    """Every case with its fate and the statistics that the published set is described by.

    page.js sorts and filters the table; without it, it is still whole.
    """
    catalog = curation.catalog
    statistics = [name for name in KEPT_MEANS if name in catalog]
    texts = [catalog[name].tolist() for name in _TEXTS]
    values = [_numbers(curation, name) for name in statistics]
    heads = [*_TEXTS, *(_head(name) for name in statistics)]
    return section(
        "All cases",
        "cases",
        element("p", _controls(), element("output", "", id="shown")),
        table(heads, zip(*texts, *values, strict=True), numeric=range(len(_TEXTS), len(heads)), id="listing"),
    )


def _head(statistic: str) -> str:
    symbol = unit(STATISTICS[statistic].units)
    return statistic + (f" [{symbol}]" if symbol else "")


def _numbers(curation: Curation, statistic: str) -> list[str]:
    """Values of a statistic for the table, empty where not known."""
    is_integer = STATISTICS[statistic].dtype.startswith("int")
    values = curation.catalog[statistic].astype("float64")
    return [number(value) if value >= 0 or not is_integer else "" for value in values]


def _controls() -> Html:
    options = (element("option", label) for label in ("every status", "kept", "rejected", "failed"))
    return join(
        (
            Html(
                '<input type="search" id="filter" placeholder="name, design or reason" aria-label="filter">'
            ),
            element("select", *options, id="status", aria_label="status"),
        )
    )
