"""Matplotlib figures as inline SVG whose colours follow the page."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lpbf_dataset.report.markup import Html, element
from lpbf_dataset.report.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

# Colours to draw in: stand-ins for variables of page.css, which has a light and a dark set.
INK, MUTED, OURS, PUBLISHED, BOUND = "#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005"
SERIES = (OURS, PUBLISHED, BOUND, "#0a0006", "#0a0007", "#0a0008")
_VARIABLES = dict(
    zip(
        (INK, MUTED, *SERIES),
        ("ink", "muted", "ours", "published", "bound", "series-4", "series-5", "series-6"),
        strict=True,
    )
)
# Any, as the type that matplotlib declares lists the settings of one of its versions.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lpbf",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def canvas(width: float, height: float) -> Iterator[Axes]:
    """Axes of a figure of its own, to be drawn on in `INK` and so on, within the block.

    Without pyplot it needs no display and leaves no global state.

    Parameters
    ----------
    width, height : float
        Size in inches at 9 point text; the page scales it.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained").add_subplot()


def logarithmic_x(axes: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers for labels."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def figure_legend(axes: Axes) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.figure.legend(loc="outside upper left", ncols=2, fontsize=7.5, handlelength=1.3)


def inline(axes: Axes, description: str, note: str = "") -> Html:
    """Write a figure into a page; the same figure gives the same bytes.

    Parameters
    ----------
    axes : Axes
        Of a `canvas` that is still open.
    description : str
        What the figure shows, for those who cannot see it.
    note : str, optional
        Line below the figure.
    """
    from matplotlib.figure import Figure

    assert isinstance(axes.figure, Figure)
    buffer = io.StringIO()
    axes.figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # A style of the figure would hold for the whole page; page.css has it for figures alone.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    # Names of groups repeat from figure to figure, and nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub("|".join(_VARIABLES), lambda color: f"var(--{_VARIABLES[color[0]]})", svg)
    image = element("div", Html(svg), role="img", aria_label=description, class_="svg")
    return element("figure", image, *([element("figcaption", note)] if note else []))
