"""Figures in the sections of the page, against a catalog small enough to count by hand."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from lpbf_dataset.report import Curation, extreme_cases
from lpbf_dataset.report.population import published_section, siblings
from lpbf_dataset.report.selection import failures_section, funnel_section
from lpbf_dataset.report.splitting import leakage_section, splits_section


class Bound(SimpleNamespace):
    minimum = float("-inf")

    def __str__(self) -> str:
        return f"{self.statistic} <= {self.maximum}"


def cells(html: str) -> list[list[str]]:
    rows = re.findall("<tr>(.*?)</tr>", html)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?>(.*?)</td>", row)] for row in rows]


@pytest.fixture
def small() -> Curation:
    kept, rejected, failed = "kept", "rejected", "failed"
    catalog = pd.DataFrame(
        [
            ("a", "d1", kept, "", "", 100, 0.5),
            ("b", "d1", kept, "", "", 300, 0.9),
            ("c", "d2", rejected, "nodes <= 500", "", 700, 5.0),
            ("d", "d3", rejected, "nodes <= 500", "", 600, 0.1),
            ("e", "d4", rejected, "max_displacement_z <= 1", "", 200, 2.0),
            ("f", "d5", failed, "", "truncated_file", -1, float("nan")),
            ("g", "d6", failed, "", "truncated_file", -1, float("nan")),
            ("h", "d7", failed, "", "missing_file", -1, float("nan")),
        ],
        columns=["case_id", "design_id", "status", "rule", "failure", "nodes", "max_displacement_z"],
    )
    catalog[["reason", "split"]] = "", "train"
    return Curation(
        catalog,
        [Bound(statistic="nodes", maximum=500), Bound(statistic="max_displacement_z", maximum=1)],
    )


def test_funnel(small):
    rows = cells(funnel_section(small).content)
    assert [(row[0], row[1], row[-1]) for row in rows[1:5]] == [
        ("found", "8", ""),
        ("readable", "5", "3"),
        ("nodes &lt;= 500", "3", "2"),
        ("max_displacement_z &lt;= 1", "2", "1"),
    ]


def test_each_rule_by_itself(small):
    rows = cells(funnel_section(small).content)
    assert rows[6] == ["nodes &lt;= 500", "2", "1", "700", "c"]
    assert rows[7] == ["max_displacement_z &lt;= 1", "2", "1", "5\u202fmm", "c"]


def test_failures_by_reason(small):
    rows = cells(failures_section(small).content)
    assert rows[1][:2] == ["truncated_file", "2"]
    assert rows[2][:2] == ["missing_file", "1"]
    assert [row[0] for row in rows if len(row) == 2] == ["f", "g", "h"]


def test_what_the_rules_would_keep_is_counted(small):
    assert "build from the results again" not in failures_section(small).content
    small.catalog.loc[0, ["status", "failure"]] = "failed", "not_stored"
    assert "1 of them the rules would keep" in failures_section(small).content
    assert cells(funnel_section(small).content)[5][0] == "stored"


def test_extremes(small):
    assert extreme_cases(small) == {"b": {"nodes": 300, "max_displacement_z": 0.9}}


def test_beside_the_published_set(small):
    rows = {row[0]: row[1:] for row in cells(published_section(small).content)[1:]}
    assert rows["mean over kept cases: number of nodes"] == ["200", "20\u202f972", "1.0\u202f%"]
    assert rows["maximum over kept cases: number of nodes"][0] == "300"
    assert rows["mean over kept cases: largest von Mises stress"] == ["", "853\u202fMPa", ""]
    assert rows["kept cases with a sibling"][0] == "2"


def test_siblings():
    assert siblings(pd.DataFrame({"design_id": ["a", "b", "a", "c", "c"]})) == 4
    assert siblings(pd.DataFrame({"design_id": []})) == 0


def test_the_split_used_is_marked(curation):
    rows = cells(splits_section(curation.split_comparison, "design").content)
    assert [row[0] for row in rows[1:]] == ["design (used)"] * 3 + ["random"] * 3
    assert rows[-1][-2] == "31.0\u202f%"


def test_many_pairs_are_cut(curation):
    many = pd.concat([curation.leakage.siblings] * 100)
    leakage = SimpleNamespace(**vars(curation.leakage) | {"siblings": many, "warnings": list})
    html = leakage_section(leakage).content
    assert "500 of 800" in html
    assert "No case outside the training split" in html
