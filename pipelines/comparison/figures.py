"""Figures of a comparison, as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.report.svg import INK, MUTED, SERIES, canvas, figure_legend, inline, logarithmic_x
from pipelines.scoring.calibration import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.report.markup import Html
    from pipelines.comparison.compare import Entry
    from pipelines.comparison.tables import Estimate

_DASHES = ("-", "--", ":")


def intervals(names: Sequence[str], estimates: Sequence[Estimate]) -> Html:
    """Draw means as dots with their confidence intervals as lines, the first run on top."""
    with canvas(7.4, 0.9 + 0.27 * len(names)) as axes:
        for row, estimate in enumerate(estimates):
            axes.plot([estimate.low, estimate.high], [row, row], color=SERIES[0], linewidth=2)
            axes.plot([estimate.mean], [row], color=INK, marker="o", markersize=4.5)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=True, axis="x", color=MUTED, alpha=0.25, linewidth=0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("mean relative L2 over cases, with its 95 % confidence interval")
        return inline(axes, "Mean relative L2 error of each run with its confidence interval")


def distribution(entries: Sequence[Entry], target: str) -> Html:
    """Draw the share of the cases whose relative L2 error is below a value, a curve for each run."""
    errors = {entry.name: _relative_errors(entry, target) for entry in entries}
    with canvas(7.4, 3.1) as axes:
        for index, (name, values) in enumerate(errors.items()):
            axes.ecdf(
                values,
                color=SERIES[index % len(SERIES)],
                linestyle=_DASHES[index // len(SERIES) % len(_DASHES)],
                label=name,
            )
        axes.set(xlabel="relative L2 error of a case", ylabel="share of the cases", ylim=(0, 1.02))
        if any(((values > 0) & np.isfinite(values)).any() for values in errors.values()):
            logarithmic_x(axes)
        axes.grid(visible=True, which="both", color=MUTED, alpha=0.25, linewidth=0.6)
        figure_legend(axes)
        return inline(axes, f"Distribution of the relative L2 error of {target} over the cases")


def reliability(coverages: Mapping[str, Sequence[float]]) -> Html:
    """Draw how often the truth is in an interval over how often it should be, a curve for each run.

    Parameters
    ----------
    coverages : mapping of str to sequence of float
        Of each run, the mean over cases of the coverage at each of `pipelines.scoring.calibration.LEVELS`.
    """
    nominal = list(LEVELS.values())
    with canvas(7.4, 3.9) as axes:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for index, (name, observed) in enumerate(coverages.items()):
            axes.plot(
                nominal,
                observed,
                color=SERIES[index % len(SERIES)],
                linestyle=_DASHES[index // len(SERIES) % len(_DASHES)],
                marker="o",
                markersize=3.5,
                label=name,
            )
        axes.set(
            xlabel="probability of the central interval",
            ylabel="share of nodes in it, mean over cases",
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
        )
        axes.grid(visible=True, color=MUTED, alpha=0.25, linewidth=0.6)
        figure_legend(axes)
        note = "Below the diagonal a model is too sure, above it too careful."
        return inline(axes, "Reliability diagram: observed over nominal coverage of each run", note)


def _relative_errors(entry: Entry, target: str) -> NDArray[np.float64]:
    """Error of each case, infinite where it cannot be computed: then the curve does not reach one."""
    scores = entry.scores
    chosen = scores[(scores["target"] == target) & (scores["region"] == "all")]["relative_l2"]
    return chosen.fillna(np.inf).to_numpy(dtype=np.float64)
