"""Scoring a trained model on every case of its store, one case at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from lpbf_dataset.schema import MESH_VARIABLES, SPLITS, VARIABLES, resolve_scalar
from pipelines import files
from pipelines.metrics import PUBLISHED_TARGET, score, summarize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpbf_dataset.store.reader import Dataset
    from pipelines.run import Run


def unit(target: str) -> str:
    """Return the unit of a scalar field."""
    return VARIABLES[resolve_scalar(target)[0]].units


def case_scores(run: Run, store: Dataset, *, quiet: bool) -> pd.DataFrame:
    """Score every case of every split.

    Parameters
    ----------
    run : Run
        The trained model.
    store : Dataset
        Every case of the store.
    quiet : bool
        Show no progress.

    Returns
    -------
    DataFrame
        One row a case and target: ``case_id``, ``design_id``, ``split``, ``nodes``, ``target``,
        ``unit`` and the metrics of `pipelines.metrics`.
    """
    bar = tqdm(_cases(run, store), total=len(store), desc="evaluating", unit="case", disable=quiet)
    return pd.DataFrame([row for rows in bar for row in rows])


def _cases(run: Run, store: Dataset) -> Iterator[list[dict[str, Any]]]:
    assert not set(run.targets) & set(MESH_VARIABLES)
    for split in SPLITS:
        view = store.split(split)
        for position in range(len(view)):
            case = view.read(position, run.description.variables)
            prediction, truth = run.predict(case), run.scaling.truth(case)
            yield [
                {
                    "case_id": case.case_id,
                    "design_id": case.design_id,
                    "split": split,
                    "nodes": case.node_count,
                    "target": target,
                    "unit": unit(target),
                    **score(prediction[:, column], truth[:, column], target),
                }
                for column, target in enumerate(run.targets)
            ]


def summary(scores: pd.DataFrame) -> dict[str, Any]:
    """Mean and median over cases, ``{target: {"unit": ..., split: {"cases": n, "mean": ..., ...}}}``."""
    described = ["case_id", "design_id", "split", "nodes", "target", "unit"]
    result: dict[str, Any] = {}
    for target, of_target in scores.groupby("target", sort=False):
        result[str(target)] = {"unit": unit(str(target))}
        for split, group in of_target.groupby("split", sort=False):
            others = [] if target == PUBLISHED_TARGET else ["published_relative_l2"]
            metrics = group.drop(columns=[*described, *others], errors="ignore")
            cases = [
                {str(name): float(value) for name, value in row.items()} for row in metrics.to_dict("records")
            ]
            result[str(target)][str(split)] = {"cases": len(cases), **summarize(cases)}
    return result


def evaluate_and_report(run: Run, store: Dataset, *, quiet: bool) -> None:
    """Score a finished run, write what `evaluate` does, and print it unless `quiet`."""
    metrics = evaluate(run, store, quiet=quiet)
    if quiet:
        return
    which = "" if run.epoch is None else f" of the weights of epoch {run.epoch}"
    print(f"\nmean over cases{which}:")
    print("\n".join(table(metrics)))
    if not len(store.val) and not len(store.test):
        print("This is the error on the training cases themselves: the store has no others.")
    print(f"\nrun in {run.path}; look at it with: lpbf-view {run.path}")


def evaluate(run: Run, store: Dataset, *, quiet: bool) -> dict[str, Any]:
    """Score a run and write ``case_metrics.csv`` and ``metrics.json``; returns the latter."""
    scores = case_scores(run, store, quiet=quiet)
    files.write_text(run.path / files.CASE_METRICS, scores.to_csv(index=False))
    metrics = {"epoch": run.epoch, "targets": summary(scores)}
    files.write_json(run.path / files.METRICS, metrics)
    return metrics


COLUMNS = {
    "relative_l2": "relative L2",
    "r2": "R2",
    "mean_absolute_error": "MAE",
    "p95_absolute_error": "P95 error",
    "max_absolute_error": "max error",
    "published_relative_l2": "published rel. L2",
}
"""Headings of the metrics in `table`."""


def table(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of the means over cases."""
    widths = {name: max(len(heading), 8) + 2 for name, heading in COLUMNS.items()}
    headings = "".join(f"{heading:>{widths[name]}}" for name, heading in COLUMNS.items())
    yield f"{'target':<24}{'split':<6}{'cases':>6}{headings}"
    for target, of_target in metrics["targets"].items():
        label = f"{target} [{of_target['unit']}]"
        for split in (split for split in SPLITS if split in of_target):
            mean = of_target[split]["mean"]
            cells = "".join(
                f"{mean[name]:>{width}.4f}" if name in mean else " " * width for name, width in widths.items()
            )
            yield f"{label:<24}{split:<6}{of_target[split]['cases']:>6}{cells}"
