"""One case read and measured: from the files of a source to every variable and statistic of a store."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.case import Case
from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.features import SdfSurface, geometry_features, mesh_surface
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import FEATURE_VARIABLES, history_variables
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.validate import check_history, check_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.build.stored import StoredCase
    from lpbf_dataset.sources.base import RawCase, Step, Surface
    from lpbf_dataset.step_table import StepTable

EXTRACTION_VERSION = 1
"""Raised when the same case would be read into other arrays or statistics, so that none is taken over."""


@dataclass(frozen=True)
class Extraction:
    """How the arrays of a case are made.

    Parameters
    ----------
    fields : tuple of str
        Simulated nodal fields.
    sdf_surface : {"mesh", "stl"}
        Surface to which the distances are taken.
    version : int
        That of the program text.
    steps : {"final", "all"}
        The final state alone, or also the history.
    """

    fields: tuple[str, ...]
    sdf_surface: SdfSurface = "mesh"
    version: int = EXTRACTION_VERSION
    steps: Literal["final", "all"] = "final"

    @property
    def variables(self) -> tuple[str, ...]:
        """Nodal variables besides the mesh: fields and features."""
        return (*self.fields, *FEATURE_VARIABLES)

    @property
    def history_variables(self) -> tuple[str, ...]:
        """Variables of the history; none if it is left out."""
        return history_variables(self.fields) if self.steps == "all" else ()

    def __str__(self) -> str:
        fields = f"{', '.join(self.fields)} of {self.steps} steps"
        return f"{fields}; distances to the {self.sdf_surface} (version {self.version})"

    def covers(self, wanted: Extraction) -> bool:
        """Tell whether what was made so serves where something else is wanted."""
        alike = (self.sdf_surface, self.version) == (wanted.sdf_surface, wanted.version)
        enough_steps = self.steps == "all" or wanted.steps == "final"
        return alike and enough_steps and set(wanted.fields) <= set(self.fields)


def read_case(raw: RawCase, extraction: Extraction) -> Case:
    """Read the final state of one case, with mesh edges, geometry features and statistics.

    Parameters
    ----------
    raw : RawCase
        The case as its source holds it.
    extraction : Extraction
        What to read and to compute.

    Returns
    -------
    Case
        Not yet assigned to a split.

    Raises
    ------
    CaseError
        If the case cannot be read, lacks one of the fields, or its mesh is unsound.
    """
    step, part = _read(raw, extraction)
    surface = mesh_surface(step.points, step.cells)
    reference = part if extraction.sdf_surface == "stl" else None
    variables: dict[str, NDArray[np.generic]] = {
        "points": step.points,
        "cells": step.cells,
        **{name: step.fields[name] for name in extraction.fields},
        **geometry_features(step.points, step.cells, surface, reference),
        "edges": unique_edges(step.cells, len(step.points)),
    }
    statistics = case_statistics(variables, part, surface)
    return Case(raw.case_id, raw.design_id, raw.source, variables, statistics=statistics)


def read_history(raw: RawCase, extraction: Extraction) -> tuple[StepTable, dict[str, NDArray[np.generic]]]:
    """Read the states of one case over its build.

    Parameters
    ----------
    raw : RawCase
        The case as its source holds it.
    extraction : Extraction
        What to read.

    Returns
    -------
    table : StepTable
        What is known of each step; of no steps where there is but a final state.
    variables : dict of str to ndarray
        By the names of `Extraction.history_variables`.

    Raises
    ------
    CaseError
        If no step can be read, or values cannot be stored.
    """
    with file_faults(raw):
        table, variables = lay_out_history(raw.history(extraction.fields), extraction.fields)
    with value_faults():
        check_history(raw.case_id, table, variables)
    return table, variables


def _read(raw: RawCase, extraction: Extraction) -> tuple[Step, Surface | None]:
    """Read the final state, with all fields wanted, and the surface of the part."""
    with file_faults(raw):
        step, part = raw.final_step(extraction.fields), raw.surface()
    if absent := [name for name in extraction.fields if name not in step.fields]:
        raise CaseError(FailureReason.MISSING_FILE, f"{raw.location} has no {', '.join(absent)}")
    if part is None and extraction.sdf_surface == "stl":
        raise CaseError(FailureReason.SURFACE_MISMATCH, f"{raw.location} has no STL to measure distances to")
    with value_faults():
        check_rows(raw.case_id, step.fields, extraction.fields, len(step.points))
    return step, part


@contextmanager
def file_faults(raw: RawCase | StoredCase) -> Iterator[None]:
    """Lay a fault of the file system to the case that was being read."""
    try:
        yield
    except OSError as error:
        detail = f"{raw.location} cannot be read: {error.strerror or error}"
        raise CaseError(FailureReason.MISSING_FILE, detail) from error


@contextmanager
def value_faults() -> Iterator[None]:
    """Lay values that a store does not take to the case that has them."""
    try:
        yield
    except StoreError as error:
        raise CaseError(FailureReason.MALFORMED_FILE, str(error)) from error
