"""One case read, measured and laid ready, so that it need not be read again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.case import Case
from lpbf_dataset.curation.rules import first_violation
from lpbf_dataset.curation.shape import shape_descriptor
from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.features import SdfSurface, geometry_features, mesh_surface
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import FEATURE_VARIABLES
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.store.case_rows import SpooledRows, spool_case, spooled_facts
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.validate import check_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.sources.base import RawCase
    from lpbf_dataset.store.case_rows import CaseRows

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
    """

    fields: tuple[str, ...]
    sdf_surface: SdfSurface = "mesh"
    version: int = EXTRACTION_VERSION

    @property
    def variables(self) -> tuple[str, ...]:
        """Nodal variables besides the mesh: fields and features."""
        return (*self.fields, *FEATURE_VARIABLES)

    def covers(self, wanted: Extraction) -> bool:
        """Tell whether what was made so serves where something else is wanted."""
        alike = (self.sdf_surface, self.version) == (wanted.sdf_surface, wanted.version)
        return alike and set(wanted.fields) <= set(self.fields)


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """What is known of a case that could be read, and where its arrays lie.

    Parameters
    ----------
    content_hash : str
        Of the files it was read from.
    counts : mapping of str to int
        Number of nodes, cells and edges.
    statistics : mapping of str to float or int
        All of `lpbf_dataset.schema.STATISTICS`.
    descriptor : (k,) float64 ndarray or None
        Its shape; None for a case whose arrays were not kept.
    rows : CaseRows or None
        Its arrays; None where a rule rejected it.
    """

    content_hash: str
    counts: Mapping[RaggedDim, int]
    statistics: Mapping[str, float | int]
    descriptor: NDArray[np.float64] | None = None
    rows: CaseRows | None = None

    def serves(self, rules: Sequence[Rule]) -> bool:
        """Tell whether the case need not be read again: its arrays are there, or the rules reject it."""
        return self.rows is not None or first_violation(self.statistics, rules) is not None


@dataclass(frozen=True, eq=False)
class Task:
    """A case to extract.

    Parameters
    ----------
    raw : RawCase
        The case as its source holds it.
    extraction : Extraction
        How.
    rules : sequence of Rule
        Arrays of a case that they reject are not kept.
    spool : Path
        Folder for the arrays.
    earlier : CaseRecord or None
        What an earlier build found out.
    """

    raw: RawCase
    extraction: Extraction
    rules: Sequence[Rule]
    spool: Path
    earlier: CaseRecord | None = field(default=None, repr=False)


def extract(task: Task) -> CaseRecord | CaseError:
    """Read and measure one case, unless that was done before on the same content.

    Parameters
    ----------
    task : Task
        What to do.

    Returns
    -------
    CaseRecord or CaseError
        The error is why the case cannot be used.

    Raises
    ------
    StoreError
        If its arrays cannot be written, for example on a full disk.
    """
    try:
        content_hash = task.raw.content_hash()
        if task.earlier and task.earlier.content_hash == content_hash and task.earlier.serves(task.rules):
            return task.earlier
        path = task.spool / f"{_key(task, content_hash)}.safetensors"
        spooled = _spooled(path, content_hash)
        if spooled and spooled.serves(task.rules):
            return spooled
        case = read_case(task.raw, task.extraction)
        counts = _checked(case, task.extraction.variables)
    except CaseError as error:
        return error
    facts = {"counts": counts, "statistics": dict(case.statistics), "descriptor": None}
    if first_violation(case.statistics, task.rules):
        spool_case(path, {}, facts)
    else:
        facts["descriptor"] = shape_descriptor(case.points, case.cells).tolist()
        spool_case(path, case.variables, facts)
    return _of_facts(facts, content_hash, path)


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
    step = raw.final_step(extraction.fields)
    if absent := [name for name in extraction.fields if name not in step.fields]:
        raise CaseError(FailureReason.MISSING_FILE, f"{raw.location} has no {', '.join(absent)}")
    part = raw.surface()
    if part is None and extraction.sdf_surface == "stl":
        raise CaseError(FailureReason.SURFACE_MISMATCH, f"{raw.location} has no STL to measure distances to")
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


def _checked(case: Case, variables: Sequence[str]) -> dict[RaggedDim, int]:
    try:
        return check_case(case, variables)
    except StoreError as error:
        raise CaseError(FailureReason.MALFORMED_FILE, str(error)) from error


def _key(task: Task, content_hash: str) -> str:
    """Name of the file of a case: another one if its content or what is made of it is another."""
    parts = [task.raw.source, task.raw.case_id, content_hash, asdict(task.extraction)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _spooled(path: Path, content_hash: str) -> CaseRecord | None:
    facts = spooled_facts(path)
    return _of_facts(facts, content_hash, path) if facts else None


def _of_facts(facts: Mapping[str, Any], content_hash: str, path: Path) -> CaseRecord:
    kept = facts["descriptor"] is not None
    return CaseRecord(
        content_hash,
        facts["counts"],
        facts["statistics"],
        np.array(facts["descriptor"]) if kept else None,
        SpooledRows(path) if kept else None,
    )
