"""What follows a training or a fit: metrics, plots, examples, and a page with all of them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from pipelines.runs import files
from pipelines.runs.environment import store_fingerprint
from pipelines.scoring.case_metrics import evaluation_key, write_case_metrics
from pipelines.scoring.error_plots import save_error_plots
from pipelines.scoring.evaluation import run_scores, summary, table
from pipelines.scoring.examples import choose_examples, write_examples
from pipelines.scoring.node_sample import NodeSample
from pipelines.scoring.pictures import draw
from pipelines.scoring.report import report
from pipelines.steps.plots import has_steps, save_step_plot
from pipelines.training.tensorboard import write_final_metrics

if TYPE_CHECKING:
    import pandas as pd

    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.run import Run


def finish(run: Run, store: Dataset, *, examples: int, quiet: bool) -> None:
    """Evaluate a run, complete its folder, and print the metrics.

    ``metrics.json``, which tells a finished run, is written last: whatever interrupts this is made up for
    by ``--resume``.

    Parameters
    ----------
    run : Run
        Trained or fitted.
    store : Dataset
        Every case of its store.
    examples : int
        Cases whose predictions are kept as files and pictures.
    quiet : bool
        Print nothing.
    """
    metrics = complete_folder(run, store, examples=examples, quiet=quiet)
    if not quiet:
        _print(run, store, metrics)


def complete_folder(run: Run, store: Dataset, *, examples: int, quiet: bool) -> dict[str, Any]:
    """Write everything but what the training itself has written; returns the metrics."""
    sample = NodeSample(run.targets, len(store))
    scores = run_scores(run, store, quiet=quiet, observe=sample)
    key = evaluation_key(run.path, store_fingerprint(store))
    write_case_metrics(run.path / files.CASE_METRICS, scores, key)
    metrics = {"epoch": run.epoch, "targets": summary(scores)}
    write_final_metrics(run.path, metrics, _steps(run))
    _plot(run, scores, sample)
    chosen = choose_examples(scores, examples)
    draw(write_examples(run, store, chosen))
    environment = json.loads((run.path / files.ENVIRONMENT).read_text(encoding="utf-8"))
    files.write_text(run.path / files.REPORT, report(run, metrics, environment, chosen))
    files.write_json(run.path / files.METRICS, metrics)
    return metrics


def _plot(run: Run, scores: pd.DataFrame, sample: NodeSample) -> None:
    (run.path / files.PLOTS).mkdir(exist_ok=True)
    if has_steps(scores):
        save_step_plot(run.path / files.STEPS_PLOT, scores, run.targets)
    for target in run.targets:
        of_target = scores[(scores["target"] == target) & (scores["region"] == "all")]
        path = run.path / files.plot_of(target)
        save_error_plots(path, of_target, sample.nodes(target), sample.peaks(target))


def _steps(run: Run) -> int:
    """Count the steps that the training took; none for a floor."""
    path = run.path / files.HISTORY
    if not path.is_file():
        return 0
    with path.open(newline="", encoding="utf-8") as file:
        return max((int(float(row["step"])) for row in csv.DictReader(file)), default=0)


def _print(run: Run, store: Dataset, metrics: dict[str, Any]) -> None:
    which = "" if run.epoch is None else f" of the weights of epoch {run.epoch}"
    print(f"\nmean over cases{which}:")
    print("\n".join(table(metrics)))
    if not len(store.val) and not len(store.test):
        print("This is the error on the training cases themselves: the store has no others.")
    print(f"\nrun in {run.path}: open {run.path / files.REPORT}, or look at it with: lpbf-view {run.path}")
