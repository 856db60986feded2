"""How a model mixes the nodes of a part: eigenvalue decay, effective ranks, and where a latent token reads.

The numbers come as arrays, from `flare.spectrum` for the FLARE family.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from viz.annotations import HEADING_SIZE, add_bar, add_text, case_label
from viz.checks import require_finite
from viz.colors import UNSIGNED_MAP, ColorScale, round_up
from viz.grid import framed_grid
from viz.scenes import DEFAULT_SIZE, add_surface, finish_panel
from viz.warp import deformed_surface, hexahedra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

SMALLEST_EIGENVALUE = 1e-12
"""Lower end of the axis: in double precision, much smaller eigenvalues of averaging are rounding."""

PANELS_PER_ROW = 4
PANEL_INCHES = (2.6, 2.3)

MAPS_PER_ROW = 3
HEADING_HEIGHT, MAPS_HEIGHT, BAR_HEIGHT = 8, 77, 15
"""Per cent of the height of a picture of routing maps."""

HEAD_SPREAD = 0.4
"""Width over which the heads of a block stand side by side, in blocks: heads alike would hide each other."""


def spectra_figure(spectra: Sequence[NDArray[np.floating]], *, title: str = "") -> Figure:
    """Draw the eigenvalues of each head from the largest on, one panel a block.

    Parameters
    ----------
    spectra : sequence of (heads, latent tokens) float ndarray
        Eigenvalues of the mixing matrices of each block, in [0, 1], largest first.
    title : str, optional
        Heading: which model and case.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``savefig`` writes the picture.
    """
    columns = min(len(spectra), PANELS_PER_ROW)
    rows = math.ceil(len(spectra) / columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(columns * width + 1.2, rows * height + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    most_heads = max(len(spectrum_HM) for spectrum_HM in spectra)
    for block, (axes, spectrum_HM) in enumerate(zip(panels, spectra, strict=False), start=1):
        for head, eigenvalues_M in enumerate(spectrum_HM, start=1):
            color = _head_color(head, most_heads)
            ranks = np.arange(1, len(eigenvalues_M) + 1)
            drawn = np.where(eigenvalues_M > SMALLEST_EIGENVALUE, eigenvalues_M, np.nan)
            axes.plot(ranks, drawn, color=color, linewidth=1.2, label=f"{head}")
        axes.set_title(f"block {block}", fontsize="medium")
        axes.set(yscale="log", ylim=(SMALLEST_EIGENVALUE, 2.0))
        axes.grid(visible=True, alpha=0.3)
    for axes in panels[len(spectra) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="head", loc="outside right center")
    figure.supxlabel("index")
    figure.supylabel("eigenvalue")
    figure.suptitle(title)
    return figure


def effective_rank_figure(ranks_LH: NDArray[np.floating], *, num_latents: int, title: str = "") -> Figure:
    """Draw the effective rank of each head over the blocks, with the mean over heads.

    Parameters
    ----------
    ranks_LH : (blocks, heads) float ndarray
        Effective ranks, between 1 and `num_latents`.
    num_latents : int
        Latent tokens of a head: the largest rank that there can be.
    title : str, optional
        Heading: which model and case.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``savefig`` writes the picture.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    blocks = np.arange(1, len(ranks_LH) + 1)
    heads = ranks_LH.shape[1]
    shifts = HEAD_SPREAD * (np.arange(heads) - (heads - 1) / 2) / heads
    for head, (shift, ranks_L) in enumerate(zip(shifts, ranks_LH.T, strict=True), start=1):
        axes.plot(
            blocks + shift, ranks_L, "o", color=_head_color(head, heads), alpha=0.8, label=f"head {head}"
        )
    axes.plot(blocks, ranks_LH.mean(axis=1), color="black", linewidth=1.5, label="mean")
    axes.axhline(num_latents, color="gray", linestyle="--", label="latent tokens")
    axes.set(xlabel="block", ylabel="effective rank", xticks=blocks, title=title)
    axes.set_yscale("log", base=2)
    axes.set_ylim(1.0, 1.2 * num_latents)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(visible=True, axis="y", alpha=0.3)
    figure.legend(loc="outside right center")
    return figure


def routing_scene(
    case: Case,
    weights: Mapping[str, NDArray[np.floating]],
    heading: str,
    *,
    size: tuple[int, int] = DEFAULT_SIZE,
    off_screen: bool = True,
) -> pv.Plotter:
    """Draw the weights of the nodes in some latent tokens on the undeformed part, one panel a token.

    The panels share one colour range, and their cameras move as one.

    Parameters
    ----------
    case : Case
        The part; its points and cells are used.
    weights : mapping of str to (nodes,) float ndarray
        By caption, such as ``"latent token 17"``; not negative.  Drawn relative to their mean, so that
        1 is what equal weights would give and parts of different size compare.
    heading : str
        What is drawn, such as ``"block 1, head 3"``; the case is added.
    size : (int, int), optional
        Width and height in pixels.
    off_screen : bool, optional
        Draw into memory, or else into a window.

    Returns
    -------
    pyvista.Plotter
        Its ``show`` opens the window, its ``screenshot`` gives the image.

    Raises
    ------
    SceneError
        If the weights are not finite everywhere.
    """
    for caption, weights_N in weights.items():
        require_finite(weights_N, f"{heading}, {caption} of case {case.case_id}")
    relative = {caption: np.asarray(w / w.mean(), np.float32) for caption, w in weights.items()}
    largest = max(float(values.max()) for values in relative.values())
    scale = ColorScale(UNSIGNED_MAP, (0.0, round_up(largest)))

    columns = min(len(relative), MAPS_PER_ROW)
    rows = math.ceil(len(relative) / columns)
    heights = rows * HEADING_HEIGHT, MAPS_HEIGHT, rows * BAR_HEIGHT
    plotter = framed_grid(rows, columns, heights, size, off_screen=off_screen)
    panels = []
    for index, (caption, values) in enumerate(relative.items()):
        row, column = divmod(index, columns)
        plotter.subplot(1 + row, column)
        surface = deformed_surface(hexahedra(case), values, np.zeros_like(case.points), 0.0)
        mapper = add_surface(plotter, surface, scale).mapper
        add_text(plotter, caption, (0.5, 0.94))
        finish_panel(plotter, surface.points, (0.06, 0.06, 0.94, 0.88))
        panels.append(plotter.renderers.loc_to_index((1 + row, column)))
    plotter.link_views(panels)
    plotter.subplot(0, 0)
    add_text(plotter, f"{heading}, {case_label(case)}", (0.5, 0.45), size=HEADING_SIZE)
    plotter.subplot(1 + rows, 0)
    add_bar(plotter, mapper, "weight / mean weight", (0.3, 0.15, 0.4, 0.35))
    return plotter


def _head_color(head: int, heads: int) -> tuple[float, ...]:
    palette = colormaps["tab10" if heads <= 10 else "tab20"]
    return tuple(palette((head - 1) % palette.N))
