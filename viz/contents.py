"""What is seen of a part, worked out without drawing: where nodes lie, their numbers, and what is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from viz.annotations import deformation_label, with_units
from viz.colors import error_scale, value_scale
from viz.subjects.base import NO_COMPONENT, SubjectError
from viz.warp import automatic_warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from viz.colors import ColorScale
    from viz.subjects.base import Part
    from viz.warp import Warp

CutAxis: TypeAlias = Literal["", "x", "y", "z"]
CUT_AXES: tuple[CutAxis, ...] = get_args(CutAxis)


@dataclass(frozen=True)
class Look:
    """How a part is looked at.

    Parameters
    ----------
    field : str
        Field that colours it; empty for the bare shape.
    component : str
        Of the field, or `NO_COMPONENT`.
    warp : float or "auto"
        Exaggeration of the displacement.
    cut_axis : {"", "x", "y", "z"}
        Direction along which the near side of the part is cut away; empty for the whole part.
    cut_at : float
        Where the cut lies between the far side of the part, 0, and the near one, 1.
    edges : bool
        Whether edges of cells are drawn.
    compare : bool
        Whether prediction and error stand beside the truth.
    """

    field: str = ""
    component: str = NO_COMPONENT
    warp: Warp = "auto"
    cut_axis: CutAxis = ""
    cut_at: float = 0.5
    edges: bool = True
    compare: bool = False


class Scales(NamedTuple):
    """Colours that several pictures share.

    Parameters
    ----------
    values : ColorScale
        Of truth and prediction.
    errors : ColorScale, optional
        Of the error, where it is compared.
    """

    values: ColorScale
    errors: ColorScale | None = None


@dataclass(frozen=True, eq=False)
class Colouring:
    """Numbers on the nodes and their colours.

    Parameters
    ----------
    values : (n,) float32 ndarray
        All finite.
    scale : ColorScale
        Their colours.
    title : str
        Of the colour bar, with units.
    """

    values: NDArray[np.float32]
    scale: ColorScale
    title: str


@dataclass(frozen=True, eq=False)
class Content:
    """What one panel shows.

    Parameters
    ----------
    points : (n, 3) float32 ndarray
        Where the nodes are drawn, mm.
    heading : str
        First line above.
    caption : str
        Second line above.
    note : str
        Line below.
    colouring : Colouring, optional
        None for the bare shape.
    """

    points: NDArray[np.float32]
    heading: str
    caption: str = ""
    note: str = ""
    colouring: Colouring | None = None


def warp_factor(part: Part, look: Look) -> float:
    """Factor that the displacement of a part is drawn with; 0 where it has none."""
    displacement = part.displacement
    if displacement is None:
        return 0.0
    if look.warp == "auto":
        return automatic_warp(np.asarray(part.mesh.points), _finite(displacement, "displacement", part))
    return look.warp


def panel_contents(part: Part, look: Look, scales: Scales | None = None) -> list[Content]:
    """Work out the one panel of a part, or its truth, prediction and error.

    Parameters
    ----------
    part : Part
        The part.
    look : Look
        How it is looked at.
    scales : Scales, optional
        Its colours; by default such as fit the part.

    Raises
    ------
    SubjectError
        If the part lacks the field, or a number that is to be drawn is not finite.
    """
    factor = warp_factor(part, look)
    points = _moved(part, part.displacement, factor)
    note = deformation_label(factor) if part.displacement is not None else ""
    if not look.field:
        return [Content(points, part.full_title, note=note)]
    if look.compare:
        return _comparison(part, look, points, factor, scales)
    field = part.field(look.field)
    values = part.scalar(look.field, look.component)
    label = field.label(look.component)
    values = _finite(values, label, part)
    scale = scales.values if scales else value_scale(values, signed=bool(look.component))
    colouring = Colouring(values, scale, with_units(label, field.units))
    return [Content(points, f"{label}, {part.full_title}", note=note, colouring=colouring)]


def _comparison(
    part: Part, look: Look, points: NDArray[np.float32], factor: float, scales: Scales | None
) -> list[Content]:
    field = part.field(look.field)
    label, name = field.label(look.component), field.scalar_name(look.component)
    if name not in part.prediction:
        known = ", ".join(part.prediction) or "nothing"
        raise SubjectError(f"{name} cannot be compared: what is predicted is {known}")
    truth = _finite(part.scalar(look.field, look.component), label, part)
    predicted = _finite(part.prediction[name].astype(np.float32, copy=False), f"predicted {label}", part)
    error = predicted - truth
    if scales is None:
        scales = Scales(value_scale(truth, predicted, signed=bool(look.component)))
    scale, scale_of_error = scales.values, scales.errors or error_scale(error)
    title, title_of_error = (with_units(text, field.units) for text in (label, f"error of {label}"))
    largest = f"largest error {np.abs(error).max():.2g} {field.units}".rstrip()
    # One line over the middle has no room for the step too.
    headings = (label, part.title, part.step) if part.step else ("", f"{label}, {part.title}", "")
    return [
        Content(points, headings[0], "truth", deformation_label(factor), Colouring(truth, scale, title)),
        Content(
            _moved(part, _predicted_displacement(part), factor),
            headings[1],
            "prediction",
            _relative_error(truth, error),
            Colouring(predicted, scale, title),
        ),
        Content(
            points,
            headings[2],
            "prediction \N{MINUS SIGN} truth",
            largest,
            Colouring(error, scale_of_error, title_of_error),
        ),
    ]


def _moved(part: Part, displacement: NDArray[np.float32] | None, factor: float) -> NDArray[np.float32]:
    points = np.asarray(part.mesh.points, np.float32)
    if displacement is None or factor == 0.0:
        return points
    return points + np.float32(factor) * _finite(displacement, "displacement", part)


def _predicted_displacement(part: Part) -> NDArray[np.float32]:
    """Displacement as far as it is predicted, zero in the other components."""
    still = np.zeros(part.node_count, np.float32)
    return np.column_stack([part.prediction.get(f"displacement_{axis}", still) for axis in "xyz"]).astype(
        np.float32, copy=False
    )


def _relative_error(truth: NDArray[np.float32], error: NDArray[np.float32]) -> str:
    norm = float(np.linalg.norm(truth))
    return f"relative L2 error {float(np.linalg.norm(error)) / norm:.1%}" if norm else ""


def _finite(values: NDArray[np.float32], what: str, part: Part) -> NDArray[np.float32]:
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise SubjectError(
            f"{what} of {part.full_title} cannot be drawn: {bad} of {values.size} values are not finite"
        )
    return values
