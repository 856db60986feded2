"""The plot of a training, and what all plots of a run share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, LogLocator, NullFormatter

from lpbf_dataset.report.text import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_NARROW, _WIDE = 8.0, 300.0
"""Ratios of largest to smallest value below which a logarithmic axis has ticks like a linear one, and above
which it has them at powers of ten alone."""


def save_loss_plot(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw training and validation loss over the epochs.

    Parameters
    ----------
    history : sequence of mapping
        One row an epoch with ``epoch``, ``train_loss`` and, if there was validation, ``val_loss``.
    path : Path
        PNG to write.
    """
    # A figure of its own, without pyplot, needs no display and leaves no global state.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    # A single epoch gives no line.
    marker = "o" if len(epochs) == 1 else ""
    for name, label in (("train_loss", "training"), ("val_loss", "validation (averaged weights)")):
        if history and name in history[0]:
            axes.plot(epochs, [row[name] for row in history], marker=marker, label=label)
    axes.set(xlabel="epoch", ylabel="relative L2 loss, standardised targets")
    logarithmic(
        axes, "y", [row[name] for row in history for name in ("train_loss", "val_loss") if name in row]
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def logarithmic(axes: Axes, which: Literal["x", "y"], values: ArrayLike) -> None:
    """Make an axis logarithmic, with plain numbers that leave each other room.

    Parameters
    ----------
    axes : Axes
        Whose.
    which : {"x", "y"}
        Of its two axes.
    values : array of float
        What it shows; it stays linear if none is positive and finite.
    """
    shown = np.asarray(values, dtype=np.float64)
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if not len(shown):
        return
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    ratio = shown.max() / shown.min()
    if ratio < _NARROW:
        axis.set_major_locator(AutoLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < _WIDE else (1,)))
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_formatter(NullFormatter())
