"""Section on the steps of the builds that the store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.report.markup import details, element, frame, section, table
from lpbf_dataset.report.text import number

if TYPE_CHECKING:
    from lpbf_dataset.curation.histories import Histories
    from lpbf_dataset.report.markup import Section

_HEADS = {"case_id": "case", "step_kind": "kind", "step_fault": "what is wrong"}


def histories_section(histories: Histories | None) -> Section:
    """Tell how many steps of which kinds there are, and which are missing.

    Parameters
    ----------
    histories : Histories or None
        None for a store of final states alone.
    """
    if histories is None:
        text = "The store holds final states alone, those after the parts were cut from the plate."
        return section("Histories of the builds", "histories", element("p", text))
    lengths, missing = histories.lengths, histories.missing
    rows = ((str(kind), *map(number, row)) for kind, row in histories.kinds.iterrows())
    summary = (
        f"The states after {number(len(histories.steps))} steps, of {number(len(lengths))} of "
        f"{number(histories.cases)} cases: {number(lengths.mean())} a case on average, "
        f"{number(lengths.max())} at most. {histories.rounding}"
    )
    parts = [element("p", summary), table(("step", "steps", "missing among them"), rows, numeric=(1, 2))]
    if not missing.empty:
        listed = frame(missing[["case_id", "step", "step_kind", "step_fault"]], _HEADS)
        parts.append(details(f"Missing steps: {number(len(missing))}", listed))
    return section("Histories of the builds", "histories", *parts)
