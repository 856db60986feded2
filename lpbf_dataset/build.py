"""From raw simulations to a store: read, measure, select, split, write."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from lpbf_dataset.case import Case
from lpbf_dataset.curation.rules import first_violation, load_rules
from lpbf_dataset.curation.splits import DEFAULT_FRACTIONS, split_cases
from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.curation.terms import source_terms
from lpbf_dataset.features import SdfSurface, geometry_features
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import FEATURE_VARIABLES, STATISTICS, Split, field_names
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.sources.base import RawCase, Source

Status = Literal["kept", "rejected", "failed"]


class BuildError(ValueError):
    """Nothing was written, because no case could be kept."""


@dataclass(frozen=True)
class BuildOptions:
    """What goes into a store; recorded in its attributes.

    Parameters
    ----------
    fields : {"basic", "all"}
        Displacement, von Mises stress and temperature, or besides these every nodal field that all
        cases have.
    rules : {"published", "none"}
        Keep the cases that pass the published selection, or every case that can be read.
    split : {"design", "random", "official"}
        Keep bodies of one design in one split, draw single cases, or follow the publisher of the parts.
    split_fractions : dict
        Share of the cases in "train", "val" and "test".
    seed : int
        Seed of the split, and of procedural parts.
    sdf_surface : {"mesh", "stl"}
        What the distances of the geometry features are taken to: the surface of the mesh, or that of
        the part as designed, which every case must then have.
    licence : str
        Terms of the source data; empty for what the names of the designs tell.
    citation : str
        What to cite for the source data; empty for what the names of the designs tell.
    """

    fields: Literal["basic", "all"] = "basic"
    rules: Literal["published", "none"] = "published"
    split: Literal["design", "random", "official"] = "design"
    split_fractions: dict[Split, float] = field(default_factory=lambda: dict(DEFAULT_FRACTIONS))
    seed: int = 0
    sdf_surface: SdfSurface = "mesh"
    licence: str = ""
    citation: str = ""


def build_store(
    sources: Sequence[Source],
    output: str | PathLike[str],
    options: BuildOptions,
    progress: Callable[[Iterable[RawCase]], Iterable[RawCase]] = lambda cases: cases,
    official: Mapping[str, Split] = MappingProxyType({}),
) -> pd.DataFrame:
    """Build a store from the final states of every case of the sources.

    A case that cannot be read, or that a rule rejects, is listed in the catalog and left out.

    Parameters
    ----------
    sources : sequence of Source
        Where the cases come from.
    output : path
        The store; written beside it and renamed into place when whole.
    options : BuildOptions
        What goes into it.
    progress : callable, optional
        Wraps the list of cases, for a progress bar.
    official : mapping of str to {"train", "val", "test"}, optional
        Split of each case, by case id, that the publisher of the parts made; cases it does not name
        go to "train".

    Returns
    -------
    DataFrame
        The catalog: one row per case found, with its ``status`` ("kept", "rejected", "failed"),
        ``reason`` and statistics.

    Raises
    ------
    BuildError
        If no case is kept.
    StoreError
        If the store cannot be written at `output`.
    """
    rules = load_rules(options.rules)
    found = [raw for source in sources for raw in source.cases()]
    fields = _common_fields(found) if options.fields == "all" else field_names(include_optional=False)
    seen: dict[str, str] = {}
    with StoreWriter(output, fields=(*fields, *FEATURE_VARIABLES)) as writer:
        entries = [_take(raw, fields, options.sdf_surface, rules, writer, seen) for raw in progress(found)]
        catalog = _catalog(entries)
        kept = catalog[catalog["status"] == "kept"]
        if kept.empty:
            raise BuildError(f"no case to keep, so {output} is not written: {_outcome(catalog)}")
        splits = _splits(kept, options, official)
        writer.finish(splits, catalog, _attributes(options, rules, catalog))
    return catalog


def _common_fields(cases: Iterable[RawCase]) -> tuple[str, ...]:
    """Name the basic fields, and the optional ones that every case has which can be read."""
    common = set(field_names(include_optional=True))
    for case in cases:
        # A case that cannot be read is accounted for when its turn comes.
        with suppress(CaseError):
            common &= set(case.field_names())
    common |= set(field_names(include_optional=False))
    return tuple(name for name in field_names(include_optional=True) if name in common)


def _take(
    raw: RawCase,
    fields: Sequence[str],
    sdf_surface: SdfSurface,
    rules: Sequence[Rule],
    writer: StoreWriter,
    seen: dict[str, str],
) -> dict[str, object]:
    """Put a case into the store if it can be read and passes the rules; say what became of it."""
    if raw.case_id in seen:
        duplicate = CaseError(FailureReason.DUPLICATE_CASE, f"also found at {seen[raw.case_id]}")
        return _entry(raw, "failed", str(duplicate))
    seen[raw.case_id] = raw.location
    try:
        case = read_case(raw, fields, sdf_surface)
        content_hash = raw.content_hash()
    except CaseError as error:
        return _entry(raw, "failed", str(error))
    violated = first_violation(case.statistics, rules)
    if violated is None:
        writer.append(case)
    status: Status = "rejected" if violated else "kept"
    return _entry(raw, status, str(violated.rule) if violated else "", content_hash, case.statistics)


def _entry(
    raw: RawCase,
    status: Status,
    reason: str,
    content_hash: str = "",
    statistics: Mapping[str, float | int] | None = None,
) -> dict[str, object]:
    missing = {name: np.nan if statistic.dtype == "float64" else -1 for name, statistic in STATISTICS.items()}
    return {
        "case_id": raw.case_id,
        "design_id": raw.design_id,
        "source": raw.source,
        "location": raw.location,
        "content_hash": content_hash,
        "status": status,
        "reason": reason,
        **(statistics or missing),
    }


def _catalog(entries: list[dict[str, object]]) -> pd.DataFrame:
    text = ["case_id", "design_id", "source", "location", "content_hash", "status", "reason"]
    catalog = pd.DataFrame(entries, columns=[*text, *STATISTICS])
    return catalog.astype({name: statistic.dtype for name, statistic in STATISTICS.items()})


def _splits(
    kept: pd.DataFrame, options: BuildOptions, official: Mapping[str, Split]
) -> dict[str, Split]:
    return split_cases(kept, options.split, options.seed, options.split_fractions, official)


def read_case(raw: RawCase, fields: Sequence[str], sdf_surface: SdfSurface = "mesh") -> Case:
    """Read the final state of one case, with the mesh edges, the geometry features and the statistics.

    Parameters
    ----------
    raw : RawCase
        The case as its source holds it.
    fields : sequence of str
        Nodal fields to keep.
    sdf_surface : {"mesh", "stl"}
        Surface to which the distances are taken.

    Returns
    -------
    Case
        Not yet assigned to a split.

    Raises
    ------
    CaseError
        If the case cannot be read, lacks one of the fields, or its mesh is unsound.
    """
    step = raw.final_step(fields)
    if absent := [name for name in fields if name not in step.fields]:
        raise CaseError(FailureReason.MISSING_FILE, f"{raw.location} has no {', '.join(absent)}")
    variables: dict[str, NDArray[np.generic]] = {
        "points": step.points,
        "cells": step.cells,
        "edges": unique_edges(step.cells, len(step.points)),
        **{name: step.fields[name] for name in fields},
        **geometry_features(step.points, step.cells, raw.surface if sdf_surface == "stl" else None),
    }
    statistics = case_statistics(variables, raw.surface())
    return Case(raw.case_id, raw.design_id, raw.source, variables, statistics=statistics)


def _outcome(catalog: pd.DataFrame) -> str:
    """One line on what became of the cases."""
    if catalog.empty:
        return "the sources hold no case"
    counts = Counter(catalog["status"])
    first = catalog.iloc[0]
    return (
        f"{counts['failed']} failed and {counts['rejected']} rejected, first {first.case_id} ({first.reason})"
    )


def _attributes(options: BuildOptions, rules: Sequence[Rule], catalog: pd.DataFrame) -> dict[str, object]:
    hashes = {
        source: hashlib.sha256("\n".join(sorted(group["content_hash"])).encode()).hexdigest()
        for source, group in catalog.groupby("source")
    }
    terms = source_terms(catalog.loc[catalog["status"] == "kept", "design_id"])
    return {
        "build": {**asdict(options), "rules": [str(rule) for rule in rules]},
        "source_hashes": hashes,
        "licence": options.licence or terms.licence,
        "citation": options.citation or terms.citation,
    }
