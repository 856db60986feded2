"""Pictures of a predicted part: where it moves, how far from the truth, and what compensation leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import trimesh

from lpbf_dataset.case import Case
from pipelines.scoring.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyvista as pv
    from numpy.typing import NDArray

    from pipelines.prediction.assessment import Assessment
    from pipelines.scoring.pictures import Drawing

PICTURE = "picture.png"
TRUTH_PICTURE = "truth.png"
COMPENSATION_PICTURE = "compensation.png"


class SurfacePicture(NamedTuple):
    """A field on the surface of a part, deformed by the displacement.

    Parameters
    ----------
    vertices : (v, 3) float64 ndarray
        In mm.
    triangles : (t, 3) int64 ndarray
        Of the surface.
    displacement : (v, 3) float ndarray
        mm.
    field : str
        What colours it: "displacement", one of its components, or the name of `values`.
    values : (v,) float ndarray
        The field, where it is not of the displacement.
    label : str
        Which part it is.
    mark : int or None
        Vertex to point at.
    path : Path
        PNG to write.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    displacement: NDArray[np.floating]
    field: str
    values: NDArray[np.floating]
    label: str
    mark: int | None
    path: Path

    def scene(self) -> pv.Plotter:
        """Return the deformed surface over the lines of the undeformed one."""
        from viz.annotations import add_label
        from viz.scenes import surface_scene
        from viz.warp import warp_factor

        surface = _wrapped(self.vertices, self.triangles)
        surface.point_data["displacement"] = self.displacement
        if not self.field.startswith("displacement"):
            surface.point_data[self.field] = self.values
        plotter = surface_scene(surface, self.field, self.label, outline=True)
        if self.mark is not None:
            factor = warp_factor(self.vertices, self.displacement, "auto")
            deformed = _wrapped(self.vertices + factor * self.displacement, self.triangles)
            there = deformed.points[self.mark]
            hit, _ = deformed.ray_trace(plotter.camera.position, there, first_point=True)
            in_sight = len(hit) == 0 or np.linalg.norm(hit - there) < 1e-3 * deformed.length
            length = np.linalg.norm(self.displacement[self.mark])
            side = "" if in_sight else " (behind)"
            add_label(plotter, f"\N{BLACK CIRCLE} max {length:.2g} mm{side}", there)
        return plotter


class CompensationPicture(NamedTuple):
    """The part as it would come out, and as the compensated one would.

    Parameters
    ----------
    vertices : (v, 3) float64 ndarray
        Of the nominal surface, mm.
    triangles : (t, 3) int64 ndarray
        Of all surfaces.
    shapes : tuple of (str, (v, 3) float ndarray, (v,) float ndarray)
        Caption, vertices and signed distance from the nominal surface, mm.
    label : str
        Which part it is.
    path : Path
        PNG to write.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    shapes: tuple[tuple[str, NDArray[np.floating], NDArray[np.floating]], ...]
    label: str
    path: Path

    def scene(self) -> pv.Plotter:
        """Return the shapes side by side."""
        from viz.deviation import Shape, deviation_scene

        nominal = _wrapped(self.vertices, self.triangles)
        return deviation_scene(nominal, [Shape(*shape) for shape in self.shapes], self.label)


def drawings(assessment: Assessment, folder: Path) -> Iterator[Drawing]:
    """Yield what is to be drawn of a part into a folder."""
    prediction = assessment.prediction
    name = prediction.case.case_id
    surface = prediction.surface
    field = picture_field(assessment)
    values = np.zeros(len(surface.vertices))
    if field in prediction.fields:
        values = prediction.on_surface(prediction.fields[field])
    yield SurfacePicture(
        np.asarray(surface.vertices),
        np.asarray(surface.faces),
        assessment.displacement,
        field,
        values,
        f"part {name}, predicted{' on the plate' if prediction.is_on_plate else ''}",
        assessment.magnitude.vertex if assessment.magnitude else None,
        folder / PICTURE,
    )
    if assessment.truth is not None:
        variables = {"points": prediction.case.points, "cells": prediction.case.cells}
        case = Case(name, name, prediction.case.source, {**variables, **assessment.truth.fields})
        target = "displacement_z" if "displacement_z" in prediction.fields else next(iter(prediction.fields))
        yield Picture(case, target, prediction.fields, folder / TRUTH_PICTURE)
    if assessment.compensation is not None:
        yield _compensation(assessment, folder / COMPENSATION_PICTURE)


def picture_field(assessment: Assessment) -> str:
    """Field that colours the picture: the displacement as far as it is predicted, or the first target."""
    axes = assessment.prediction.axes
    if not axes:
        return next(iter(assessment.prediction.fields))
    return "displacement" if len(axes) > 1 else f"displacement_{axes}"


def _compensation(assessment: Assessment, path: Path) -> CompensationPicture:
    compensation = assessment.compensation
    assert compensation is not None
    nominal = compensation.nominal
    printed = [
        ("as designed, printed", compensation.before.offsets),
        ("to print: compensated", np.asarray(compensation.surface.vertices - nominal.vertices)),
        ("compensated, printed", compensation.after.offsets),
    ]
    return CompensationPicture(
        np.asarray(nominal.vertices),
        np.asarray(nominal.faces),
        tuple(
            (caption, nominal.vertices + offset, _outwards(nominal, offset)) for caption, offset in printed
        ),
        f"part {assessment.prediction.case.case_id}, by the model's own estimate",
        path,
    )


def _wrapped(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> pv.PolyData:
    import pyvista as pv

    return pv.wrap(trimesh.Trimesh(vertices, triangles, process=False))


def _outwards(surface: trimesh.Trimesh, offset: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.einsum("vi,vi->v", surface.vertex_normals, offset)
