"""Where a model errs: one figure of a target over all cases of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lpbf_dataset.report.text import number
from lpbf_dataset.report.text import unit as unit_symbol
from lpbf_dataset.schema import SPLITS
from pipelines.scoring.plots import logarithmic

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_COLORS = {"train": "#8c8c8c", "val": "#e69f00", "test": "#0072b2"}
"""From Okabe and Ito's set, which those with colour-blindness can tell apart; what was trained on is grey."""

_MARKERS = {"train": "^", "val": "s", "test": "o"}
_BINS = 20
_DPI = 110


def save_error_plots(path: Path, scores: pd.DataFrame, nodes: pd.DataFrame, peaks: pd.DataFrame) -> None:
    """Draw the errors of a target.

    Parameters
    ----------
    path : Path
        PNG to write.
    scores : DataFrame
        Rows of one target and all nodes of `pipelines.scoring.evaluation.case_scores`.
    nodes, peaks : DataFrame
        Of that target, as `pipelines.scoring.node_sample.NodeSample` has them.
    """
    target, unit = scores["target"].iloc[0], unit_symbol(scores["unit"].iloc[0])
    label = f"{target.replace('_', ' ')} [{unit}]"
    scored = scores.merge(peaks[["case_id", "truth"]], on="case_id")
    # A figure of its own, without pyplot, needs no display and leaves no global state.
    figure = Figure(figsize=(14, 8))
    figure.suptitle(f"Errors of the predicted {label}")
    (distribution, density, extremes), (size, height, magnitude) = figure.subplots(2, 3)
    # Constrained layout would draw everything twice.
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.07, top=0.91, wspace=0.24, hspace=0.22)
    _histogram(distribution, scored)
    _density(density, nodes, label)
    _extremes(extremes, peaks, unit)
    _errors(size, scored, "nodes", "nodes of the case", is_wide=True)
    _errors(height, scored, "max_z", "height of the part [mm]")
    _errors(magnitude, scored, "truth", f"largest true absolute value in the case [{unit}]", is_wide=True)
    size.legend()
    figure.savefig(path, dpi=_DPI)


def _splits(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each split that has any, those that matter most last and thus on top."""
    groups = [(split, rows[rows["split"] == split]) for split in SPLITS]
    return [(split, group) for split, group in groups if len(group)]


def _positive(values: pd.Series) -> NDArray[np.float64]:
    """Values that a logarithmic axis can show."""
    numbers = values.to_numpy(dtype=np.float64)
    return numbers[np.isfinite(numbers) & (numbers > 0)]


def _histogram(axes: Axes, scored: pd.DataFrame) -> None:
    axes.set(xlabel="relative L2 error of a case", ylabel="share of the cases of the split")
    if not len(shown := _positive(scored["relative_l2"])):
        return
    low, high = shown.min(), shown.max()
    edges = np.geomspace(*((low, high) if low < high else (low / 2, high * 2)), _BINS + 1)
    # Rounding must not leave an extreme outside.
    edges[[0, -1]] = min(edges[0], low), max(edges[-1], high)
    for split, rows in _splits(scored):
        counts = np.histogram(_positive(rows["relative_l2"]), edges)[0]
        legend = (
            f"{split}: {len(rows)} case{'s' * (len(rows) > 1)}, median {rows['relative_l2'].median():.3g}"
        )
        axes.stairs(counts / len(rows), edges, color=_COLORS[split], fill=True, alpha=0.35)
        axes.stairs(counts / len(rows), edges, color=_COLORS[split], linewidth=1.5, label=legend)
    logarithmic(axes, "x", shown)
    axes.legend()
    # Room for the legend above the highest bar.
    axes.set_ylim(0, 1.35 * axes.dataLim.ymax)


def _density(axes: Axes, nodes: pd.DataFrame, label: str) -> None:
    """Predicted over true values of the cases that the model has seen least of."""
    split, rows = _splits(nodes)[-1]
    pairs = rows[["truth", "predicted"]].to_numpy(dtype=np.float64)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    axes.set(title=f"{number(len(rows))} nodes of the {split} cases", xlabel=f"true {label}")
    axes.set_ylabel(f"predicted {label}")
    if not len(pairs):
        return
    # The figure must not hide outliers, and they are few: a bin of one node is drawn, too.
    ends = (pairs.min(), pairs.max())
    cells = axes.hexbin(
        *pairs.T,
        gridsize=60,
        cmap="viridis",
        norm=LogNorm(vmin=1),
        mincnt=1,
        linewidths=0.2,
        extent=(*ends, *ends) if ends[0] < ends[1] else None,
    )
    axes.figure.colorbar(cells, ax=axes, label="nodes")
    _identity(axes, pairs)


def _extremes(axes: Axes, peaks: pd.DataFrame, unit: str) -> None:
    _scatter(axes, peaks, "truth", "predicted")
    axes.set(
        xlabel=f"largest true absolute value [{unit}]", ylabel=f"largest predicted absolute value [{unit}]"
    )
    pairs = peaks[["truth", "predicted"]].to_numpy(dtype=np.float64)
    _identity(axes, pairs[np.isfinite(pairs).all(axis=1)])
    axes.legend()


def _identity(axes: Axes, pairs: NDArray[np.float64]) -> None:
    """Mark where predictions are right."""
    if len(pairs):
        ends = [pairs.min(), pairs.max()]
        axes.plot(ends, ends, color="black", linewidth=1, linestyle="--", label="predicted = true")


def _errors(axes: Axes, scored: pd.DataFrame, column: str, label: str, *, is_wide: bool = False) -> None:
    _scatter(axes, scored, column, "relative_l2")
    axes.set(xlabel=label, ylabel="relative L2 error of a case")
    logarithmic(axes, "y", scored["relative_l2"])
    if is_wide:
        logarithmic(axes, "x", scored[column])


def _scatter(axes: Axes, rows: pd.DataFrame, x: str, y: str) -> None:
    for split, group in _splits(rows):
        axes.scatter(
            group[x],
            group[y],
            s=16,
            alpha=0.7,
            color=_COLORS[split],
            marker=_MARKERS[split],
            linewidths=0,
            label=split,
        )
    axes.grid(visible=True, which="both", alpha=0.2)
