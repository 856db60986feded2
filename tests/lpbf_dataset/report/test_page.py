from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lpbf_dataset.report import Curation, extreme_cases, report_html
from lpbf_dataset.schema import STATISTICS

PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


class Page(HTMLParser):
    """Elements, attributes and the cells of the table of all cases, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.listing: list[list[str]] = []
        self.headings: list[str] = []
        self._open: list[str] = []
        self._in_listing = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        self._in_listing |= ("id", "listing") in attrs
        if self._in_listing and tag == "tr":
            self.listing.append([])
        if self._in_listing and tag == "td":
            self.listing[-1].append("")

    def handle_endtag(self, tag):
        self._open.pop()
        self._in_listing &= tag != "table"

    def handle_data(self, data):
        if self._in_listing and self._open[-1] == "td":
            self.listing[-1][-1] += data
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def thumbnails(curation) -> dict[str, bytes]:
    return dict.fromkeys(extreme_cases(curation), PNG)


@pytest.fixture(scope="module")
def plain(curation) -> Curation:
    """Return the curation with a single statistic, as most of the time goes into figures."""
    return replace(curation, catalog=curation.catalog.drop(columns=set(STATISTICS) - {"nodes"}), rules=())


@pytest.fixture(scope="module")
def text(curation, thumbnails) -> str:
    return report_html(curation, thumbnails)


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_every_case_is_listed_with_its_fate(curation, page):
    expected = [
        [case.case_id.encode(errors="backslashreplace").decode(), case.status, case.split]
        for case in curation.catalog.itertuples()
    ]
    assert [[row[0], row[3], row[4]] for row in page.listing[1:]] == expected


def test_names_break_out_of_nothing(plain):
    """The nasty names add no element and no attribute to a page of harmless names."""
    harmless = plain.catalog.assign(
        case_id=[f"case {i}" for i in range(len(plain.catalog))],
        reason="",
        failure=plain.catalog["failure"].str.strip("<b>/"),
    )
    attributes = {**plain.attributes, "citation": ""}
    nasty = Page(report_html(plain))
    other = Page(report_html(replace(plain, catalog=harmless, attributes=attributes)))
    assert "alert(1)" in nasty.listing[1][0]
    assert [(tag, list(attrs)) for tag, attrs in nasty.elements] == [
        (tag, list(attrs)) for tag, attrs in other.elements
    ]


def test_nothing_is_loaded_from_elsewhere(page, text):
    for tag, attrs in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "xlink:href"):
            target = attrs.get(name) or "#"
            assert target.startswith(("#", "data:image/png;base64,")), target
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_policy_allows_its_own_script_alone(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_script_finds_its_column(text):
    column = int(re.search(r"STATUS_COLUMN = (\d+)", text)[1])
    assert Page(text).listing[1][column] in {"kept", "rejected", "failed"}


def test_links_lead_somewhere(page):
    anchors = {attrs.get("id") for _, attrs in page.elements}
    for _, attrs in page.elements:
        assert (attrs.get("href") or "#").removeprefix("#") in anchors | {""}


def test_pictures_of_extreme_cases_are_in_it(page, thumbnails):
    pictures = [attrs["src"] for tag, attrs in page.elements if tag == "img"]
    assert pictures == ["data:image/png;base64," + base64.b64encode(PNG).decode()] * len(thumbnails)


def test_the_same_twice(plain):
    assert report_html(plain) == report_html(plain)


def test_it_is_text_that_can_be_written(text):
    assert text.encode("utf-8").decode() == text


def test_warnings_are_shown(curation, text):
    assert "8 pairs of siblings, such as" in text


def test_what_is_not_known_is_left_out(plain):
    page = Page(report_html(Curation(plain.catalog)))
    assert "Leakage between splits" not in page.headings
    assert "Sensitivity to the rules" not in page.headings
    assert page.headings[-1] == "All cases"


@pytest.mark.parametrize("status", [["failed"], []])
def test_a_build_that_kept_nothing_is_reported(curation, status):
    catalog = curation.catalog[curation.catalog["status"].isin(status)]
    page = Page(report_html(Curation(catalog, curation.rules)))
    assert len(page.listing) == 1 + len(catalog)


def test_importing_the_reports_loads_no_plotting():
    script = "import sys, lpbf_dataset.report; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
