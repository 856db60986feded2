"""HTML that is safe by construction: text is escaped where it enters, markup is a type of its own."""

from __future__ import annotations

import base64
import html
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pandas.api.types import is_numeric_dtype

from lpbf_dataset.report.text import number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

_NO_HEADS: Mapping[str, str] = MappingProxyType({})


class Html(str):
    """Markup, inserted as it stands; any other str is text, and escaped."""

    __slots__ = ()


def markup(content: str) -> Html:
    """Escape text; leave `Html` alone.

    Names of files may hold bytes that are not text, which Python decodes to lone surrogates; they
    are shown by their code, as a page that holds them could not be encoded.
    """
    if isinstance(content, Html):
        return content
    return Html(html.escape(content.encode(errors="backslashreplace").decode()))


def page_style() -> Html:
    """Style sheet of every page, in a light and a dark set of colours."""
    return Html(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))


def join(parts: Iterable[str]) -> Html:
    """Put parts one after another."""
    return Html("".join(map(markup, parts)))


def element(tag: str, *children: str, **attributes: str) -> Html:
    """Build an element.

    Parameters
    ----------
    tag : str
        Its name.
    *children : str or Html
        Its content.
    **attributes : str
        A trailing underscore is dropped (``class_``), others become hyphens (``aria_label``).

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{markup(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{given}>{join(children)}</{tag}>")


def document(title: str, policy: str, style: Html, body: Html) -> Html:
    """Build a page.

    Parameters
    ----------
    title : str
        What the browser calls it.
    policy : str
        Content security policy.
    style : Html
        Style sheet.
    body : Html
        The ``body`` element.
    """
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", style),
    )
    return Html(f'<!DOCTYPE html>\n<html lang="en">{head}\n{body}</html>\n')


class Section(NamedTuple):
    """Part of a page with a heading that links can point at."""

    title: str
    anchor: str
    content: Html

    def html(self) -> Html:
        """Write it as an element."""
        return element("section", element("h2", self.title), self.content, id=self.anchor)


def section(title: str, anchor: str, *children: str) -> Section:
    """Put content under a heading."""
    return Section(title, anchor, join(children))


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = (), **attributes: str
) -> Html:
    """Build a table in a frame that scrolls sideways.

    Parameters
    ----------
    headers : sequence of str
        Head of each column.
    rows : iterable of sequence of str
        Cells of each row.
    numeric : iterable of int
        Columns that are aligned to the right.
    **attributes : str
        Of the table element.
    """
    right = set(numeric)
    head = (_cell("th", text, column in right) for column, text in enumerate(headers))
    body = (
        element("tr", *(_cell("td", text, column in right) for column, text in enumerate(row)))
        for row in rows
    )
    content = element("table", element("thead", element("tr", *head)), element("tbody", *body), **attributes)
    return element("div", content, class_="scroll")


def _cell(tag: str, content: str, is_numeric: bool) -> Html:
    return element(tag, content, class_="n") if is_numeric else element(tag, content)


def frame(data: pd.DataFrame, heads: Mapping[str, str] = _NO_HEADS) -> Html:
    """Build a table of a frame of texts and numbers, without its index.

    Parameters
    ----------
    data : DataFrame
        Columns named ``*_share`` are shares of one, written as percentages.
    heads : mapping of str to str, optional
        Head of a column by its name; else it is the name, spaced.
    """
    columns = []
    numeric = []
    for position, name in enumerate(map(str, data.columns)):
        values = data[name].tolist()
        if is_numeric_dtype(data[name]):
            numeric.append(position)
            values = [percent(value) if name.endswith("_share") else number(value) for value in values]
        columns.append(values)
    headers = [heads.get(name, name.replace("_", " ")) for name in map(str, data.columns)]
    return table(headers, zip(*columns, strict=True), numeric=numeric)


def bar(share: float) -> Html:
    """Draw a share of one as a horizontal bar."""
    return element("div", element("i", style=f"width:{100 * share:.1f}%"), class_="bar")


def png(data: bytes, description: str) -> Html:
    """Embed a PNG image."""
    source = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return Html(f'<img src="{source}" alt="{markup(description)}" loading="lazy">')


def details(summary: str, *children: str) -> Html:
    """Hide content until it is asked for."""
    return element("details", element("summary", summary), *children)
