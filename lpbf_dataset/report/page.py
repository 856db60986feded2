"""The curation report: one HTML file that needs nothing else and may be passed on."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from lpbf_dataset.report.building import histories_section
from lpbf_dataset.report.curation import known
from lpbf_dataset.report.extremes import extremes_section
from lpbf_dataset.report.listing import listing_section
from lpbf_dataset.report.markup import Html, document, element, page_style, section, table
from lpbf_dataset.report.population import published_section, statistics_section
from lpbf_dataset.report.selection import failures_section, funnel_section, sensitivity_section
from lpbf_dataset.report.splitting import leakage_section, splits_section
from lpbf_dataset.report.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lpbf_dataset.report.curation import Curation
    from lpbf_dataset.report.markup import Section

_TITLE = "LPBF dataset: what was found, kept and left out"
_NO_THUMBNAILS: Mapping[str, bytes] = MappingProxyType({})


def report_html(curation: Curation, thumbnails: Mapping[str, bytes] = _NO_THUMBNAILS) -> str:
    """Write the report on a curation; needs matplotlib (the ``viz`` extra).

    The page loads nothing, runs no script but its own, and treats every name it shows as text.  The
    same curation gives the same bytes.

    Parameters
    ----------
    curation : Curation
        What to report on.
    thumbnails : mapping of str to bytes, optional
        PNG images by case id; those of `lpbf_dataset.report.extreme_cases` are shown.

    Returns
    -------
    str
        The page, to be encoded as UTF-8.
    """
    sections = list(_sections(curation, thumbnails))
    style, script = page_style(), _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    links = (element("a", part.title, href=f"#{part.anchor}") for part in sections)
    body = element(
        "body",
        _header(curation),
        element("nav", *links),
        element("main", *(part.html() for part in sections)),
        element("script", script),
    )
    return document(_TITLE, policy, style, body)


def _script() -> Html:
    return Html(files(__package__).joinpath("page.js").read_text(encoding="utf-8"))


def _sections(curation: Curation, thumbnails: Mapping[str, bytes]) -> Iterator[Section]:
    yield funnel_section(curation)
    yield failures_section(curation)
    if curation.distributions:
        yield published_section(curation)
        yield statistics_section(curation)
    yield histories_section(curation.histories)
    if curation.sensitivity is not None and not curation.sensitivity.empty:
        yield sensitivity_section(curation, curation.sensitivity)
    if curation.distributions:
        yield extremes_section(curation, thumbnails)
    if curation.split_comparison is not None:
        build = curation.attributes.get("build", {})
        yield splits_section(curation.split_comparison, str(build.get("split", "")))
    if curation.leakage is not None:
        yield leakage_section(curation.leakage)
    yield _provenance(curation)
    yield listing_section(curation)


def _header(curation: Curation) -> Html:
    kept = curation.kept
    figures = {
        "cases found": number(len(curation.catalog)),
        "readable": number(len(curation.readable)),
        "kept": number(len(kept)),
        "designs kept": number(kept["design_id"].nunique()),
        "nodes kept": number(known(kept, "nodes").sum()),
        **{name: number(cases) for name, cases in curation.split_counts().items()},
    }
    tiles = (element("div", element("dt", name), element("dd", value)) for name, value in figures.items())
    producer = curation.attributes.get("producer", {})
    subtitle = f"{producer.get('name', '')} {producer.get('version', '')}".strip()
    return element(
        "header",
        element("h1", _TITLE),
        element("p", subtitle, class_="subtitle"),
        element("dl", *tiles, class_="key"),
    )


def _provenance(curation: Curation) -> Section:
    """Terms, sources and the configuration that reproduces the build."""
    attributes = curation.attributes
    terms = [(name, str(attributes[name])) for name in ("licence", "citation") if name in attributes]
    hashes = [(f"hash of {name}", value) for name, value in attributes.get("source_hashes", {}).items()]
    configuration = json.dumps(attributes.get("build", {}), indent=2, sort_keys=True, ensure_ascii=False)
    return section(
        "Provenance and terms",
        "provenance",
        table(("", ""), [*terms, *hashes]),
        element("h3", "Configuration of the build"),
        element("pre", configuration),
    )
