"""The files of a predicted part.

=========================  ================================================================================
file                       what it is
=========================  ================================================================================
``report.html``            one page for people
``prediction.json``        its figures for programs; written last, so a part that has it is done
``<part>.vtu``             the mesh with every predicted field; of an ensemble ``<field>_std``; of a part that
                           was simulated, too, ``<field>_simulated`` and ``<field>_error``
``<part>_surface.vtp``     the surface of the part with the same predicted fields
``<part>_surface.ply``     the same, coloured by the displacement
``<part>_compensated.stl`` the surface to print, in mm, where the part lies in its file
``picture.png``            the predicted part; ``truth.png`` and ``compensation.png`` likewise
``<part>.pvd``             of a run of steps the build over time, for ParaView, with a ``.vtu`` for each step
                           in the folder ``<part>``
``build.png``              of such a run the largest distortion against the height of the build
=========================  ================================================================================

Meshes and surfaces stand on the plate, z up; only the compensated surface is back in the frame of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.distortion import moved
from lpbf_dataset.export.files import check_case_id, written_whole
from lpbf_dataset.export.surface import write_surface
from lpbf_dataset.export.vtk import write_vtu
from lpbf_dataset.schema import VARIABLES, resolve_scalar

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from trimesh import Trimesh

    from pipelines.prediction.assessment import Assessment
    from pipelines.prediction.prediction import Prediction

    Arrays = dict[str, NDArray[np.floating]]

REPORT = "report.html"
FIGURES = "prediction.json"

STD, SIMULATED, ERROR = "_std", "_simulated", "_error"


def write_fields(assessment: Assessment, folder: Path) -> list[str]:
    """Write meshes and surfaces into a folder, and return the names of the files."""
    prediction = assessment.prediction
    name = prediction.case.case_id
    check_case_id(name)
    arrays = mesh_fields(assessment)
    units = {field: _unit(field) for field in arrays}
    names = [f"{name}.vtu", f"{name}_surface.vtp", f"{name}_surface.ply"]
    with written_whole(folder / names[0]) as partial:
        write_vtu(partial, prediction.case.points, prediction.case.cells, arrays, units)
    on_surface = surface_fields(prediction)
    for surface_file in names[1:]:
        write_surface(folder / surface_file, prediction.surface, on_surface)
    compensated = folder / f"{name}_compensated.stl"
    if assessment.compensation is None:
        compensated.unlink(missing_ok=True)
        return names
    write_surface(compensated, _in_file(assessment.compensation.surface, prediction))
    return [*names, compensated.name]


def mesh_fields(assessment: Assessment) -> Arrays:
    """Fields on the nodes by name, those of the prediction first."""
    prediction = assessment.prediction
    arrays = _predicted(prediction)
    arrays |= {field + STD: values for field, values in prediction.std.items()}
    if assessment.truth is not None:
        for field, values in prediction.fields.items():
            true = assessment.truth.scalar(field)
            arrays[field + SIMULATED] = np.ascontiguousarray(true)
            arrays[field + ERROR] = values - true
    return arrays


def surface_fields(prediction: Prediction) -> Arrays:
    """Predicted fields on the vertices of the surface; the first one is to colour it."""
    nodal = _predicted(prediction) | {field + STD: values for field, values in prediction.std.items()}
    widths = [1 if values.ndim == 1 else values.shape[1] for values in nodal.values()]
    columns = np.column_stack(list(nodal.values()))
    pieces = np.split(prediction.on_surface(columns), np.cumsum(widths)[:-1], axis=1)
    arrays = {
        field: piece[:, 0] if values.ndim == 1 else piece
        for (field, values), piece in zip(nodal.items(), pieces, strict=True)
    }
    first = f"displacement_{prediction.axes}" if len(prediction.axes) == 1 else next(iter(arrays))
    return {first: arrays[first], **arrays}


def _predicted(prediction: Prediction) -> Arrays:
    """Every predicted field, and the displacement as the vector that viewers deform by."""
    vector: Arrays = {"displacement": prediction.displacement} if prediction.axes else {}
    return {**vector, **{name: np.asarray(values) for name, values in prediction.fields.items()}}


def _in_file(surface: Trimesh, prediction: Prediction) -> Trimesh:
    """Surface from the plate back to where the part lies in its file."""
    assert prediction.placed is not None
    frame = np.linalg.inv(prediction.placed.frame)
    return moved(surface, surface.vertices @ frame[:3, :3].T + frame[:3, 3])


def _unit(field: str) -> str:
    for suffix in (STD, SIMULATED, ERROR):
        field = field.removesuffix(suffix)
    return VARIABLES[resolve_scalar(field)[0]].units
