"""The figures of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pandas.api.types import is_numeric_dtype

from lpbf_dataset.report.curation import known
from lpbf_dataset.report.published import CELL_QUANTILES, KEPT_MEANS, QUANTILES
from lpbf_dataset.report.svg import (
    BOUND,
    INK,
    MUTED,
    OURS,
    PUBLISHED,
    SERIES,
    canvas,
    figure_legend,
    inline,
    logarithmic_x,
)
from lpbf_dataset.report.text import label_with_unit, number

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset.report.curation import Curation
    from lpbf_dataset.report.markup import Html

_BINS = 36
_WIDE_RANGE = 50.0
"""Ratio of largest to smallest value from which an axis is logarithmic."""


def histogram(curation: Curation, statistic: str) -> Html:
    """Distribution of a statistic over the kept cases and over all that could be read.

    Lines mark the mean of the kept cases, the published mean, and the bounds of the rules.

    Parameters
    ----------
    curation : Curation
        At least one kept case must have a value.
    statistic : str
        Name in `lpbf_dataset.schema.STATISTICS`.
    """
    kept, readable = known(curation.kept, statistic), known(curation.readable, statistic)
    published = KEPT_MEANS.get(statistic)
    rules = [rule for rule in curation.rules if rule.statistic == statistic]
    bounds = sorted({bound for rule in rules for bound in (rule.minimum, rule.maximum)})
    # What a rule cuts off shows beyond its bound, unless the kept cases would shrink to a sliver.
    near = [1.15 * bound for bound in bounds if 0 < bound < 2 * kept.max()]
    edges, logarithmic = _bins(np.array([*kept, *near, *([published] if published else [])]))
    with canvas(3.6, 2.7) as axes:
        axes.stairs(*np.histogram(readable, edges), color=MUTED, label="readable")
        axes.stairs(*np.histogram(kept, edges), color=OURS, fill=True, alpha=0.5, label="kept")
        axes.axvline(kept.mean(), color=OURS, label=f"kept, mean {number(kept.mean())}")
        if published:
            text = f"published, mean {number(published)}"
            axes.axvline(published, color=PUBLISHED, linestyle="--", label=text)
        for bound in bounds:
            if edges[0] <= bound <= edges[-1]:
                axes.axvline(bound, color=BOUND, linestyle=":", label=f"bound {number(bound)}")
        axes.set(ylabel="cases", xlim=(edges[0], edges[-1]))
        axes.set_xlabel(label_with_unit(statistic), fontsize=8)
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        if logarithmic:
            logarithmic_x(axes)
        figure_legend(axes)
        beyond = int(((readable < edges[0]) | (readable > edges[-1])).sum())
        note = f"Readable cases beyond the axis: {number(beyond)}." if beyond else ""
        return inline(axes, f"Distribution of: {label_with_unit(statistic)}", note)


def _bins(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Edges of bins over all values, and whether they are evenly spaced in the logarithm."""
    low, high = float(values.min()), float(values.max())
    if high - low < _BINS and (values % 1 == 0).all():
        return np.arange(low - 0.5, high + 1.0), False
    if low > 0 and high / low > _WIDE_RANGE:
        edges = np.geomspace(low, high, _BINS + 1)
        edges[[0, -1]] = low, high  # rounding must not leave an extreme outside
        return edges, True
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1), False


def cell_quantiles(curation: Curation) -> Html:
    """Quantiles of the cells per case, ours beside the published ones.

    Parameters
    ----------
    curation : Curation
        At least one kept case must have a number of cells.
    """
    boxes: list[tuple[str, str, tuple[float, ...]]] = []
    for name, cases in (("simulated", curation.readable), ("kept", curation.kept)):
        ours = known(cases, "cells").quantile(list(QUANTILES))
        boxes.append((f"{name}, published", PUBLISHED, CELL_QUANTILES[name]))
        boxes.append((f"{name}, ours", OURS, tuple(ours)))
    with canvas(7.4, 2.0) as axes:
        for row, (_, color, (low, first, median, third, high)) in enumerate(boxes):
            axes.plot([low, high], [row, row], color=color, linewidth=1.4)
            axes.barh(row, third - first, left=first, height=0.5, color=color, alpha=0.5)
            axes.plot([median, median], [row - 0.25, row + 0.25], color=INK, linewidth=2)
        axes.set_yticks(range(len(boxes)), [label for label, _, _ in boxes])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set(xlabel="cells per case: 5 to 95 % (line), 25 to 75 % (box), median (tick)")
        logarithmic_x(axes)
        return inline(axes, "Quantiles of the number of cells per case, ours and published")


def sensitivity(outcome: pd.DataFrame, kept: int) -> Html:
    """How many cases would be kept with a bound of one rule multiplied by a factor.

    Parameters
    ----------
    outcome : DataFrame
        Columns ``rule``, ``factor`` and ``kept``; a curve for each combination of the columns of text.
    kept : int
        Number of cases kept with the bounds as they are.
    """
    finite = outcome[np.isfinite(outcome["factor"])].sort_values("factor")
    texts = [name for name in finite if not is_numeric_dtype(finite[name])]
    with canvas(7.4, 3.0) as axes:
        axes.axhline(kept, color=MUTED, linewidth=0.8, label=f"as used: {number(kept)}")
        for index, (names, rows) in enumerate(finite.groupby(texts, sort=False)):
            color, marker = SERIES[index % len(SERIES)], "osD^vP"[index % 6]
            axes.plot(
                rows["factor"], rows["kept"], color=color, marker=marker, markersize=4, label=", ".join(names)
            )
        axes.set(xlabel="bound, as a multiple of the one used", ylabel="cases kept")
        axes.grid(color=MUTED, alpha=0.25, linewidth=0.6)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
        return inline(axes, "Cases kept as the bound of one rule is moved")
