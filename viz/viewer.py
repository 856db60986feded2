"""What a viewer of any kind can be asked to do: the state behind a window or a page, without either."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from viz.contents import CUT_AXES, Look, warp_factor
from viz.subjects.base import DISPLACEMENT, NO_COMPONENT, SubjectError, split_scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viz.contents import CutAxis
    from viz.live import LiveScene
    from viz.subjects.base import Field, Part, Subject
    from viz.warp import Warp

MAGNITUDE = "magnitude"
"""What users call the lack of a component of a vector or tensor."""

_VERTICAL = f"{DISPLACEMENT}_z"

_ROOM_TO_WARP = 3.0


class Reading(NamedTuple):
    """What is known at a node: a name with units, and values as text."""

    label: str
    text: str


class Viewer:
    """Holds what is looked at and how, and keeps a scene in step with it.

    A change that cannot be made raises `SubjectError` and leaves everything as it was.

    Parameters
    ----------
    subject : Subject
        What is looked at.
    scene : LiveScene
        Where it is drawn.
    case_name : str, optional
        Case to begin with.
    step : int, optional
        Step to begin with, counted from 0; the last by default.
    look : Look, optional
        How; its field is chosen: the vertical displacement where there is one, or what is predicted.
    """

    def __init__(
        self,
        subject: Subject,
        scene: LiveScene,
        *,
        case_name: str | None = None,
        step: int | None = None,
        look: Look = Look(),  # noqa: B008  (immutable)
    ) -> None:
        self.subject = subject
        self.scene = scene
        self.case_name = subject.first_case if case_name is None else case_name
        self.step = len(subject.step_labels(self.case_name)) - 1 if step is None else step
        self.part = subject.load(self.case_name, self.step)
        self.picked: int | None = None
        name, component = self._default_field(self.part, compare=look.compare)
        self.look = replace(look, field=name, component=component)
        scene.show(self.part, self.look)

    @property
    def step_labels(self) -> Sequence[str]:
        """What the steps of the case are called."""
        return self.subject.step_labels(self.case_name)

    @property
    def can_compare(self) -> bool:
        """Whether there is a model to compare with."""
        return bool(self.subject.predicted)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Fields to choose from: all, or those that are predicted where that is compared."""
        predicted = {split_scalar(name)[0] for name in self.subject.predicted}
        return tuple(
            field.name for field in self.part.fields if not self.look.compare or field.name in predicted
        )

    @property
    def components(self) -> tuple[str, ...]:
        """Components of the field to choose from, the magnitude first; none of a scalar."""
        return self._components(self.look.field, compare=self.look.compare) if self.look.field else ()

    @property
    def warp(self) -> float:
        """Factor that the displacement is drawn with; 0 where there is none."""
        return warp_factor(self.part, self.look)

    @property
    def warp_limit(self) -> float:
        """Largest factor that is worth offering; 0 where nothing can be warped."""
        return _ROOM_TO_WARP * warp_factor(self.part, replace(self.look, warp="auto"))

    def set_case(self, name: str) -> None:
        """Look at another case, at its last step."""
        if name not in self.subject.case_names:
            raise SubjectError(f"{self.subject.name} has no case {name!r}")
        step = len(self.subject.step_labels(name)) - 1
        part = self.subject.load(name, step)
        self._show(part, self._look_at(part))
        self.case_name, self.step = name, step

    def move_case(self, offset: int) -> None:
        """Look at a case so many places further on; after the last comes the first."""
        names = list(self.subject.case_names)
        self.set_case(names[(names.index(self.case_name) + offset) % len(names)])

    def set_step(self, step: int) -> None:
        """Look at another step of the case, counted from 0."""
        if not 0 <= step < len(self.step_labels):
            raise SubjectError(f"case {self.case_name} has no step {step}; it has {len(self.step_labels)}")
        part = self.subject.load(self.case_name, step)
        self._show(part, self._look_at(part), keep_camera=True)
        self.step = step

    def set_field(self, name: str) -> None:
        """Colour by another field; its component stays if it has one of that name."""
        self.part.field(name)
        components = self._components(name, compare=self.look.compare)
        kept = self.look.component if self.look.component in components else NO_COMPONENT
        if components and kept not in components:
            kept = components[0]
        self._show(self.part, replace(self.look, field=name, component=kept))

    @property
    def scalars(self) -> dict[str, tuple[str, str]]:
        """Field and component of everything with one number per node that there is to choose, by name."""
        return {
            self.part.field(name).scalar_name(component): (name, component)
            for name in self.field_names
            for component in self._components(name, compare=self.look.compare) or (NO_COMPONENT,)
        }

    def set_scalar(self, choice: tuple[str, str]) -> None:
        """Colour by a component of a field."""
        field, component = choice
        self._show(self.part, replace(self.look, field=field, component=component))

    def move_field(self, offset: int) -> None:
        """Colour by the scalar so many places further on; after the last comes the first."""
        choices = list(self.scalars.values())
        if choices:
            now = choices.index((self.look.field, self.look.component))
            self.set_scalar(choices[(now + offset) % len(choices)])

    def set_component(self, component: str) -> None:
        """Colour by another component of the field."""
        self._show(self.part, replace(self.look, component=component))

    def set_warp(self, warp: Warp) -> None:
        """Exaggerate the displacement by a factor, or "auto"."""
        self._show(self.part, replace(self.look, warp=warp))

    def set_cut(self, axis: CutAxis, at: float) -> None:
        """Cut the near side of the part away along an axis; see `Look`."""
        if axis not in CUT_AXES:
            raise SubjectError(f"cannot cut along {axis!r}: expected x, y or z")
        self._show(self.part, replace(self.look, cut_axis=axis, cut_at=min(max(at, 0.0), 1.0)))

    def set_edges(self, edges: bool) -> None:
        """Draw the edges of cells, or not."""
        self._show(self.part, replace(self.look, edges=edges))

    def set_compare(self, compare: bool) -> None:
        """Set prediction and error beside the truth, or not."""
        if compare and not self.can_compare:
            raise SubjectError(f"{self.subject.name} has no predictions to compare; open a run of lpbf-train")
        look = replace(self.look, compare=compare)
        if compare and self.part.field(look.field).scalar_name(look.component) not in self.subject.predicted:
            field, component = self._default_field(self.part, compare=True)
            look = replace(look, field=field, component=component)
        self._show(self.part, look)

    def pick(self, x: int, y: int) -> None:
        """Choose the node at a pixel, counted from the lower left; none beside the part."""
        self.picked = self.scene.pick(x, y)
        self.scene.mark(self.picked)

    @property
    def readings(self) -> list[Reading]:
        """What is known at the chosen node; empty without one."""
        if self.picked is None:
            return []
        place = np.asarray(self.part.mesh.points)[self.picked]
        found = [Reading("node", str(self.picked)), Reading("x, y, z [mm]", _numbers(place))]
        for field in self.part.fields:
            names = f" {', '.join(field.components)}" if field.components else ""
            units = f" [{field.units}]" if field.units else ""
            label = field.name.replace("_", " ") + names + units
            found.append(Reading(label, _numbers(self.part.values[field.name][self.picked])))
        if self.look.compare:
            found += [
                Reading(f"predicted {name.replace('_', ' ')}", _numbers(values[self.picked]))
                for name, values in self.part.prediction.items()
            ]
        return found

    def _components(self, name: str, *, compare: bool) -> tuple[str, ...]:
        field = self.part.field(name)
        if not compare:
            return (NO_COMPONENT, *field.components) if field.components else ()
        return tuple(c for c in field.components if field.scalar_name(c) in self.subject.predicted)

    def _look_at(self, part: Part) -> Look:
        """Look as before, at another field where the part does not have this one."""
        if self.look.field in (field.name for field in part.fields):
            return self.look
        field, component = self._default_field(part, compare=self.look.compare)
        return replace(self.look, field=field, component=component)

    def _default_field(self, part: Part, *, compare: bool) -> tuple[str, str]:
        if compare:
            predicted = self.subject.predicted
            return split_scalar(_VERTICAL if _VERTICAL in predicted else predicted[0])
        return _most_telling(part.fields)

    def _show(self, part: Part, look: Look, *, keep_camera: bool = False) -> None:
        self.scene.show(part, look, keep_camera=keep_camera)
        if part is not self.part:
            self.picked = None
        self.part, self.look = part, look
        self.scene.mark(self.picked)


def _most_telling(fields: tuple[Field, ...]) -> tuple[str, str]:
    """Vertical displacement, or else the first field; none where there is none."""
    if any(field.name == DISPLACEMENT for field in fields):
        return DISPLACEMENT, "z"
    return (fields[0].name if fields else "", NO_COMPONENT)


def _numbers(values: np.ndarray) -> str:
    # Plus zero, so that there is no minus before it.
    return ", ".join(f"{value + 0.0:.4g}" for value in np.atleast_1d(values))
