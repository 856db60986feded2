"""One part file as a closed surface in mm, with a warning for everything that was done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.sources.base import CaseError, parent_design
from lpbf_dataset.sources.part_files.formats import load
from lpbf_dataset.sources.part_files.surface import mend
from lpbf_dataset.sources.part_files.units import scale_to_mm

if TYPE_CHECKING:
    from os import PathLike

    import trimesh


@dataclass(frozen=True, eq=False)
class PartGeometry:
    """The surface of a part.

    Parameters
    ----------
    name : str
        File name without its ending.
    design_id : str
        Name of the parent CAD model.
    mesh : trimesh.Trimesh
        Closed, outward-oriented surface in mm, as it lies in the file; several bodies stay several.
    warnings : list of str
        What was odd about the part, and what was done about it.
    """

    name: str
    design_id: str
    mesh: trimesh.Trimesh
    warnings: list[str] = field(default_factory=list)


def read_part(path: str | PathLike[str], unit: str | None = None) -> PartGeometry:
    """Read a part from an STL, OBJ, PLY, 3MF or STEP file.

    Parameters
    ----------
    path : str or path-like
        The file.
    unit : {"micrometre", "mm", "cm", "inch", "m"}, optional
        Length unit of its coordinates.  By default that which the file states, else mm, corrected
        with a warning where the size would be absurd.

    Returns
    -------
    PartGeometry
        The part; read its warnings.

    Raises
    ------
    CaseError
        If the part cannot be used: the reason is typed, the text names the file and the trouble.
    ValueError
        If the unit is not known.
    """
    path = Path(path)
    raw = load(path)
    try:
        mesh, warnings = mend(raw.mesh)
        factor, about_unit = scale_to_mm(float(mesh.extents.max()), unit, raw.unit_mm)
    except CaseError as error:
        raise CaseError(error.reason, f"{path}: {error.detail}") from None
    mesh.apply_scale(factor)
    return PartGeometry(path.stem, parent_design(path.stem), mesh, [*raw.warnings, *about_unit, *warnings])
