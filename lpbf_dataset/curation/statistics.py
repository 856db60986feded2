"""The statistics of a case by which sets are described and selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from lpbf_dataset.mesh import aspect_ratios, cell_volumes, feature_size
from lpbf_dataset.mesh.triangles import is_closed, welded
from lpbf_dataset.schema import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lpbf_dataset.mesh import Boundary
    from lpbf_dataset.sources.base import Surface


THIN_SHARE = 0.05
"""Share of the volume that is thinner than the statistic ``wall_thickness``."""


def case_statistics(
    variables: Mapping[str, NDArray[np.generic]], part: Surface | None, surface: Boundary | None = None
) -> dict[str, float | int]:
    """Compute every statistic of one case.

    Parameters
    ----------
    variables : mapping of str to ndarray
        Mesh and fields, by the names of `lpbf_dataset.schema.VARIABLES`.
    part : Surface or None
        The surface of the part as designed, where the source has it.
    surface : Boundary, optional
        Surface of the mesh, found if not given.

    Returns
    -------
    dict of str to float or int
        By the names, and in the units, of `lpbf_dataset.schema.STATISTICS`.

    Raises
    ------
    ValueError
        If the mesh has no surface, see `lpbf_dataset.mesh.boundary`.
    """
    displacement = np.asarray(variables["displacement"], dtype=np.float64)
    values: dict[str, float | int] = {
        **mesh_statistics(variables, surface),
        "max_displacement": float(np.linalg.norm(displacement, axis=1).max()),
        "max_displacement_z": float(displacement[:, 2].max()),
        "min_displacement_z": float(displacement[:, 2].min()),
        "max_von_mises_stress": float(variables["von_mises_stress"].max()),
        **_surface_statistics(part),
    }
    assert values.keys() == STATISTICS.keys()
    return {name: values[name] for name in STATISTICS}


def mesh_statistics(
    variables: Mapping[str, NDArray[np.generic]], surface: Boundary | None = None
) -> dict[str, float | int]:
    """Compute the statistics that need nothing but the mesh.

    Parameters
    ----------
    variables : mapping of str to ndarray
        Points, cells and edges.
    surface : Boundary, optional
        Surface of the mesh, found if not given.

    Raises
    ------
    ValueError
        If the mesh has no surface, see `lpbf_dataset.mesh.boundary`.
    """
    points, cells = (
        cast("NDArray[np.float32]", variables["points"]),
        cast("NDArray[np.int32]", variables["cells"]),
    )
    edges = variables["edges"]
    ratios, volumes = aspect_ratios(points, cells), cell_volumes(points, cells)
    return {
        "nodes": len(points),
        "cells": len(cells),
        "directed_edges": 2 * len(edges),
        "edges_per_node": 2 * len(edges) / len(points),
        "mean_aspect_ratio": float(ratios.mean()),
        "max_aspect_ratio": float(ratios.max()),
        "max_z": float(points[:, 2].max()),
        "volume": float(volumes.sum()),
        "wall_thickness": _quantile(feature_size(points, cells, surface), volumes, THIN_SHARE),
    }


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """Value that this share of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    heavier = np.searchsorted(np.cumsum(weights[order]), share * weights.sum())
    return float(values[order[heavier]])


def _surface_statistics(surface: Surface | None) -> dict[str, float | int]:
    if surface is None:
        return {"surface_area": float("nan"), "genus": -1, "watertight": -1}
    mesh = welded(surface.triangles)
    watertight = is_closed(mesh)
    # Euler characteristic = 2 (bodies - genus), summed over closed orientable surfaces.
    genus = int(mesh.body_count - mesh.euler_number // 2) if watertight else -1
    return {"surface_area": float(mesh.area), "genus": genus, "watertight": int(watertight)}
