"""The stored variables of layout version 1, in one table from which everything else derives.

Meshes have different sizes, so node, cell and edge variables of all cases stand one after another
along one dimension (contiguous ragged arrays of the CF conventions, section 9.3.3), and
``<dim>_offset`` says where each case begins.

A store may also hold the history of its cases: their states over the build.  A case then has ``step_count``
rows along ``step`` and ``mesh_count`` along ``mesh``, the different meshes that these states lie on; states
that share a mesh, as just deposited and after the dwell, share its row (``step_mesh``).  Steps and meshes
have nodes and cells of their own number, ragged in the same way: ``step_node_count`` and ``step_node_offset``
lie along ``step``, those of ``mesh_node`` and ``mesh_cell`` along ``mesh``.  A history is that of the part
alone: cells of the plate, which would be below z = 0, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYOUT = "lpbf-dataset"
LAYOUT_VERSION = 1

RaggedDim = Literal["node", "cell", "edge", "step", "mesh", "step_node", "mesh_node", "mesh_cell"]

RAGGED_DIMS: tuple[RaggedDim, ...] = ("node", "cell", "edge")
"""Ragged dimensions of the final state, which every store has."""

HISTORY_DIMS: dict[RaggedDim, str] = {
    "step": "case",
    "mesh": "case",
    "step_node": "step",
    "mesh_node": "mesh",
    "mesh_cell": "mesh",
}
"""Ragged dimensions of the history, each with the dimension along which its counts and offsets lie."""

NORMALIZED_DIMS: tuple[RaggedDim, ...] = ("node", "step_node")
"""Dimensions of the variables whose moments over the training split are in the root attribute
``normalization``: count, mean, standard deviation and extremes of each component, in its unit.  Those of a
history, for example of ``history_displacement``, are over every node of every step that is there."""

StepKind = Literal["deposited", "dwelt", "cooled", "removed", "cut"]
STEP_KINDS: tuple[StepKind, ...] = get_args(StepKind)
"""What a step is, in the order of the values of ``step_kind``."""

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

TENSOR_COMPONENTS = ("xx", "yy", "zz", "xy", "xz", "yz")
"""Order of symmetric tensor components, that of EnSight Gold (VTK swaps the last two)."""


@dataclass(frozen=True)
class Variable:
    """One ragged variable of the store.

    Parameters
    ----------
    name : str
        Name of the Zarr array and of the attribute of a case.
    dim : str
        The ragged dimension along which the cases are concatenated.
    component : (str, int) or None
        Name and length of the trailing dimension; None for a scalar.
    dtype : str
        NumPy dtype name.
    units : str
        UDUNITS spelling; "1" for a dimensionless quantity.
    long_name : str
        One phrase for plots and for ``xarray``.
    optional : bool
        Kept only when asked for (``--fields all``).
    """

    name: str
    dim: RaggedDim
    component: tuple[str, int] | None
    dtype: str
    units: str
    long_name: str
    optional: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimension names, the ragged one first."""
        return (self.dim,) if self.component is None else (self.dim, self.component[0])

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row: ``()`` for a scalar, ``(3,)`` for a vector."""
        return () if self.component is None else (self.component[1],)


AXIS_DIRECTIONS = ("-x", "-y", "-z", "+x", "+y", "+z")
"""Order of the directions in which distances along the axes are taken."""

_XYZ = ("xyz", 3)
_TENSOR = ("tensor", len(TENSOR_COMPONENTS))
_AXES = ("axis", len(AXIS_DIRECTIONS))


def _optional(name: str, component: tuple[str, int] | None, units: str, long_name: str) -> Variable:
    return Variable(name, "node", component, "float32", units, long_name, optional=True)


VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        Variable("points", "node", _XYZ, "float32", "mm", "undeformed position; z is the build direction"),
        Variable("displacement", "node", _XYZ, "float32", "mm", "displacement after plate removal"),
        Variable("von_mises_stress", "node", None, "float32", "MPa", "von Mises stress"),
        Variable("temperature", "node", None, "float32", "degC", "temperature"),
        Variable("sdf", "node", None, "float32", "mm", "signed distance to the surface, negative inside"),
        Variable("sdf_direction", "node", _XYZ, "float32", "1", "unit vector to the nearest surface point"),
        Variable("axis_distance", "node", _AXES, "float32", "mm", "distance to the surface along the axes"),
        Variable("on_surface", "node", None, "bool", "1", "whether the node lies on the surface of the mesh"),
        Variable("cells", "cell", ("vertex", 8), "int32", "1", "node of each corner, VTK hexahedron order"),
        Variable("edges", "edge", ("edge_end", 2), "int32", "1", "undirected mesh edge, first node < second"),
        _optional("cauchy_stress", _TENSOR, "MPa", "Cauchy stress"),
        _optional("elastic_strain", _TENSOR, "1", "elastic strain"),
        _optional("principal_stress_max", None, "MPa", "largest principal stress"),
        _optional("principal_stress_mid", None, "MPa", "middle principal stress"),
        _optional("principal_stress_min", None, "MPa", "smallest principal stress"),
        _optional("principal_stress_direction_max", _XYZ, "1", "direction of the largest principal stress"),
        _optional("principal_stress_direction_mid", _XYZ, "1", "direction of the middle principal stress"),
        _optional("principal_stress_direction_min", _XYZ, "1", "direction of the smallest principal stress"),
        _optional("recoater_clearance", None, "percent", "recoater clearance in layer thicknesses"),
        _optional("recoater_status", None, "1", "recoater interference status"),
    )
}

MESH_VARIABLES = ("points", "cells", "edges")
"""What makes up the mesh itself; every other variable lives on it."""

FEATURE_VARIABLES = ("sdf", "sdf_direction", "axis_distance", "on_surface")
"""Geometry features: computed from the mesh, and the inputs of models rather than results of a simulation."""


def _is_field(name: str) -> bool:
    return name not in (*MESH_VARIABLES, *FEATURE_VARIABLES)


@dataclass(frozen=True)
class Statistic:
    """One number per case, stored as ``case_<name>``.

    Parameters
    ----------
    name : str
        Name without the ``case_`` prefix.
    dtype : str
        NumPy dtype name.  A float statistic that cannot be computed is NaN, an integer one -1.
    units : str
        UDUNITS spelling.
    long_name : str
        One phrase for plots and reports.
    """

    name: str
    dtype: str
    units: str
    long_name: str


STATISTICS: dict[str, Statistic] = {
    statistic.name: statistic
    for statistic in (
        Statistic("nodes", "int64", "1", "number of nodes"),
        Statistic("cells", "int64", "1", "number of hexahedral cells"),
        Statistic("directed_edges", "int64", "1", "directed mesh edges, twice the undirected ones"),
        Statistic("edges_per_node", "float64", "1", "directed edges over nodes"),
        Statistic("mean_aspect_ratio", "float64", "1", "mean cell aspect ratio (longest over shortest edge)"),
        Statistic("max_aspect_ratio", "float64", "1", "largest cell aspect ratio"),
        Statistic("max_z", "float64", "mm", "height of the part above the plate"),
        Statistic("max_displacement", "float64", "mm", "largest displacement magnitude"),
        Statistic("max_displacement_z", "float64", "mm", "largest displacement in z"),
        Statistic("min_displacement_z", "float64", "mm", "smallest (most negative) displacement in z"),
        Statistic("max_von_mises_stress", "float64", "MPa", "largest von Mises stress"),
        Statistic("volume", "float64", "mm3", "volume of the mesh cells"),
        Statistic("wall_thickness", "float64", "mm", "local thickness that 5 % of the volume is below"),
        Statistic("surface_area", "float64", "mm2", "area of the part surface (STL); NaN without one"),
        Statistic("genus", "int64", "1", "genus of the part surface (STL); -1 if open or without one"),
        Statistic("watertight", "int64", "1", "1 if the part surface (STL) is closed, 0 if open, -1 without"),
    )
}


HISTORY_PREFIX = "history_"


def _of_history(name: str, dim: RaggedDim) -> Variable:
    return replace(VARIABLES[name], name=HISTORY_PREFIX + name, dim=dim)


HISTORY_VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        _of_history("points", "mesh_node"),
        _of_history("cells", "mesh_cell"),
        replace(_of_history("displacement", "step_node"), long_name="displacement at the step"),
        *(_of_history(name, "step_node") for name in VARIABLES if _is_field(name) and name != "displacement"),
    )
}
"""Ragged variables of the history.  Nodes of ``history_cells`` are those of the mesh, from 0."""

STORED_VARIABLES: dict[str, Variable] = VARIABLES | HISTORY_VARIABLES
"""Every ragged variable that a store may hold."""


@dataclass(frozen=True)
class StepColumn:
    """One value per step of a history.

    Parameters
    ----------
    name : str
        Name of the Zarr array.
    dtype : str
        NumPy dtype name, or "string".
    units : str
        UDUNITS spelling.
    long_name : str
        One phrase for plots and reports.
    """

    name: str
    dtype: str
    units: str
    long_name: str


STEP_COLUMNS: dict[str, StepColumn] = {
    column.name: column
    for column in (
        StepColumn("step_kind", "int8", "1", "what the step is"),
        StepColumn("step_time", "float64", "s", "process time"),
        StepColumn("step_height", "float32", "mm", "top of the part above the plate; NaN if not known"),
        StepColumn("step_group", "int32", "1", "layer groups deposited so far"),
        StepColumn("step_number", "int32", "1", "number of the result as its source counts them"),
        StepColumn(
            "step_mesh", "int32", "1", "mesh among those of the case, from 0; -1 if the step is missing"
        ),
        StepColumn("step_fault", "string", "1", "why the step is missing; empty if it is there"),
    )
}


def history_variables(fields: Sequence[str]) -> tuple[str, ...]:
    """Names of the stored variables that make up a history of some simulated fields."""
    return tuple(HISTORY_PREFIX + name for name in ("points", "cells", *fields))


def component_names(variable: Variable) -> tuple[str, ...]:
    """Names of the components of a nodal variable, for example ``("x", "y", "z")``; ``()`` for others."""
    names = {_XYZ: ("x", "y", "z"), _TENSOR: TENSOR_COMPONENTS, _AXES: AXIS_DIRECTIONS}
    return names.get(variable.component, ()) if variable.component else ()


def field_names(*, include_optional: bool) -> tuple[str, ...]:
    """Names of the simulated nodal fields (displacement and so on), in table order.

    Parameters
    ----------
    include_optional : bool
        Whether to name those kept only with ``--fields all``.
    """
    return tuple(
        name
        for name, variable in VARIABLES.items()
        if _is_field(name) and (include_optional or not variable.optional)
    )


def resolve_scalar(name: str) -> tuple[str, int | None]:
    """Split a scalar field name as users type it into variable and component index.

    Parameters
    ----------
    name : str
        ``"von_mises_stress"``, ``"displacement_z"``, ``"cauchy_stress_xx"``.

    Returns
    -------
    variable, component : str, int or None
        ``("displacement", 2)`` for ``"displacement_z"``; the component is None when the name is
        that of a whole variable, scalar or not.

    Raises
    ------
    KeyError
        If neither a variable nor one of its components has this name.
    """
    if name in VARIABLES:
        return name, None
    variable_name, _, component = name.rpartition("_")
    if variable_name in VARIABLES:
        names = component_names(VARIABLES[variable_name])
        if component in names:
            return variable_name, names.index(component)
    nodal = [variable for variable in VARIABLES.values() if variable.dim == "node"]
    scalars = [variable.name for variable in nodal if not variable.component]
    known = sorted(scalars + [f"{v.name}_{c}" for v in nodal for c in component_names(v)])
    raise KeyError(f"no field named {name!r}; known fields: {', '.join(known)}")
