"""A case over its build as a figure: how much it distorts, truly and as predicted, and recoater clearance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lpbf_dataset.schema import VARIABLES, component_names, resolve_scalar
from viz.annotations import case_label, field_label, field_units, with_units
from viz.checks import SceneError, finite_scalar, require_finite
from viz.statistics import GROUP_COLORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.schema import StepKind
    from lpbf_dataset.steps import CaseStep

    Prediction = Mapping[str, NDArray[np.floating]]

DISTORTION = "displacement"

_KIND_STYLES: dict[StepKind, tuple[str, str]] = {
    "deposited": ("o", "-"),
    "dwelt": ("s", "--"),
    "cooled": ("D", ""),
    "cut": ("P", ""),
    "removed": ("*", ""),
}
"""Lines while the part grows; single signs for what happens to it at its full height."""

_CLEARANCE = "recoater_clearance"

_NOT_PASSED = 100.0
"""Percent that Netfabb gives as clearance to nodes that no recoater passes over: to all but those on top of a
layer group, and to these too of the last one."""


_HEADROOM = 1.08


class _Place(NamedTuple):
    """A point of a curve."""

    kind: StepKind
    height: float
    value: float


def build_figure(
    case: Case, field: str = DISTORTION, predictions: Iterable[tuple[int, Prediction]] = ()
) -> Figure:
    """Draw the largest distortion against the height of the part over its build.

    Where the history holds the recoater clearance, the smallest of each layer group stands in a second panel.

    Parameters
    ----------
    case : Case
        With its steps; missing ones leave gaps.
    field : str, optional
        What to draw the largest size of instead, as `lpbf_dataset.Case.scalar` names it.
    predictions : iterable of (int, mapping of str to (n,) ndarray), optional
        Position of a step in the history, and predicted scalars on its nodes by their names, among them the
        field or all of its components.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``savefig`` writes the picture.

    Raises
    ------
    SceneError
        If the case has no steps, these have no such field, or a value is not finite.
    StoreError
        If the store is damaged.
    """
    if not case.steps:
        raise SceneError(
            f"case {case.case_id} holds its final state alone; build its store with lpbf-build --steps all"
        )
    true: dict[int, _Place] = {}
    clearances: dict[int, _Place] = {}
    for step in case.steps:
        if step.is_missing:
            continue
        true[step.index] = _Place(step.kind, step.height, _largest(_scalar_of(step, field)))
        clearance = _smallest_clearance(step)
        if clearance is not None:
            clearances.setdefault(step.group, _Place(step.kind, step.height, clearance))
    predicted = [
        true[position]._replace(value=_largest(_predicted(prediction, field)))
        for position, prediction in predictions
    ]
    panels = 2 if clearances else 1
    figure = Figure(figsize=(5 * panels + 2.5, 4.7), layout="constrained")
    distortion, *others = figure.subplots(1, panels, squeeze=False, sharex=True).flat
    _draw_largest(distortion, field, list(true.values()), predicted)
    for axes in others:
        _draw_clearances(axes, list(clearances.values()))
    figure.legend(loc="outside lower center", ncols=4, fontsize="small", columnspacing=1.5)
    missing = len(case.steps) - len(true)
    note = f", {missing} of {len(case.steps)} steps missing" if missing else ""
    figure.suptitle(f"{case_label(case)}{note}")
    return figure


def _scalar_of(step: CaseStep, field: str) -> NDArray[np.floating]:
    variable, _ = resolve_scalar(field)
    if variable not in step.field_names:
        known = ", ".join(step.field_names)
        raise SceneError(f"the steps of case {step.case_id} have no {variable}; they have {known}")
    return finite_scalar(step, field)


def _predicted(prediction: Prediction, field: str) -> NDArray[np.floating]:
    """Return a predicted scalar, or the magnitude of a vector of which all components are predicted."""
    if field not in prediction:
        components = [prediction[f"{field}_{name}"] for name in component_names(VARIABLES[field])]
        values = np.asarray(np.linalg.norm(components, axis=0))
    else:
        values = prediction[field]
    require_finite(values, f"the predicted {field}")
    return values


def _largest(values: NDArray[np.floating]) -> float:
    return float(np.abs(values).max())


def _smallest_clearance(step: CaseStep) -> float | None:
    """Smallest recoater clearance in percent; None where it is not known, or no recoater has passed."""
    if _CLEARANCE not in step.field_names:
        return None
    clearance = finite_scalar(step, _CLEARANCE)
    passed = clearance[clearance != _NOT_PASSED]
    return float(passed.min()) if len(passed) else None


def _draw_largest(axes: Axes, field: str, true: Sequence[_Place], predicted: Sequence[_Place]) -> None:
    kinds = list(dict.fromkeys(place.kind for place in true))
    for color, kind in zip(GROUP_COLORS, kinds, strict=False):
        sign, line = _KIND_STYLES[kind]
        axes.plot(*_curve(true, kind), sign + line, color=color, label=kind)
        if any(place.kind == kind for place in predicted):
            style, name = (f"{sign}:" if line else sign), f"{kind}, predicted"
            axes.plot(*_curve(predicted, kind), style, color=color, markerfacecolor="white", label=name)
    label = "distortion" if field == DISTORTION else field_label(field)
    if resolve_scalar(field)[1] is not None:
        label = f"|{label}|"
    _finish(axes, with_units(f"largest {label}", field_units(field)))
    axes.set_ylim(0.0, _HEADROOM * max(place.value for place in (*true, *predicted)) or None)


def _draw_clearances(axes: Axes, clearances: Sequence[_Place]) -> None:
    heights, values = zip(*((place.height, place.value) for place in clearances), strict=True)
    axes.plot(heights, values, "o-", color=GROUP_COLORS[0])
    axes.axhline(_NOT_PASSED, color="black", linewidth=1, linestyle=":")
    _finish(axes, with_units("smallest recoater clearance", field_units(_CLEARANCE)))


def _finish(axes: Axes, label: str) -> None:
    axes.set(xlabel="build height [mm]", ylabel=label)
    axes.set_xlim(left=0.0)
    axes.grid(visible=True, alpha=0.3)


def _curve(places: Sequence[_Place], kind: StepKind) -> tuple[list[float], list[float]]:
    chosen = [place for place in places if place.kind == kind]
    return [place.height for place in chosen], [place.value for place in chosen]
