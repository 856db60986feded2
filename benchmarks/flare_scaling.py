"""Time and memory of one mixing layer over the number of nodes: FLARE against what it replaces.

Forward and backward pass of one layer of 128 channels and 8 heads on one case, the setting of the
scaling figure of arXiv 2508.12594, for meshes of 10^3 to 10^6 nodes and 64 to 2048 latent tokens
(slices, in physics attention).  On a GPU where there is one, timed by its events, else on the CPU.
On the CPU the defaults stop at 10^5 nodes and 512 latent tokens; ``--full`` goes on:

    python benchmarks/flare_scaling.py -o out/flare_scaling
    python benchmarks/flare_scaling.py -o out/flare_scaling --dtype bfloat16 --full

Writes ``scaling.csv``, a row a measurement, and ``scaling.png``, and prints the exponents fitted to
the times.  Each measurement has a process of its own, since the peak of a process never falls.
Times are the shortest of the repeats, the least disturbed by other work.  On a CPU that others use as
well, ``--processor-time`` with ``OMP_NUM_THREADS=1`` counts the time on the processor alone.

The C library of Linux returns arrays of more than 32 MiB to the system as they are freed, and getting
them back page by page costs FLARE on 10^5 nodes a third of its time: an exponent of 1.16 in the place
of 1.02.  ``MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592`` in the environment
keeps them, as the allocator of a GPU does; the peak grows instead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scaling_layers import LAYERS
from scaling_measure import Measurement, Setting, measure

FULL_NODES = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FULL_LATENTS = (64, 128, 256, 512, 1024, 2048)
CPU_NODES = FULL_NODES[:5]
CPU_LATENTS = (64, 128, 512)
FIT_FROM = 10_000
"""Smallest mesh that the exponents are fitted to: below, fixed costs show."""

REFERENCE_LATENTS = 128
"""Latent tokens at which the figure compares layers."""


def measure_all(options: argparse.Namespace) -> pd.DataFrame:
    """Measure each layer on growing meshes, a row each: layer, latents, and what `Measurement` holds.

    The table is written after each series, so that an interrupted run leaves what it measured.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame()
    for layer in options.layers:
        for latents in options.latents if LAYERS[layer].has_latents else [0]:
            series = pd.DataFrame(measure_series(layer, latents, options))
            series.insert(0, "layer", layer)
            series.insert(1, "latents", latents)
            table = pd.concat([table, series], ignore_index=True)
            table.to_csv(options.output / "scaling.csv", index=False)
    return table


def measure_series(layer: str, latents: int, options: argparse.Namespace) -> list[Measurement]:
    """Measure one layer on growing meshes, until one takes too long or would not fit."""
    setting = Setting(options.device, options.dtype, options.repeats, options.processor_time)
    series: list[Measurement] = []
    for nodes in sorted(options.nodes):
        line = f"{layer:10} {latents:7d} {nodes:9d}"
        if series and _exceeds(series[-1], nodes, options):
            print(line, " left out: too long, or too much memory", flush=True)
            break
        with _fresh_process() as process:
            result = process.submit(measure, layer, latents, nodes, setting).result()
        if result is None:
            print(line, " does not fit into memory", flush=True)
            break
        series.append(result)
        milliseconds = f"{1e3 * result.forward_s:11.2f} {1e3 * result.backward_s:12.2f}"
        print(line, milliseconds, f"{result.peak_bytes / 2**20:10.0f}", flush=True)
    return series


def _fresh_process() -> ProcessPoolExecutor:
    # A fork server has torch imported and has run none of it: children start quickly and clean.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["torch", "scaling_measure"])
    return ProcessPoolExecutor(1, mp_context=context)


def _exceeds(last: Measurement, nodes: int, options: argparse.Namespace) -> bool:
    """Tell whether a mesh would exceed the limits, if costs grew in proportion to the nodes."""
    growth = nodes / last.nodes
    return (
        growth * (last.forward_s + last.backward_s) > options.longest_step
        or growth * last.peak_bytes > options.memory_gib * 2**30
    )


def exponents(table: pd.DataFrame, fit_from: int = FIT_FROM) -> pd.Series:
    """Slope of log step time over log nodes, by least squares; for each layer and number of latents.

    Parameters
    ----------
    table : DataFrame
        As `measure_all` returns it.
    fit_from : int
        Smallest mesh taken into account.

    Returns
    -------
    Series
        NaN where fewer than two meshes are left.
    """
    fitted = {}
    for key, series in table.groupby(["layer", "latents"], sort=False):
        tail = series[series["nodes"] >= fit_from]
        seconds = tail["forward_s"] + tail["backward_s"]
        slope = np.polyfit(np.log(tail["nodes"]), np.log(seconds), 1)[0] if len(tail) > 1 else np.nan
        fitted[key] = slope
    return pd.Series(fitted, name="exponent", dtype=float).rename_axis(["layer", "latents"])


def figure_of(table: pd.DataFrame, title: str) -> Figure:
    """Draw step time and peak memory over the nodes: each layer, and FLARE for each number of latents."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    fitted = exponents(table).to_dict()
    layers = list(table["layer"].unique())
    for (layer, latents), series in table.groupby(["layer", "latents"], sort=False):
        offered = sorted(table.loc[table["layer"] == layer, "latents"].unique())
        reference = REFERENCE_LATENTS if REFERENCE_LATENTS in offered else offered[0]
        if layer != "FLARE" and latents != reference:
            continue
        style = {
            "color": mpl.colormaps["tab10"](layers.index(layer)),
            "alpha": 1.0 if latents == reference else 0.35,
            "marker": "o" if latents == reference else ".",
        }
        name = f"{layer}, {latents}" if latents else layer
        slope = fitted[layer, latents]
        label = f"{name} ($N^{{{slope:.2f}}}$)" if np.isfinite(slope) else name
        milliseconds = 1e3 * (series["forward_s"] + series["backward_s"])
        time_axes.loglog(series["nodes"], milliseconds, label=label, **style)
        memory_axes.loglog(series["nodes"], series["peak_bytes"] / 2**20, **style)
    time_axes.set(xlabel="nodes", ylabel="forward and backward pass [ms]")
    memory_axes.set(xlabel="nodes", ylabel="peak memory [MiB]")
    for axes in (time_axes, memory_axes):
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.legend(title="layer, latent tokens", loc="outside right upper")
    figure.suptitle(title)
    return figure


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command, with the defaults that suit the device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/flare_scaling"), help="folder")
    parser.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--nodes", type=int, nargs="+")
    parser.add_argument("--latents", type=int, nargs="+")
    parser.add_argument("--full", action="store_true", help="all sizes, on a CPU as well")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="cuda where there is one")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true", help="on a CPU, of all threads together")
    parser.add_argument("--longest-step", type=float, help="seconds; larger meshes are left out")
    parser.add_argument("--memory-gib", type=float, help="larger meshes are left out")
    options = parser.parse_args(arguments)
    options.device = options.device or ("cuda" if torch.cuda.device_count() else "cpu")
    full = options.full or options.device == "cuda"
    options.nodes = options.nodes or (FULL_NODES if full else CPU_NODES)
    options.latents = options.latents or (FULL_LATENTS if full else CPU_LATENTS)
    options.longest_step = options.longest_step or (100.0 if full else 6.0)
    options.memory_gib = options.memory_gib or (np.inf if options.device == "cuda" else 8.0)
    return options


def main() -> None:
    """Measure, write the table and the figure, and print the exponents."""
    options = parse_options()
    if options.device == "cuda":
        device = torch.cuda.get_device_name()
    else:
        device = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    setting = f"{device}, {options.dtype}, torch {torch.__version__}"
    print(setting)
    print(f"{'layer':10} {'latents':>7} {'nodes':>9} {'forward ms':>11} {'backward ms':>12} {'peak MiB':>10}")
    table = measure_all(options)
    figure_of(table, setting).savefig(options.output / "scaling.png", dpi=150)
    print(f"\ntime grows as nodes to the power of (from {FIT_FROM} nodes on)")
    print(exponents(table).round(3).to_string())


if __name__ == "__main__":
    main()
