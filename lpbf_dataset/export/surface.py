"""Triangulated surfaces with fields on their vertices: STL, PLY with colours, and VTK's VTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.export.files import ExportError, written_whole
from lpbf_dataset.sources.stl import write_stl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from trimesh import Trimesh

    Fields = Mapping[str, NDArray[np.floating]]

SIGNED_MAP, UNSIGNED_MAP = "coolwarm", "viridis"
"""Colour maps of matplotlib, as in the pictures of the `viz` package."""


def write_surface(path: Path, surface: Trimesh, point_data: Fields | None = None) -> None:
    """Write a surface in the format that the ending of the file name asks for.

    An STL file holds the triangles alone.  A PLY file holds every component of the fields, and each vertex
    has the colour of the first field: of its magnitude if it is a vector, and diverging around zero if it has
    negative values.  A VTP file holds the fields, for ParaView to colour; it needs the ``viz`` extra.

    Parameters
    ----------
    path : Path
        Ending in .stl, .ply or .vtp; a file that is there is replaced.
    surface : trimesh.Trimesh
        In mm.
    point_data : mapping of str to (v,) or (v, k) float ndarray, optional
        Fields on the vertices, by name.

    Raises
    ------
    ExportError
        If the ending is another one, or the folder is a file.
    ValueError
        If a field has not one value for each vertex.
    """
    fields = dict(point_data or {})
    for name, values in fields.items():
        if len(values) != len(surface.vertices):
            raise ValueError(f"{name} has {len(values)} values for {len(surface.vertices)} vertices")
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ExportError(
            f"{path}: surfaces are written as {', '.join(_WRITERS)}; choose one of these endings"
        )
    with written_whole(path) as partial:
        write(partial, surface, fields)


def vertex_colors(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour a scalar, or the magnitude of a vector.

    Parameters
    ----------
    values : (v,) or (v, k) float ndarray
        Of any unit; NaN becomes transparent black.

    Returns
    -------
    (v, 4) uint8 ndarray
        Red, green, blue and opacity.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    scalar = values if values.ndim == 1 else np.linalg.norm(values, axis=1)
    largest = float(np.nanmax(np.abs(scalar), initial=0.0)) or 1.0
    is_signed = bool((scalar < 0.0).any())
    limits = Normalize(-largest if is_signed else 0.0, largest)
    return colormaps[SIGNED_MAP if is_signed else UNSIGNED_MAP](limits(scalar), bytes=True)


def _write_stl(path: Path, surface: Trimesh, _: Fields) -> None:
    write_stl(path, surface.triangles)


def _write_ply(path: Path, surface: Trimesh, fields: Fields) -> None:
    import trimesh
    from trimesh.exchange.ply import export_ply

    colors = vertex_colors(next(iter(fields.values()))) if fields else None
    colored = trimesh.Trimesh(surface.vertices, surface.faces, vertex_colors=colors, process=False)
    for name, values in fields.items():
        columns = {name: values} if values.ndim == 1 else {f"{name}_{k}": v for k, v in _components(values)}
        colored.vertex_attributes |= {key: np.asarray(v, np.float32) for key, v in columns.items()}
    path.write_bytes(export_ply(colored))


def _components(values: NDArray[np.floating]) -> list[tuple[str, NDArray[np.floating]]]:
    count = values.shape[1]
    labels = "xyz" if count == 3 else [str(k) for k in range(count)]
    return list(zip(labels, values.T, strict=True))


def _write_vtp(path: Path, surface: Trimesh, fields: Fields) -> None:
    import pyvista as pv
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    mesh = pv.PolyData.from_regular_faces(surface.vertices, surface.faces)
    for name, values in fields.items():
        mesh.point_data[name] = np.asarray(values, dtype=np.float32)
    # PyVista chooses the format by the ending, which a file under way has not got.
    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(mesh)
    if not writer.Write():
        raise OSError(f"{path}: cannot be written")


_WRITERS: dict[str, Callable[[Path, Trimesh, Fields], None]] = {
    ".stl": _write_stl,
    ".ply": _write_ply,
    ".vtp": _write_vtp,
}
