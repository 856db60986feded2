"""Estimates over cases, and how they are shown: on the console, in LaTeX and as a page."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.comparison.bootstrap import mean_interval
from pipelines.comparison.compare import Entry, compare, notes
from pipelines.comparison.latex import escape, latex
from pipelines.comparison.markdown import markdown
from pipelines.comparison.page import page
from pipelines.comparison.tables import (
    Estimate,
    calibration_tables,
    console_lines,
    differences_tables,
    figures,
    group_tables,
    overview,
    ranked,
    split_method_tables,
)
from pipelines.scoring.calibration import calibration

METRICS = ("relative_l2", "r2", "mean_absolute_error", "p95_absolute_error", "max_absolute_error")
HOSTILE = "</style><script>alert(1)</script> & 100 % \\input{x} [a]_1"


def scores_of(factor=1.0, cases=12, target="displacement_z", prefix="c"):
    """Scores whose relative L2 error on case i is (i + 1) * factor / 100."""
    rows = [
        {
            "case_id": f"{prefix}{index}",
            "design_id": f"d{index}",
            "split": "test",
            "nodes": 100 * (index + 1),
            "max_z": 2.5 * (cases - index),
            "target": target,
            "unit": "mm" if target.startswith("displacement") else "MPa",
            "region": region,
            **dict.fromkeys(METRICS, factor * (index + 1) / 100),
            "published_relative_l2": factor * (index + 1) / 400 if target == "displacement_z" else math.nan,
        }
        for index in range(cases)
        for region in ("all", "surface", "interior")
    ]
    return pd.DataFrame(rows)


def entry(name="run", scores=None, leaking=frozenset({"c0", "c1", "c2", "c3"}), **changes):
    values = {"model": "flare", "data": "lpbf.zarr", "split_method": "random", "split": "test", **changes}
    return Entry(name, scores=scores_of() if scores is None else scores, leaking=leaking, **values)


@pytest.fixture
def entries():
    stress = scores_of(2.0, target="von_mises_stress")
    return [entry("worse", pd.concat([scores_of(2.0), stress])), entry("better", scores_of(0.5), model="knn")]


@pytest.fixture
def comparison(entries):
    return compare(entries)


def test_estimates_of_all_cases_and_of_groups(comparison):
    described = "run model data split_method split target unit group level cases designs"
    assert " ".join(comparison.columns) == f"{described} metric mean low high median"
    chosen = comparison[
        (comparison["run"] == "worse")
        & (comparison["metric"] == "relative_l2")
        & (comparison["target"] == "displacement_z")
    ].set_index(["group", "level"])
    assert chosen["mean"].round(6).to_dict() == {
        ("overall", "all"): 0.13,
        ("size", "up to 400 nodes"): 0.05,
        ("size", "up to 800 nodes"): 0.13,
        ("size", "over 800 nodes"): 0.21,
        ("height", "up to 10 mm"): 0.21,
        ("height", "up to 20 mm"): 0.13,
        ("height", "over 20 mm"): 0.05,
        ("leakage", "sibling or duplicate in train"): 0.05,
        ("leakage", "neither"): 0.17,
        ("region", "surface nodes"): 0.13,
        ("region", "interior nodes"): 0.13,
        ("difference", "better"): 0.0975,
    }
    overall = chosen.loc["overall", "all"]
    errors = np.arange(1, 13)[:, None] / 50
    low, high = mean_interval(errors, [f"d{index}" for index in range(12)])
    assert (overall["low"], overall["high"]) == (pytest.approx(low[0]), pytest.approx(high[0]))
    assert overall["median"] == pytest.approx(0.13)
    assert (overall["cases"], overall["designs"]) == (12, 12)
    assert chosen.loc["leakage", "neither"]["cases"] == 8


def test_the_published_figure_is_of_its_target_alone(comparison):
    counted = comparison.groupby("target")["metric"].unique().map(list)
    assert counted["von_mises_stress"] == list(METRICS)
    assert counted["displacement_z"] == [*METRICS, "published_relative_l2"]


def test_a_case_that_cannot_be_scored_shows():
    scores = scores_of()
    scores.loc[0, "relative_l2"] = math.inf
    made = compare([entry(scores=scores)])
    first = made[(made["group"] == "overall")].set_index("metric").loc["relative_l2"]
    assert first["mean"] == math.inf
    assert math.isnan(first["low"])
    assert "inf" in "\n".join(console_lines(overview(made, "displacement_z")))
    assert "inf" in latex(made)
    assert "inf" in page([entry(scores=scores)], made)


def test_notes_tell_what_spoils_a_comparison(entries):
    assert notes(entries) == []
    few = entry("few", scores_of(cases=4, prefix="x"))
    assert notes([few]) == ["There are cases of 4 designs only: intervals are too narrow."]
    assert "not all scored on the same cases" in notes([*entries, few])[0]
    assert "no confidence interval" in notes([entry(scores=scores_of(cases=1))])[0]
    assert notes([entry(notes=("Mind this.",))]) == ["Mind this."]


def test_overview_ranks_runs_by_the_physical_error(comparison):
    assert ranked(comparison, "displacement_z") == ["better", "worse"]
    table = overview(comparison, "displacement_z")
    assert table.title == "displacement_z [mm], test cases"
    assert table.headers == (
        "run",
        "model",
        "split by",
        "cases",
        "relative L2",
        "its median",
        "R2",
        "MAE [mm]",
        "P95 error [mm]",
        "max error [mm]",
        "published_relative_l2",
    )
    assert [row[:4] for row in table.rows] == [
        ("better", "knn", "random", "12"),
        ("worse", "flare", "random", "12"),
    ]
    assert table.rows[0][4].value == "0.0325"
    assert table.rows[0][4].interval == "[0.0229, 0.0421]"
    assert overview(comparison, "von_mises_stress").headers[-1] == "max error [MPa]"


def test_stores_are_named_where_they_differ(entries):
    other = entry("other", data="random.zarr", split_method="design")
    table = overview(compare([*entries, other]), "displacement_z")
    assert table.headers[:5] == ("run", "model", "split by", "data", "cases")
    assert ("other", "flare", "design", "random.zarr", "12") in [row[:5] for row in table.rows]


def with_calibration(scores, factor=1.0):
    """Scores with the calibration of a Gaussian whose errors are `factor` times too large."""
    rng = np.random.default_rng(0)
    std = rng.uniform(0.1, 1, 20_000)
    values = calibration(factor * std * rng.normal(size=20_000), std, np.zeros(20_000), None)
    return scores.assign(**values)


def test_uncertainty_has_a_table_and_a_diagram_where_there_is_any(entries):
    assert not list(calibration_tables(compare(entries), "displacement_z"))
    both = [*entries, entry("sure", with_calibration(scores_of(), 2.0))]
    made = compare(both)
    (table,) = calibration_tables(made, "displacement_z")
    assert table.headers[:4] == ("run", "spread / error", "calibration error", "in 50 %")
    assert [row[0] for row in table.rows] == ["sure"]
    assert [float(cell) for cell in table.rows[0][1:4]] == pytest.approx([0.5, 0.236, 0.264], abs=0.01)
    assert table.rows[0][-1] == "0.00" or abs(float(table.rows[0][-1])) < 0.7
    assert not list(calibration_tables(made, "von_mises_stress"))
    text, before = page(both, made), page(entries, compare(entries))
    assert text.count("<svg") == before.count("<svg") + 1
    assert "Reliability diagram" in text
    check_latex(latex(made))
    assert r"\caption{displacement\_z {[}mm], test cases: Uncertainty compared with the error.}" in latex(
        made
    )


def test_differences_to_the_best_run(entries):
    made = compare([*entries, entry("second", scores_of(0.6))])
    (table,) = differences_tables(made, "displacement_z")
    assert [row[:2] for row in table.rows] == [("second", "better"), ("worse", "better")]
    difference = table.rows[0][2]
    assert difference.mean == pytest.approx(0.1 * 0.065)
    assert not list(differences_tables(made, "von_mises_stress"))


def test_runs_on_stores_split_otherwise_stand_apart(entries):
    apart = [
        entry("strict", scores_of(1.0, prefix="x"), split_method="design"),
        entry("strict2", scores_of(0.9, prefix="x"), split_method="design"),
    ]
    made = compare([*entries, *apart])
    assert ranked(made, "displacement_z") == ["better", "worse", "strict2", "strict"]
    pairs = made[made["group"] == "difference"].set_index("run")["level"].to_dict()
    assert pairs == {"worse": "better", "strict": "strict2"}
    (table,) = split_method_tables(made, "displacement_z")
    assert table.headers == ("model", "by random", "by design")
    cells = {row[0]: [cell and cell.value for cell in row[1:]] for row in table.rows}
    assert cells == {"knn": ["0.0325", ""], "flare": ["0.130", "0.0585"]}
    assert notes([*entries, *apart])[0].startswith(
        "Stores are split in different ways, design and random, so"
    )
    assert not any("same cases" in note for note in notes([*entries, *apart]))
    check_latex(latex(made))
    assert page([*entries, *apart], made).count("by design")
    assert not list(split_method_tables(compare(entries), "displacement_z"))


def test_digits_of_what_may_as_well_be_zero():
    estimate = Estimate(1.3e-7, -0.0123, 0.0124, 5)
    assert (estimate.value, estimate.interval) == ("0.0000", "[-0.0123, 0.0124]")


def test_console_columns_are_aligned(comparison):
    title, header, *rows = console_lines(overview(comparison, "displacement_z"))
    assert title == "displacement_z [mm], test cases"
    assert header.split()[:3] == ["run", "model", "split"]
    assert len({len(line) for line in (header, *rows)}) == 1
    assert "0.0325 [0.0229, 0.0421]" in rows[0]


def test_group_tables_have_a_column_for_each_level(comparison):
    tables = list(group_tables(comparison, "displacement_z"))
    assert [len(table.headers) for table in tables] == [4, 4, 3, 3]
    assert [row[0] for row in tables[0].rows] == ["better", "worse"]
    assert tables[2].rows[0][1].details(counted=True).endswith("], 4 cases")


def test_runs_on_other_stores_leave_gaps_in_group_tables(entries):
    small = entry("small", scores_of(cases=6), leaking=None)
    tables = list(group_tables(compare([*entries, small]), "displacement_z"))
    sizes = tables[0]
    assert sizes.headers == (
        "run",
        "up to 400 nodes",
        "up to 800 nodes",
        "over 800 nodes",
        "up to 200 nodes",
        "over 400 nodes",
    )
    of_small = next(row for row in sizes.rows if row[0] == "small")
    assert of_small.count("") == 2
    assert [row[0] for row in tables[2].rows] == ["better", "worse"]


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.018512, 0.018512, "0.0185"),
        (0.02, 0.0185, "0.0200"),
        (123.456, 123.456, "123"),
        (98765.4, 98765.4, "98765"),
        (1.0, 1.0, "1.00"),
        (-20.04, -20.04, "-20.0"),
        (0.0, 0.0, "0.00"),
        (1.234e-7, 1.234e-7, "1.23e-07"),
        (math.nan, 1.0, "nan"),
        (math.inf, math.inf, "inf"),
    ],
)
def test_three_significant_digits(value, scale, text):
    assert figures(value, scale) == text


@given(st.floats(1e-12, 1e12))
def test_numbers_are_rounded_not_changed(value):
    assert float(figures(value, value)) == pytest.approx(value, rel=6e-3)


def test_an_estimate_without_interval():
    estimate = Estimate(0.1, math.nan, math.nan, 1)
    assert (estimate.value, estimate.interval) == ("0.100", "")
    assert estimate.details(counted=True) == "1 case"
    assert estimate.details(counted=False) == ""


def check_latex(text):
    """Braces balance, environments nest, and every row has as many cells as there are columns."""
    depth = 0
    for bracket in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if bracket == "{" else -1
        assert depth >= 0
    assert depth == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_is_well_formed(comparison):
    text = latex(comparison)
    check_latex(text)
    assert text.count(r"\begin{table}") == 11
    assert r"better & knn & random & 12 & 0.0325 {\scriptsize [0.0229, 0.0421]} & " in text
    assert r"published\_relative\_l2" in text


def test_latex_of_a_hostile_name():
    text = latex(compare([entry(HOSTILE)]))
    check_latex(text)
    assert r"\input" not in text
    assert r"\& 100 \% \textbackslash{}input\{x\} {[}a]\_1" in text


@given(st.text())
def test_escaped_text_leaves_nothing_to_interpret(text):
    escaped = escape(text)
    check_latex(escaped.replace("\\\\", ""))
    rest = re.sub(r"\\(text\w+\{\}|[&%$#_{}])|\{\[\}", "", escaped)
    assert not set(rest) & set("\\&%$#_{}~^[")


def test_markdown_has_a_table_for_each_target(comparison):
    first, second = markdown(comparison).strip().split("\n\n**")
    assert first.splitlines()[0] == r"**displacement\_z \[mm\], test cases**"
    assert "| better | knn | random | 12 | 0.0325 [0.0229, 0.0421] | 0.0325 |" in first
    for table in (first, second):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert first.splitlines()[3].startswith("| --- | --- | --- | ---: | ---: |")


def test_markdown_of_a_hostile_name():
    text = markdown(compare([entry(HOSTILE + " `x` | *y* | [z](javascript:1)")]))
    assert "<script>" not in text.replace(r"\<script\>", "")
    row = text.splitlines()[4]
    assert len(re.findall(r"(?<!\\)\|", row)) == 12
    assert r"\`x\` \| \*y\* \| \[z\]\(javascript:1\)" in row


class Page(HTMLParser):
    """What a page would load or run, and the texts of its cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.cells, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src", "xlink:href"}]
        if tag in {"td", "th"}:
            self.cells.append("")
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.cells[-1] += data


def test_the_page_is_self_contained(entries, comparison):
    text = page(entries, comparison)
    parsed = Page(text)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(parsed.tags)
    assert all(link.startswith("#") for link in parsed.links)
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert parsed.tags.count("svg") == 4
    assert {"0.0325[0.0229, 0.0421]", "published_relative_l2", "neither", "lpbf.zarr"} <= set(parsed.cells)
    assert page(entries, comparison) == text


def test_the_page_shows_names_and_notes_as_text():
    made = [entry(HOSTILE, notes=("Look <b>here</b>.",))]
    text = page(made, compare(made))
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert "b" not in parsed.tags
    assert HOSTILE in parsed.cells


def test_many_runs_are_told_apart():
    made = [entry(f"run{index}", scores_of(1 + index / 9)) for index in range(14)]
    text = page(made, compare(made))
    assert all(f">run{index}<" in text.replace("\n", "") for index in range(14))
