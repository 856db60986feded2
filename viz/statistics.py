"""Statistics as figures: errors of a prediction, and the cases of a dataset."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.figure import Figure

from lpbf_dataset.schema import SPLITS, STATISTICS
from lpbf_dataset.sources.base import PROCEDURAL_DESIGN
from lpbf_dataset.store.layout import STATISTIC_PREFIX
from viz.annotations import field_label, field_units, with_units

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

DENSITY_FROM = 2000
"""Number of points from which a scatter plot shows their density instead of each of them."""

DEFAULT_STATISTICS = ("nodes", "max_z", "max_displacement", "max_von_mises_stress")
GROUP_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999999", "#332288")
"""P. Tol's bright scheme, which readers with colour-vision deficiencies can tell apart, and one more."""

OTHER_FAMILY = "other"


def error_figure(
    truth: NDArray[np.floating], prediction: NDArray[np.floating], field: str, title: str = ""
) -> Figure:
    """Draw predicted against true values, and the distribution of the errors.

    Parameters
    ----------
    truth, prediction : (n,) float ndarray
        All finite, in the units of the field; of one case or of many.
    field : str
        Scalar field, as `lpbf_dataset.Case.scalar` names it.
    title : str, optional
        Heading: which model, and which case or split.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``savefig`` writes the picture.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    scatter, histogram = figure.subplots(1, 2)
    _draw_scatter(scatter, truth, prediction, field)
    _draw_histogram(histogram, prediction - truth, field)
    figure.suptitle(title)
    return figure


def _draw_scatter(
    axes: Axes, truth: NDArray[np.floating], prediction: NDArray[np.floating], field: str
) -> None:
    low = float(min(truth.min(), prediction.min()))
    high = float(max(truth.max(), prediction.max()))
    margin = 0.03 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    if len(truth) < DENSITY_FROM:
        axes.plot(truth, prediction, "o", markersize=3, alpha=0.5, color=GROUP_COLORS[0], markeredgewidth=0)
    else:
        density = axes.hexbin(
            truth, prediction, gridsize=80, bins="log", mincnt=1, cmap="viridis", extent=(*limits, *limits)
        )
        axes.figure.colorbar(density, ax=axes, label="nodes in a cell")
    axes.plot(limits, limits, color="black", linewidth=1, linestyle="--", label="prediction = truth")
    label, units = field_label(field), field_units(field)
    axes.set(
        xlabel=with_units(f"true {label}", units),
        ylabel=with_units(f"predicted {label}", units),
        xlim=limits,
        ylim=limits,
        aspect="equal",
    )
    axes.legend(loc="upper left")


def _draw_histogram(axes: Axes, error: NDArray[np.floating], field: str) -> None:
    units = field_units(field)
    size = np.abs(error)
    within = float(np.percentile(size, 95))
    limit = float(size.max()) or 1.0
    axes.hist(error, bins=np.linspace(-limit, limit, 81).tolist(), color=GROUP_COLORS[0], alpha=0.85)
    axes.axvline(0.0, color="black", linewidth=1)
    for side in (-within, within):
        axes.axvline(side, color="black", linewidth=1, linestyle=":")
    summary = (
        f"mean {error.mean():.2g}, mean size {size.mean():.2g},\n"
        f"95 % within \N{PLUS-MINUS SIGN}{within:.2g}, largest {size.max():.2g} {units}".rstrip()
    )
    axes.set_title(summary, fontsize="small")
    axes.set(xlabel=with_units(f"error of {field_label(field)}", units), ylabel="nodes", yscale="log")
    axes.locator_params(axis="x", nbins=6)


def dataset_figure(
    cases: pd.DataFrame,
    by: Literal["split", "family"],
    statistics: tuple[str, ...] = DEFAULT_STATISTICS,
    title: str = "",
) -> Figure:
    """Draw how some statistics are distributed over the cases of each split or family of parts.

    Parameters
    ----------
    cases : DataFrame
        Of `lpbf_dataset.Dataset.case_table`.
    by : {"split", "family"}
        What the cases are grouped by; see `family`.
    statistics : tuple of str, optional
        Names in `lpbf_dataset.schema.STATISTICS`; a panel each.
    title : str, optional
        Heading: which dataset.

    Returns
    -------
    matplotlib.figure.Figure
        A row a group: quartiles as a box, each case as a dot.
    """
    groups = cases["split"] if by == "split" else cases["design_id"].map(family)
    present = groups.unique()
    families = sorted(set(present) - {OTHER_FAMILY})
    order = SPLITS if by == "split" else (*families, OTHER_FAMILY)
    names = [name for name in order if name in present]
    rows = -(-len(statistics) // 2)
    figure = Figure(figsize=(10, rows * (1.3 + 0.36 * len(names)) + 0.4), layout="constrained")
    for axes, name in zip(figure.subplots(rows, 2, squeeze=False).flat, statistics, strict=False):
        columns = [cases.loc[groups == group, STATISTIC_PREFIX + name].dropna() for group in names]
        _draw_groups(axes, [column.to_numpy() for column in columns], names)
        statistic = STATISTICS[name]
        axes.set_xlabel(with_units(statistic.long_name, "" if statistic.units == "1" else statistic.units))
    figure.suptitle(title)
    return figure


def family(design_id: str) -> str:
    """Family of procedural parts that a design is of, such as ``"bracket"``, or else `OTHER_FAMILY`."""
    if PROCEDURAL_DESIGN.fullmatch(design_id):
        return re.sub(r"_\d+$", "", design_id).replace("_", " ")
    return OTHER_FAMILY


def _draw_groups(axes: Axes, columns: list[NDArray[np.floating]], names: list[str]) -> None:
    """Draw boxes with the cases as dots, shaken a little so that fewer hide others."""
    rng = np.random.default_rng(0)
    for row, column in enumerate(columns):
        heights = row + rng.uniform(-0.28, 0.28, len(column))
        color = GROUP_COLORS[row % len(GROUP_COLORS)]
        axes.plot(column, heights, "o", markersize=3, alpha=0.45, color=color, markeredgewidth=0)
    axes.boxplot(
        columns,
        positions=range(len(columns)),
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        medianprops={"color": "black"},
    )
    labels = [f"{name} ({len(column)})" for name, column in zip(names, columns, strict=True)]
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.set_xlim(left=0.0)
