"""The error of a model of the steps of builds against the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from lpbf_dataset.report.svg import MUTED, SERIES, canvas, figure_legend, inline
from lpbf_dataset.schema import SPLITS
from pipelines.scoring.plots import logarithmic
from pipelines.steps.tasks import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from lpbf_dataset.report.markup import Html
    from pipelines.comparison.compare import Entry

_LABELS = {
    "rolled_out": "rolled out from nothing",
    "teacher_forced": "each step from the true one before",
    UNCHANGED: "the true state before, unchanged",
    "direct": "each step by itself",
}
_DASHES = {"rolled_out": "-", "direct": "-", "teacher_forced": ":", UNCHANGED: "--"}


def has_steps(scores: pd.DataFrame) -> bool:
    """Whether scores are those of a model of the steps of builds."""
    return "step" in scores


def error_of_steps(scores: pd.DataFrame, target: str) -> pd.DataFrame:
    """Average the relative L2 error of a target over the cases.

    Parameters
    ----------
    scores : DataFrame
        Of `pipelines.steps.evaluation.step_scores`, of one split.
    target : str
        The field.

    Returns
    -------
    DataFrame
        A row for each step, a column for each mode; at a step that only some cases have, the mean over these.
    """
    of_target = scores[(scores["region"] == "step") & (scores["target"] == target)]
    return of_target.pivot_table(index="step", columns="mode", values="relative_l2", aggfunc="mean")


def save_step_plot(path: Path, scores: pd.DataFrame, targets: Sequence[str]) -> None:
    """Draw the error of each target against the step, of the split that the model has seen least of.

    Parameters
    ----------
    path : Path
        PNG to write.
    scores : DataFrame
        Of `pipelines.steps.evaluation.step_scores`.
    targets : sequence of str
        Fields to draw.
    """
    split = next(split for split in reversed(SPLITS) if (scores["split"] == split).any())
    figure = Figure(figsize=(7, 3.2 * len(targets)), layout="constrained")
    for target, axes in zip(targets, figure.subplots(len(targets), squeeze=False)[:, 0], strict=True):
        errors = error_of_steps(scores[scores["split"] == split], target)
        for mode in errors:
            axes.plot(errors.index, errors[mode], _DASHES[str(mode)], color="C0", label=_LABELS[str(mode)])
        axes.set(xlabel="step of the build", ylabel=f"relative L2 error of {target}")
        axes.set_title(f"mean over the {split} cases")
        logarithmic(axes, "y", errors)
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def steps_figure(entries: Sequence[Entry], target: str) -> Html:
    """Draw the mean error of each run against the step; dotted where it starts from the true state.

    The floor, that state unchanged, is the same for all runs on the same cases and drawn once.
    """
    all_errors = [error_of_steps(entry.scores, target) for entry in entries]
    floors = [errors.pop(UNCHANGED) for errors in all_errors if UNCHANGED in errors]
    with canvas(7.4, 3.3) as axes:
        for index, (entry, errors) in enumerate(zip(entries, all_errors, strict=True)):
            for mode in errors:
                axes.plot(
                    errors.index,
                    errors[mode],
                    _DASHES[str(mode)],
                    color=SERIES[index % len(SERIES)],
                    label=f"{entry.name}, {_LABELS[str(mode)]}",
                )
        for floor in floors[:1]:
            axes.plot(floor.index, floor, _DASHES[UNCHANGED], color=MUTED, label=_LABELS[UNCHANGED])
        axes.set(xlabel="step of the build", ylabel="relative L2 error, mean over cases")
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, color=MUTED, alpha=0.25, linewidth=0.6)
        figure_legend(axes)
        return inline(axes, f"Relative L2 error of {target} against the step of the build")
