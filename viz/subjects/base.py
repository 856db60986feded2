"""The contract between what is looked at and the viewers: a subject names cases, and loads one as a part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lpbf_dataset.schema import VARIABLES, component_names, resolve_scalar
from viz.annotations import case_label, field_label, field_units
from viz.warp import hexahedra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

    Prediction = Mapping[str, NDArray[np.floating]]

NO_COMPONENT = ""
"""Component of a scalar; of a vector or tensor, its magnitude."""

DISPLACEMENT = "displacement"

FINAL = "final"
"""Label of the only step of a case of which no others are known, and of the state that is left in the end."""


class SubjectError(ValueError):
    """What was asked for cannot be looked at: one line that names it and says why."""


@dataclass(frozen=True)
class Field:
    """A field on the nodes, as viewers name it.

    Parameters
    ----------
    name : str
        Name.
    units : str
        As engineers write them; empty where it has none or they are not known.
    components : tuple of str
        Names of its components; none for a scalar.
    """

    name: str
    units: str = ""
    components: tuple[str, ...] = ()

    def scalar_name(self, component: str) -> str:
        """``"displacement_z"``; the bare name for `NO_COMPONENT`."""
        return f"{self.name}_{component}" if component else self.name

    def label(self, component: str) -> str:
        """Name in words of a component, or of the magnitude."""
        scalar = self.scalar_name(component)
        if self.name in VARIABLES:
            return field_label(scalar)
        words = scalar.replace("_", " ")
        return f"{words} magnitude" if self.components and not component else words


@dataclass(frozen=True, eq=False)
class Part:
    """One case at one step, ready to be drawn.

    Parameters
    ----------
    title : str
        Which case it is, in words.
    mesh : pyvista.UnstructuredGrid or pyvista.PolyData
        Undeformed, in mm, without data.
    fields : tuple of Field
        What is known on the nodes.
    values : mapping of str to (n,) or (n, k) ndarray
        By the names of the fields.
    predict : callable, optional
        Computes predicted scalars, (n,) each, by their scalar names.
    step : str, optional
        Which step of its build it is, in words, where the title does not say so.
    """

    title: str
    mesh: pv.UnstructuredGrid | pv.PolyData
    fields: tuple[Field, ...]
    values: Mapping[str, NDArray[np.generic]]
    predict: Callable[[], Prediction] | None = None
    step: str = ""
    _predicted: dict[str, NDArray[np.floating]] = field(default_factory=dict, init=False)

    @property
    def full_title(self) -> str:
        """Case and step."""
        return f"{self.title}, {self.step}" if self.step else self.title

    @property
    def node_count(self) -> int:
        """Number of nodes."""
        return int(self.mesh.n_points)

    @property
    def prediction(self) -> Prediction:
        """Predicted scalars by name, computed when first asked for; none without a model."""
        if not self._predicted and self.predict is not None:
            self._predicted.update(self.predict())
        return self._predicted

    def field(self, name: str) -> Field:
        """Return the field of a name.

        Raises
        ------
        SubjectError
            If the part has no such field.
        """
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        known = ", ".join(candidate.name for candidate in self.fields) or "none"
        raise SubjectError(f"{self.full_title} has no field {name!r}; it has {known}")

    def scalar(self, name: str, component: str) -> NDArray[np.float32]:
        """One number per node, (n,) float32: a scalar, a component, or a magnitude.

        Raises
        ------
        SubjectError
            If the part has no such field or component.
        """
        described = self.field(name)
        values = self.values[name].astype(np.float32, copy=False)
        if component:
            if component not in described.components:
                raise SubjectError(f"field {name!r} of {self.full_title} has no component {component!r}")
            return values[:, described.components.index(component)]
        return values if values.ndim == 1 else np.linalg.norm(values, axis=1)

    @property
    def displacement(self) -> NDArray[np.float32] | None:
        """Displacement in mm, (n, 3) float32, where it is known."""
        values = self.values.get(DISPLACEMENT)
        if values is None or values.shape[1:] != (3,):
            return None
        return values.astype(np.float32, copy=False)


class Subject(Protocol):
    """A set of cases to look at."""

    @property
    def name(self) -> str:
        """What a user calls it: the path."""

    @property
    def case_names(self) -> Sequence[str]:
        """Every case, in order."""

    @property
    def first_case(self) -> str:
        """The one to begin with."""

    @property
    def predicted(self) -> tuple[str, ...]:
        """Names of the scalars that a model predicts; none without a model."""

    def step_labels(self, case_name: str) -> Sequence[str]:
        """Return what the steps of a case are called, at least one; raises `SubjectError`."""

    def load(self, case_name: str, step: int) -> Part:
        """Load a case at a step, counted from 0; raises `SubjectError`."""

    def build(self, case_name: str) -> Case:
        """Return a case with `lpbf_dataset.Case.steps`, as far as they are known; raises `SubjectError`."""


def known_field(name: str) -> Field:
    """Describe a variable of the store."""
    return Field(name, field_units(name), component_names(VARIABLES[name]))


def part_of_case(case: Case, predict: Callable[[], Prediction] | None = None) -> Part:
    """Make a case drawable.

    Parameters
    ----------
    case : Case
        With points, cells and fields.
    predict : callable, optional
        See `Part`.
    """
    grid = hexahedra(case)
    values = {name: case.variables[name] for name in case.field_names}
    return Part(case_label(case), grid, tuple(map(known_field, values)), values, predict)


def split_scalar(name: str) -> tuple[str, str]:
    """Split a scalar name of the schema into field and component: ``("displacement", "z")``.

    Raises
    ------
    KeyError
        If the schema has no such scalar.
    """
    variable, component = resolve_scalar(name)
    if component is None:
        return variable, NO_COMPONENT
    return variable, component_names(VARIABLES[variable])[component]
