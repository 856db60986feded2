"""How far a run was off where the truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset.schema import SPLITS
from pipelines.runs.checkpoint import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.runs.run import Run

GUESS = 0.5
"""Relative L2 error from which on half of what is predicted is wrong: no part should be printed by that."""

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


def known_errors(run: Run) -> dict[str, dict[str, Any]]:
    """Mean errors of a run, by target, over the cases that it has seen least of; nothing if not evaluated."""
    try:
        targets = run.metrics["targets"]
        found = {}
        for target in run.targets:
            split = next(split for split in reversed(SPLITS) if split in targets[target])
            mean = targets[target][split]["mean"]
            found[target] = {
                "split": split,
                "cases": targets[target][split]["cases"],
                "relative_l2": mean["relative_l2"],
                "p95_absolute_error": mean["p95_absolute_error"],
                "unit": targets[target]["unit"],
            }
    except (RunError, KeyError, TypeError, StopIteration):
        return {}
    return found


def remarks_on(run: Run) -> Iterator[str]:
    """Yield a line for each target that a run predicts badly."""
    for target, of in known_errors(run).items():
        # NaN, too, is no small error.
        if not of["relative_l2"] < GUESS:
            yield (
                f"the run predicts {target} badly: on {of['cases']} {SPLIT_NAMES[of['split']]} cases its "
                f"relative L2 error is {of['relative_l2']:.0%} on average"
            )
