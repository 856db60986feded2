from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from lpbf_dataset.report.figures import _bins, cell_quantiles, histogram, sensitivity


def parse(figure: str) -> ET.Element:
    return ET.fromstring(figure)  # noqa: S314


def texts(figure: str) -> list[str]:
    return [node.text for node in parse(figure).iter() if node.tag.endswith("text")]


def test_histogram_names_what_it_shows(curation):
    shown = texts(histogram(curation, "max_displacement_z"))
    assert "largest displacement in z [mm]" in shown
    assert "published, mean 0.295" in shown
    assert "bound 1" in shown


def test_colours_are_those_of_the_page(curation):
    figures = (histogram(curation, "nodes"), cell_quantiles(curation), sensitivity(curation.sensitivity, 261))
    for figure in figures:
        assert not re.search("#0a000|#000000|<style|url\\((?!#)", figure)
        assert "var(--ours)" in figure


def test_one_case_is_enough(curation):
    one = replace(curation, catalog=curation.kept.iloc[-1:])
    for name in ("nodes", "max_z", "genus"):
        parse(histogram(one, name))
    parse(cell_quantiles(one))


def test_text_is_no_mathematics(curation):
    table = curation.sensitivity.assign(rule="<$\\frac$> & $")
    assert "<$\\frac$> & $" in texts(sensitivity(table, 261))


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([1.0, 5.5], False),
        ([0.1, 50.0], True),
        ([-3.2, 900.0], False),
        ([2.5, 2.5], False),
        ([0, 3, 8], False),
    ],
)
def test_bins_hold_every_value(values, logarithmic):
    edges, is_logarithmic = _bins(np.array(values, dtype=float))
    assert is_logarithmic is logarithmic
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_each_bound_of_a_rule_has_its_curve(curation):
    outcome = pd.DataFrame(
        [
            ("1 <= max_z <= 60", "none", np.nan, np.nan, 30),
            ("1 <= max_z <= 60", "minimum", 0.5, 0.5, 22),
            ("1 <= max_z <= 60", "maximum", 0.5, 30.0, 9),
        ],
        columns=["rule", "bound", "factor", "value", "kept"],
    )
    shown = texts(sensitivity(outcome, 20))
    assert {"1 <= max_z <= 60, minimum", "1 <= max_z <= 60, maximum", "as used: 20"} <= set(shown)
    assert not any("none" in text for text in shown)
