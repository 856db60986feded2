"""Sections on which cases are kept, and why the others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.report.curation import known
from lpbf_dataset.report.figures import sensitivity
from lpbf_dataset.report.markup import bar, details, element, frame, section, table
from lpbf_dataset.report.text import number, percent, quantity

if TYPE_CHECKING:
    import pandas as pd

    from lpbf_dataset.report.curation import Curation, Rule
    from lpbf_dataset.report.markup import Html, Section


def funnel_section(curation: Curation) -> Section:
    """From the cases found to those kept, stage by stage."""
    stages = curation.funnel()
    found = stages[0].left
    rows = [
        (
            stage.label,
            number(stage.left),
            bar(stage.left / max(found, 1)),
            percent(stage.left / max(found, 1)),
            number(stage.lost) if stage.lost else "",
        )
        for stage in stages
    ]
    return section(
        "From found to kept",
        "funnel",
        element("p", "Rules apply in this order, and a case counts for the first that rejects it."),
        table(("stage", "cases left", "", "of all", "lost here"), rows, numeric=(1, 3, 4)),
        *_rules(curation),
    )


def _rules(curation: Curation) -> list[Html]:
    """How far each rule reaches by itself, and the farthest case beyond its bound."""
    violations = curation.violations()
    if violations.empty:
        return []
    others = violations.sum(axis=1)
    rows = []
    for rule in curation.rules:
        if (label := str(rule)) not in violations:
            continue
        violated = violations[label]
        alone = violated & (others == 1)
        rows.append((label, number(violated.sum()), number(alone.sum()), *_worst(curation, rule, violated)))
    headers = ("rule", "cases beyond it", "kept but for it", "farthest value", "case")
    return [element("h3", "Each rule by itself"), table(headers, rows, numeric=(1, 2, 3))]


def _worst(curation: Curation, rule: Rule, violated: pd.Series[bool]) -> tuple[str, str]:
    """Value farthest beyond the bounds of a rule, and its case."""
    beyond = known(curation.readable[violated], rule.statistic)
    if beyond.empty:
        return "", ""
    position = int(np.maximum(rule.minimum - beyond, beyond - rule.maximum).argmax())
    case_id = curation.catalog["case_id"][beyond.index[position]]
    return quantity(beyond.iloc[position], rule.statistic), case_id


def failures_section(curation: Curation) -> Section:
    """Cases that could not be used, by reason."""
    failed = curation.catalog[curation.catalog["status"] == "failed"]
    if failed.empty:
        return section("Failures", "failures", element("p", "Every case could be used."))
    counts = (
        failed["failure"].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    )
    parts = [
        table(
            ("reason", "cases", "", "of failures"),
            (
                (str(name), number(count), bar(count / len(failed)), percent(count / len(failed)))
                for name, count in counts.items()
            ),
            numeric=(1, 3),
        )
    ]
    if missing := len(curation.not_stored):
        parts.append(
            element(
                "p",
                f"{number(missing)} of them the rules would keep, but the store that they come from holds no "
                "data of them: build from the results again.",
            )
        )
    for name in counts.index:
        rows = failed.loc[failed["failure"] == name, ["case_id", "reason"]].itertuples(index=False)
        parts.append(details(f"{name}: {number(counts[name])}", table(("case", "what is wrong"), rows)))
    return section("Failures", "failures", *parts)


def sensitivity_section(curation: Curation, outcome: pd.DataFrame) -> Section:
    """How the number of kept cases answers to each bound."""
    return section(
        "Sensitivity to the rules",
        "sensitivity",
        element("p", "Each bound moved by itself, the other rules as they are."),
        sensitivity(outcome, len(curation.kept) + len(curation.not_stored)),
        details("All figures", frame(outcome)),
    )
