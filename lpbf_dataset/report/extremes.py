"""The cases at the ends of the distributions: where a set is worth a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.report.curation import known
from lpbf_dataset.report.markup import element, join, png, section
from lpbf_dataset.report.text import label, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpbf_dataset.report.curation import Curation
    from lpbf_dataset.report.markup import Section


def extreme_cases(curation: Curation) -> dict[str, dict[str, float]]:
    """Kept cases with the extreme value of a statistic, and these values.

    The extreme is the largest value, of a ``min_`` statistic the smallest.  Pictures of these cases
    are what `report_html` shows.

    Parameters
    ----------
    curation : Curation
        What to look through.

    Returns
    -------
    dict of str to dict of str to float
        Extreme values, in the units of `lpbf_dataset.schema.STATISTICS`, by statistic, by case id.
    """
    found: dict[str, dict[str, float]] = {}
    case_ids = curation.catalog["case_id"]
    for statistic in curation.distributions:
        values = known(curation.kept, statistic)
        position = int(values.argmin() if statistic.startswith("min_") else values.argmax())
        case_id = str(case_ids[values.index[position]])
        found.setdefault(case_id, {})[statistic] = float(values.iloc[position])
    return found


def extremes_section(curation: Curation, thumbnails: Mapping[str, bytes]) -> Section:
    """One card for each extreme case, with a picture where there is one."""
    cards = []
    for case_id, extremes in extreme_cases(curation).items():
        items = (
            element("li", f"{label(statistic)}: ", element("b", quantity(value, statistic)))
            for statistic, value in extremes.items()
        )
        picture = png(thumbnails[case_id], case_id) if case_id in thumbnails else ""
        cards.append(element("article", picture, element("h3", case_id), element("ul", *items)))
    introduction = "Kept cases with the largest, or for a statistic that is a minimum the smallest, value."
    return section(
        "Extreme cases", "extremes", element("p", introduction), element("div", join(cards), class_="cards")
    )
