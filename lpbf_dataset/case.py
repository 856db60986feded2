"""One printed body with its mesh, fields and statistics, as plain NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpbf_dataset.schema import VARIABLES, resolve_scalar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import meshio
    import numpy as np
    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset.series import Series
    from lpbf_dataset.steps import CaseStep


@dataclass(frozen=True, eq=False)
class Case:
    """A printed body: the mesh, the fields on it, and what is known about it.

    Every variable is also an attribute, so ``case.displacement`` is
    ``case.variables["displacement"]``.  A case read in part has no other variables.

    Parameters
    ----------
    case_id : str
        Unique name.
    design_id : str
        Name of the parent CAD model; bodies of one design resemble each other.
    source : str
        Kind of source the case came from, for example ``"netfabb"``.
    variables : mapping of str to ndarray
        Arrays by the names, dtypes and units of `lpbf_dataset.schema.VARIABLES`.
    split : str, optional
        ``"train"``, ``"val"`` or ``"test"``; empty when no split was made.
    statistics : mapping of str to float or int, optional
        By the names of `lpbf_dataset.schema.STATISTICS`.
    steps : sequence of CaseStep, optional
        The states over the build, read when asked for; empty where only the final one is known.
    """

    case_id: str
    design_id: str
    source: str
    variables: Mapping[str, NDArray[np.generic]]
    split: str = ""
    statistics: Mapping[str, float | int] = field(default_factory=dict)
    steps: Sequence[CaseStep] = ()

    def __getattr__(self, name: str) -> NDArray[np.generic]:
        # Reached only for names that are not attributes; `variables` itself is missing while unpickling.
        if name.startswith("_") or name == "variables":
            raise AttributeError(name)
        try:
            return self.variables[name]
        except KeyError:
            raise AttributeError(
                f"case {self.case_id!r} has no variable {name!r}; it has {', '.join(self.variables)}"
            ) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.variables]

    def __repr__(self) -> str:
        contents = (f"{name} {values.shape}" for name, values in self.variables.items())
        return f"Case({self.case_id!r}, {', '.join(contents)})"

    @property
    def points(self) -> NDArray[np.float32]:
        """Undeformed node positions, (nodes, 3) float32, mm."""
        return self.variables["points"]  # type: ignore[return-value]

    @property
    def cells(self) -> NDArray[np.int32]:
        """Nodes of each hexahedron in VTK order, (cells, 8) int32."""
        return self.variables["cells"]  # type: ignore[return-value]

    @property
    def edges(self) -> NDArray[np.int32]:
        """Unique undirected mesh edges, (edges, 2) int32, first node < second."""
        return self.variables["edges"]  # type: ignore[return-value]

    @property
    def node_count(self) -> int:
        """Number of nodes."""
        return len(self.points)

    @property
    def cell_count(self) -> int:
        """Number of cells."""
        return len(self.cells)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields on the nodes."""
        return tuple(name for name in self.variables if VARIABLES[name].dim == "node" and name != "points")

    def shares_mesh(self, other: Case) -> bool:
        """Whether another case has the same nodes and cells, in the same order."""
        import numpy as np

        return np.array_equal(self.cells, other.cells) and np.array_equal(self.points, other.points)

    def scalar(self, name: str) -> NDArray[np.float32]:
        """One number per node.

        Parameters
        ----------
        name : str
            A scalar field (``"von_mises_stress"``), a component (``"displacement_z"``), or a
            vector field, which gives its magnitude.

        Returns
        -------
        (nodes,) float32 ndarray
            In the units of the field.

        Raises
        ------
        KeyError
            If the case has no such field.
        """
        variable, component = resolve_scalar(name)
        if variable not in self.variables or VARIABLES[variable].dim != "node":
            known = ", ".join(self.field_names)
            raise KeyError(f"case {self.case_id!r} has no field {name!r}; it has {known}")
        values = self.variables[variable].astype("float32", copy=False)
        if component is not None:
            return values[:, component]
        if values.ndim == 1:
            return values
        return (values**2).sum(axis=1) ** 0.5

    def series(self, fields: Sequence[str] | None = None) -> Series:
        """Bring all steps onto one mesh, the finest of the case.

        Parameters
        ----------
        fields : sequence of str, optional
            Fields to bring along; all of the steps by default.

        Raises
        ------
        ValueError
            If the case has no steps, or their cells are not those of one octree.
        KeyError
            If the steps have no such field.
        """
        # Compiled code, which importing the package must not load.
        from lpbf_dataset.series import merge_steps

        return merge_steps(self.steps, fields)

    def to_pyvista(self) -> pv.UnstructuredGrid:
        """Undeformed mesh with every field as point data; needs the ``viz`` extra.

        Symmetric tensors are reordered to VTK's component order (xx, yy, zz, xy, yz, xz).
        """
        import numpy as np
        import pyvista as pv

        connectivity = np.column_stack([np.full(self.cell_count, 8), self.cells])
        cell_types = np.full(self.cell_count, pv.CellType.HEXAHEDRON)
        grid = pv.UnstructuredGrid(connectivity.ravel(), cell_types, self.points)
        for name in self.field_names:
            values = self.variables[name]
            is_tensor = VARIABLES[name].component == ("tensor", 6)
            grid.point_data[name] = values[:, [0, 1, 2, 3, 5, 4]] if is_tensor else values
        grid.user_dict = {"case_id": self.case_id, "design_id": self.design_id}
        return grid

    def plot(self, field: str = "displacement_z", *, warp: float = 0.0, **options: Any) -> Any:
        """Draw a field in a notebook, or else in a window; needs the ``viz`` extra.

        `viz.scenes.field_scene` draws it with more care.

        Parameters
        ----------
        field : str, optional
            As `scalar` takes it.
        warp : float, optional
            Factor that exaggerates the displacement; 0 draws the undeformed part.
        **options
            Of PyVista's ``DataSet.plot``: ``jupyter_backend``, ``screenshot``, ``cmap`` and so on.

        Returns
        -------
        object
            What PyVista returns: in a notebook, what shows there.

        Raises
        ------
        KeyError
            If the case has no such field.
        """
        values = self.scalar(field)
        variable = VARIABLES[resolve_scalar(field)[0]]
        name = field.replace("_", " ") if variable.component else variable.long_name
        largest = float(abs(values).max()) or 1.0
        is_signed = float(values.min()) < 0.0
        grid = self.to_pyvista()
        grid.clear_data()
        if warp:
            grid.points = self.points + warp * self.variables["displacement"].astype("float32")
        defaults = {
            "cmap": "coolwarm" if is_signed else "viridis",
            "clim": (-largest if is_signed else 0.0, largest),
            "scalar_bar_args": {
                "title": name if variable.units == "1" else f"{name} [{variable.units}]",
                "vertical": True,
                "position_x": 0.82,
                "position_y": 0.25,
                "height": 0.5,
            },
            # Much light from everywhere: faces in the shade keep the colour that the bar names.
            "ambient": 0.5,
            "diffuse": 0.5,
            "text": self.case_id,
        }
        return grid.plot(scalars=values, **{**defaults, **options})

    def to_meshio(self) -> meshio.Mesh:
        """Undeformed mesh with every field as point data, for the formats meshio writes.

        Symmetric tensors keep the component order of the store (xx, yy, zz, xy, xz, yz); booleans become
        bytes, since few formats know them.
        """
        import meshio

        fields = {name: self.variables[name] for name in self.field_names}
        return meshio.Mesh(
            self.points,
            [("hexahedron", self.cells)],
            point_data={
                name: values.astype("uint8") if values.dtype.kind == "b" else values
                for name, values in fields.items()
            },
        )
