"""The arrays of one case: against each other, and against its stored statistics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import MESH_VARIABLES, VARIABLES
from lpbf_dataset.store.verification.problems import Code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Variables = Mapping[str, NDArray[Any]]

STATISTICS_TOLERANCE = 1e-6
"""Relative; another order of summation, on another machine, changes far less."""


class Finding(NamedTuple):
    """What is wrong with a case.

    Parameters
    ----------
    code : Code
        Kind of the problem.
    name : str
        The variable or statistic.
    message : str
        What was found.
    """

    code: Code
    name: str
    message: str


def check_values(
    variables: Variables, statistics: Mapping[str, float | int], *, sdf_of_mesh: bool
) -> Iterator[Finding]:
    """Check the arrays of a case.

    Parameters
    ----------
    variables : mapping of str to ndarray
        Those that could be read, with the shapes and dtypes of `lpbf_dataset.schema.VARIABLES`.
    statistics : mapping of str to float or int
        Those stored.  NaN, and -1 of an integer, say that a statistic is not known.
    sdf_of_mesh : bool
        Whether the signed distance is to the surface of the mesh itself, so that no node lies outside.

    Yields
    ------
    Finding
        Each thing that is wrong.
    """
    flaws = [*_not_finite(variables), *_bad_connectivity(variables)]
    yield from flaws
    yield from _bad_surface(variables, sdf_of_mesh=sdf_of_mesh)
    if not any(finding.name in MESH_VARIABLES for finding in flaws):
        yield from _other_edges(variables)
        yield from _other_statistics(variables, statistics)


def _not_finite(variables: Variables) -> Iterator[Finding]:
    for name, values in variables.items():
        if values.dtype.kind == "f" and (bad := np.count_nonzero(~np.isfinite(values))):
            yield Finding(Code.NOT_FINITE, name, f"{bad} of {values.size} values are not finite")


def _bad_connectivity(variables: Variables) -> Iterator[Finding]:
    for name in ("cells", "edges"):
        nodes = variables.get(name)
        if nodes is None or not nodes.size or "points" not in variables:
            continue
        node_count = len(variables["points"])
        low, high = int(nodes.min()), int(nodes.max())
        if low < 0 or high >= node_count:
            yield Finding(
                Code.CONNECTIVITY_OUT_OF_RANGE,
                name,
                f"nodes {low} to {high} are named, but the mesh has nodes 0 to {node_count - 1}",
            )
        if name == "edges" and (bad := np.count_nonzero(nodes[:, 0] >= nodes[:, 1])):
            yield Finding(Code.EDGE_ORDER, name, f"{bad} of {len(nodes)} edges have first node >= second")


def _other_edges(variables: Variables) -> Iterator[Finding]:
    if not variables.keys() >= set(MESH_VARIABLES):
        return
    stored, expected = variables["edges"], unique_edges(variables["cells"], len(variables["points"]))
    if not np.array_equal(stored, expected):
        missing = len(set(map(tuple, expected.tolist())) - set(map(tuple, stored.tolist())))
        message = f"{len(stored)} edges, of the {len(expected)} of the cells {missing} missing"
        # Another order of the same edges is sound.
        if missing or len(stored) != len(expected):
            yield Finding(Code.EDGES_MISMATCH, "edges", message)


def _bad_surface(variables: Variables, *, sdf_of_mesh: bool) -> Iterator[Finding]:
    if "sdf" not in variables:
        return
    sdf = variables["sdf"]
    if not sdf_of_mesh:
        return
    if "on_surface" in variables and (off := np.count_nonzero(sdf[variables["on_surface"]] != 0)):
        yield Finding(Code.SURFACE_MISMATCH, "sdf", f"is not 0 on {off} nodes that on_surface names")
    if outside := np.count_nonzero(sdf > 0):
        yield Finding(
            Code.SURFACE_MISMATCH, "sdf", f"{outside} nodes of the mesh lie outside its own surface"
        )


def _other_statistics(variables: Variables, statistics: Mapping[str, float | int]) -> Iterator[Finding]:
    if not variables.keys() >= set(MESH_VARIABLES) or not all(len(variables[n]) for n in MESH_VARIABLES):
        return
    node_count = len(variables["points"])
    # The statistics of what the store does not hold come out as NaN, which is not compared.
    absent = {
        name: np.broadcast_to(np.array(math.nan, variable.dtype), (node_count, *variable.row_shape))
        for name, variable in VARIABLES.items()
        if name not in variables and variable.dim == "node" and variable.dtype.startswith("float")
    }
    try:
        recomputed = case_statistics({**absent, **variables}, part=None)
    except ValueError as error:
        yield Finding(Code.INVALID_MESH, "cells", str(error))
        return
    for name, computed in recomputed.items():
        stored = statistics.get(name)
        if stored is None or _is_unknown(stored) or _is_unknown(computed):
            continue
        if not math.isclose(stored, computed, rel_tol=STATISTICS_TOLERANCE, abs_tol=1e-12):
            yield Finding(
                Code.STATISTICS_MISMATCH, name, f"{stored:.9g} is stored, the arrays give {computed:.9g}"
            )


def _is_unknown(value: float) -> bool:
    return math.isnan(value) or (isinstance(value, int) and value == -1)
