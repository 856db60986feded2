"""``lpbf-info``: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

import lpbf_dataset as lpbf
from lpbf_dataset.curation.histories import Histories
from lpbf_dataset.schema import SPLITS, STATISTICS, STORED_VARIABLES, history_variables
from pipelines.console import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpbf_dataset.store.reader import Dataset


def describe(store: Dataset) -> Iterator[str]:
    """Yield the lines of a summary of a store."""
    attributes = store.attributes
    producer = attributes["producer"]
    yield (
        f"{attributes['layout']} layout {attributes['layout_version']}, "
        f"written by {producer['name']} {producer['version']}"
    )
    splits = ", ".join(f"{len(getattr(store, split))} {split}" for split in SPLITS)
    yield f"cases: {len(store)} ({splits})"
    outcome = store.catalog()["status"].value_counts()
    yield history(store)
    yield "catalog: " + ", ".join(f"{count} {status}" for status, count in outcome.items())
    yield f"licence: {attributes['licence']}"
    yield f"cite: {attributes['citation']}"

    yield ""
    of_history = history_variables(store.history_fields) if store.has_history else ()
    names = (*store.variables, *of_history)
    width = max(32, 2 + max(map(len, names)))
    yield f"{'variable':<{width}}{'dims':<14}{'dtype':<9}{'unit':<9}meaning"
    for name in names:
        variable = STORED_VARIABLES[name]
        dims = " x ".join([variable.dim, *map(str, variable.row_shape)])
        yield f"{name:<{width}}{dims:<14}{variable.dtype:<9}{variable.units:<9}{variable.long_name}"

    yield ""
    yield f"{'statistic':<24}{'unit':<7}{'min':>12}{'mean':>12}{'max':>12}"
    table = store.case_table
    for name, statistic in STATISTICS.items():
        if f"case_{name}" not in table:
            continue
        values = table[f"case_{name}"]
        low, mean, high = values.min(), values.mean(), values.max()
        yield f"{name:<24}{statistic.units:<7}{low:>12.5g}{mean:>12.5g}{high:>12.5g}"


def history(store: Dataset) -> str:
    """Tell whether the store holds the states of its cases over the build, of how many, and how exactly."""
    histories = Histories.of_store(store)
    if histories is not None:
        return f"history: {histories}"
    in_vain = (store.attributes.get("build") or {}).get("steps") == "all"
    why = "its sources know no others" if in_vain else "lpbf-build --steps all keeps every step"
    return f"history: none, final states alone ({why})"


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    parser = ArgumentParser(prog="lpbf-info", description="Summarise a dataset store.")
    parser.add_argument("store", type=str, help="path or URL of the store")
    options = parser.parse_args(arguments)
    print("\n".join(describe(lpbf.open_dataset(options.store))))
    return 0


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-info``."""
    run_command(run, arguments)
