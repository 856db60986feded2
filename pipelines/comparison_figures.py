"""Figures of a comparison, as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.report.svg import INK, MUTED, SERIES, canvas, figure_legend, inline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpbf_dataset.report.markup import Html
    from pipelines.comparison import Entry
    from pipelines.comparison_tables import Estimate

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
    with canvas(7.4, 3.1) as axes:
        for index, entry in enumerate(entries):
            scores = entry.scores
            chosen = scores[(scores["target"] == target) & (scores["region"] == "all")]["relative_l2"]
            errors = np.sort(chosen[np.isfinite(chosen)])
            if not len(errors):
                continue
            shares = np.arange(1, len(errors) + 1) / len(chosen)
            # From the axis up to the first case.
            axes.step(
                np.concatenate([errors[:1], errors]),
                np.concatenate([[0.0], shares]),
                where="post",
                color=SERIES[index % len(SERIES)],
                linestyle=_DASHES[index // len(SERIES) % len(_DASHES)],
                label=entry.name,
            )
        axes.set(
            xscale="log", xlabel="relative L2 error of a case", ylabel="share of the cases", ylim=(0, 1.02)
        )
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(visible=True, which="both", color=MUTED, alpha=0.25, linewidth=0.6)
        figure_legend(axes)
        return inline(axes, f"Distribution of the relative L2 error of {target} over the cases")
