"""Truth, prediction and error of one field, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyvista as pv

from viz.annotations import (
    FAINT_INK,
    HEADING_SIZE,
    add_bar,
    add_text,
    case_label,
    deformation_label,
    field_label,
    field_units,
    with_units,
)
from viz.checks import require_finite
from viz.colors import error_scale, field_scale
from viz.scenes import add_surface, finish_panel
from viz.warp import deformed_surface, hexahedra, warp_factor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from viz.colors import ColorScale
    from viz.cuts import Mesh
    from viz.warp import Warp

DEFAULT_SIZE = (1920, 800)

# The scene is a grid of panels: a heading across, the three surfaces, and under them one colour bar
# across truth and prediction and another for the error.
_HEADING, _SURFACES, _BARS = range(3)
_ROW_HEIGHTS = (11, 68, 21)
_TRUTH, _PREDICTION, _ERROR = range(3)


class _Panel(NamedTuple):
    """What one column shows."""

    caption: str
    values: NDArray[np.floating]
    displacement: NDArray[np.floating]
    scale: ColorScale


def comparison_scene(
    case: Case,
    field: str,
    prediction: Mapping[str, NDArray[np.floating]],
    *,
    captions: tuple[str, str] = ("truth", "prediction"),
    warp: Warp = "auto",
    size: tuple[int, int] = DEFAULT_SIZE,
    off_screen: bool = True,
) -> pv.Plotter:
    """Draw a predicted field beside the true one, and the error beside both.

    Truth and prediction share one colour range, and the three cameras move as one.  Truth and
    prediction are each deformed by their own displacement, as far as it is predicted: by its z
    component alone where that is all there is.  The error is drawn on the true shape.

    Parameters
    ----------
    case : Case
        The part, with the true fields.
    field : str
        Scalar field or component to compare; one of the names in `prediction`.
    prediction : mapping of str to (nodes,) float ndarray
        Predicted scalar fields and components, in the units of the fields.
    captions : (str, str), optional
        What the two are called.
    warp : float or "auto", optional
        Factor that exaggerates the displacement; 0 draws the undeformed part.
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
    KeyError
        If the field is not in the case, or not predicted.
    SceneError
        If truth or prediction is not finite everywhere.
    """
    truth = {name: case.scalar(name) for name in prediction}
    for name in prediction:
        require_finite(truth[name], f"{name} of case {case.case_id}")
        require_finite(prediction[name], f"the predicted {name} of case {case.case_id}")
    true_displacement, predicted_displacement = _displacement(truth), _displacement(prediction)
    factor = warp_factor(case.points, true_displacement, warp)
    error = prediction[field] - truth[field]
    value_scale = field_scale(field, truth[field], prediction[field])
    panels = (
        _Panel(captions[0], truth[field], true_displacement, value_scale),
        _Panel(captions[1], prediction[field], predicted_displacement, value_scale),
        _Panel(f"{captions[1]} \N{MINUS SIGN} {captions[0]}", error, true_displacement, error_scale(error)),
    )
    plotter = _panel_grid(size, off_screen=off_screen)
    mappers = _draw_panels(plotter, hexahedra(case), panels, factor)

    label, units = field_label(field), field_units(field)
    plotter.subplot(_HEADING, 0)
    add_text(plotter, f"{label}, {case_label(case)}", (0.5, 0.45), size=HEADING_SIZE)
    plotter.subplot(_BARS, _TRUTH)
    add_bar(plotter, mappers[_TRUTH], with_units(label, units), (0.25, 0.4, 0.5, 0.3))
    add_text(plotter, _deformed_by(prediction, factor), (0.5, 0.12), color=FAINT_INK)
    plotter.subplot(_BARS, _ERROR)
    add_bar(plotter, mappers[_ERROR], with_units(f"error of {label}", units), (0.1, 0.4, 0.8, 0.3))
    add_text(plotter, _error_summary(truth[field], error, units), (0.5, 0.12), color=FAINT_INK)
    return plotter


def _draw_panels(
    plotter: pv.Plotter, mesh: Mesh, panels: Sequence[_Panel], factor: float
) -> list[pv.DataSetMapper]:
    """Draw the surfaces, each in its column, and make their cameras one."""
    surfaces = [deformed_surface(mesh, panel.values, panel.displacement, factor) for panel in panels]
    seen = np.concatenate([surface.points for surface in surfaces])
    mappers = []
    for column, (panel, surface) in enumerate(zip(panels, surfaces, strict=True)):
        plotter.subplot(_SURFACES, column)
        mappers.append(add_surface(plotter, surface, panel.scale).mapper)
        add_text(plotter, panel.caption, (0.5, 0.95))
        finish_panel(plotter, seen, (0.04, 0.06, 0.96, 0.90))
    plotter.link_views([plotter.renderers.loc_to_index((_SURFACES, column)) for column in range(3)])
    return mappers


def _panel_grid(size: tuple[int, int], *, off_screen: bool) -> pv.Plotter:
    return pv.Plotter(
        shape=(3, 3),
        row_weights=list(_ROW_HEIGHTS),
        groups=[(_HEADING, slice(None)), (_BARS, [_TRUTH, _PREDICTION])],  # type: ignore[list-item]
        border=False,
        window_size=list(size),
        off_screen=off_screen,
    )


def _displacement(fields: Mapping[str, NDArray[np.floating]]) -> NDArray[np.floating]:
    """Displacement vectors, zero in the components that are not among the fields."""
    still = np.zeros_like(next(iter(fields.values())))
    return np.column_stack([fields.get(f"displacement_{axis}", still) for axis in "xyz"])


def _deformed_by(prediction: Mapping[str, NDArray[np.floating]], factor: float) -> str:
    """Which displacement the drawn shapes show, and how much it is exaggerated."""
    axes = [axis for axis in "xyz" if f"displacement_{axis}" in prediction]
    if not axes or factor == 0.0:
        return "undeformed"
    return deformation_label(factor) + ("" if len(axes) == 3 else f" (in {' and '.join(axes)} only)")


def _error_summary(truth: NDArray[np.floating], error: NDArray[np.floating], units: str) -> str:
    """Relative L2 norm, where the truth has one, and the largest error."""
    norm = float(np.linalg.norm(truth))
    relative = f"relative L2 error {float(np.linalg.norm(error)) / norm:.1%}, " if norm else ""
    return f"{relative}largest {float(np.abs(error).max()):.2g} {units}".rstrip()
