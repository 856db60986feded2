from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.report.markup import Html, bar, element, frame, join, markup, png, section, table


class Reader(HTMLParser):
    """What a browser makes of some markup: its tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.values: list[str | None] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


@given(st.text())
def test_text_comes_back_as_it_was(text):
    page = Reader(element("p", text, title=text))
    assert page.tags == ["p"]
    assert "".join(page.text) == text
    assert page.values == [text]


@given(st.text(st.characters(categories=["Cs"]), min_size=1))
def test_what_is_no_text_is_shown_by_its_code(text):
    assert markup(text).encode().decode().count("\\ud") == len(text)


def test_markup_is_left_alone():
    assert markup(Html("<b>")) == "<b>"
    assert join(("<", Html("<b>"))) == "&lt;<b>"


def test_attributes_are_spelt_as_in_html():
    assert element("i", class_="a", aria_label="b") == '<i class="a" aria-label="b"></i>'


def test_table_has_every_cell():
    page = Reader(table(("name", "n"), [("<a>", "1"), ("b", "2")], numeric=(1,), id="t"))
    assert page.tags.count("tr") == 3
    assert page.text == ["name", "n", "<a>", "1", "b", "2"]
    assert page.values.count("n") == 3


def test_frame_writes_numbers_and_shares():
    data = pd.DataFrame({"case_id": ["<a>", "b"], "mean_nodes": [1e4, np.nan], "a_share": [0.5, 0.0]})
    page = Reader(frame(data, {"case_id": "case"}))
    assert page.text == [
        "case",
        "mean nodes",
        "a share",
        "<a>",
        "10\u202f000",
        "50.0\u202f%",
        "b",
        "0.0\u202f%",
    ]


def test_small_parts():
    assert "width:25.0%" in bar(0.25)
    assert 'src="data:image/png;base64,AAE="' in png(b"\x00\x01", '"')
    assert section("A & B", "ab", "text").html() == '<section id="ab"><h2>A &amp; B</h2>text</section>'
