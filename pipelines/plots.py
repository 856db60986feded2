"""Plots of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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
    for name, label in (("train_loss", "training"), ("val_loss", "validation (averaged weights)")):
        if history and name in history[0]:
            axes.plot(epochs, [row[name] for row in history], label=label)
    axes.set(xlabel="epoch", ylabel="relative L2 loss, standardised targets", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
