"""Panels in rows and columns, between a row for the heading and one for the colour bar."""

from __future__ import annotations

import pyvista as pv


def framed_grid(
    rows: int, columns: int, heights: tuple[int, int, int], size: tuple[int, int], *, off_screen: bool
) -> pv.Plotter:
    """Open a scene of panels.

    Parameters
    ----------
    rows, columns : int
        Of panels; they are rows 1 to `rows` of the plotter, the heading is row 0, the bar the last.
    heights : (int, int, int)
        Of the heading, of a row of panels, and of the bar, relative to each other.
    size : (int, int)
        Width and height in pixels.
    off_screen : bool
        Draw into memory, or else into a window.
    """
    heading, panel, bar = heights
    whole_rows = [(0, slice(None)), (rows + 1, slice(None))]
    return pv.Plotter(
        shape=(rows + 2, columns),
        row_weights=[heading, *(rows * [panel]), bar],
        groups=whole_rows,  # type: ignore[arg-type]
        border=False,
        window_size=list(size),
        off_screen=off_screen,
    )
