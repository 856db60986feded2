"""From raw simulations to a store: extract, select, split, assemble."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.build.catalog import make_catalog, summary, with_splits
from lpbf_dataset.build.documents import write_documents
from lpbf_dataset.build.extraction import CaseRecord, Extraction, Task, extract
from lpbf_dataset.build.options import BuildError
from lpbf_dataset.build.stored import StoredCase, StoreSource, earlier_records
from lpbf_dataset.curation.leakage import find_leakage
from lpbf_dataset.curation.rules import load_rules
from lpbf_dataset.curation.splits import read_split_file, split_cases
from lpbf_dataset.curation.terms import source_terms
from lpbf_dataset.engine import SerialEngine, TaskError
from lpbf_dataset.report import Curation
from lpbf_dataset.schema import field_names
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.store.assemble import assemble
from lpbf_dataset.store.manifest import write_manifest
from lpbf_dataset.store.replacement import Replacement
from lpbf_dataset.store.tables import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    import pandas as pd
    from numpy.typing import NDArray

    from lpbf_dataset.build.documents import Thumbnail
    from lpbf_dataset.build.options import BuildOptions
    from lpbf_dataset.curation.leakage import Leakage
    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.engine import Engine
    from lpbf_dataset.schema import Split
    from lpbf_dataset.sources.base import RawCase, Source

Outcome = tuple["RawCase", "CaseRecord | CaseError"]


def build_store(
    sources: Sequence[Source],
    output: str | PathLike[str],
    options: BuildOptions,
    engine: Engine | None = None,
    progress: Callable[[Iterable[Outcome], int], Iterable[Outcome]] = lambda outcomes, _: outcomes,
    official: Mapping[str, Split] = MappingProxyType({}),
    thumbnail: Thumbnail | None = None,
    dry_run: bool = False,
) -> pd.DataFrame:
    """Build a store from the final states of every case of the sources.

    A case that cannot be read, or that a rule rejects, is listed in the catalog and left out.  Cases that
    were read are laid ready beside the target: a build that was interrupted at any moment goes on where it
    was, to the same store byte for byte.  A case of an earlier store at the target is taken over unless its
    content changed.

    Parameters
    ----------
    sources : sequence of Source
        Where the cases come from; earlier stores (`StoreSource`) among them to select and split anew.
    output : path
        The store; written beside it and renamed into place when whole.
    options : BuildOptions
        What goes into it.
    engine : Engine, optional
        Reads the cases and writes the shards; by default this process.
    progress : callable, optional
        Wraps the outcomes, of which it is told the number, for a progress bar.
    official : mapping of str to {"train", "val", "test"}, optional
        Split of each case, by case id, that the publisher of the parts made; cases it does not name
        go to "train".
    thumbnail : callable, optional
        Draws a case for the report.
    dry_run : bool
        Read and measure the cases and tell what would be kept, but write no store.

    Returns
    -------
    DataFrame
        The catalog, see `make_catalog`.

    Raises
    ------
    BuildError
        If no case is kept.
    SourceError, RulesError, SplitError
        If the options make no sense with the sources.
    StoreError
        If the store cannot be written at `output`.
    """
    engine = engine or SerialEngine()
    rules = load_rules(options.rules)
    listed = read_split_file(options.split_file) if options.split_file else official
    found = [raw for source in sources for raw in source.cases()]
    extraction = Extraction(_fields(found, options, engine), options.sdf_surface)
    for source in sources:
        if isinstance(source, StoreSource):
            source.check(extraction)
    with Replacement(output) as replacement:
        replacement.create_spool()
        outcomes = _extract_all(found, extraction, rules, replacement, engine)
        done = list(progress(outcomes, len(found)))
        catalog = make_catalog(done, rules)
        kept = catalog[catalog["status"] == "kept"]
        if dry_run:
            return catalog
        if kept.empty:
            raise BuildError(f"no case to keep, so {output} is not written: {_outcome(catalog)}")
        splits = split_cases(kept, options.split, options.seed, options.split_fractions, listed)
        catalog = with_splits(catalog, splits)
        members = _members(done, splits)
        leakage = find_leakage(kept, splits, _descriptors(members))
        attributes = _attributes(options, extraction, rules, catalog, leakage)
        folder = replacement.folder
        assemble(folder, members, extraction.variables, splits, catalog, attributes, engine=engine)
        curation = Curation(catalog, rules, leakage=leakage, attributes=attributes)
        write_documents(folder, curation, rules, options, thumbnail)
        write_manifest(folder)
        replacement.commit()
        shutil.rmtree(replacement.spool, ignore_errors=True)
    return catalog


def _fields(found: Sequence[RawCase], options: BuildOptions, engine: Engine) -> tuple[str, ...]:
    """Name the basic fields and, if asked for, the optional ones that every case has which can be read."""
    basic = field_names(include_optional=False)
    if options.fields == "basic":
        return basic
    common = set(field_names(include_optional=True))
    for _, names in engine.map(_names, found):
        # A case that cannot be read is accounted for when its turn comes.
        if not isinstance(names, TaskError) and names is not None:
            common &= set(names)
    return tuple(name for name in field_names(include_optional=True) if name in common | set(basic))


def _names(raw: RawCase) -> tuple[str, ...] | None:
    try:
        return tuple(raw.field_names())
    except CaseError:
        return None


def _extract_all(
    found: Sequence[RawCase],
    extraction: Extraction,
    rules: Sequence[Rule],
    replacement: Replacement,
    engine: Engine,
) -> Iterator[Outcome]:
    """Yield what becomes of each case, in order of completion."""
    earlier = earlier_records(replacement.target, extraction)
    first: dict[str, RawCase] = {}
    tasks = []
    for raw in found:
        if raw.case_id in first:
            where = first[raw.case_id].location
            yield raw, CaseError(FailureReason.DUPLICATE_CASE, f"also found at {where}")
            continue
        first[raw.case_id] = raw
        if not _is_text(raw.case_id):
            yield raw, CaseError(FailureReason.MALFORMED_FILE, "the name is not UTF-8; rename the case")
            continue
        record = raw.record if isinstance(raw, StoredCase) else earlier.get(raw.case_id)
        tasks.append(Task(raw, extraction, rules, replacement.spool, record))
    for index, result in engine.map(extract, tasks):
        if isinstance(result, TaskError):
            result = CaseError(FailureReason(result.kind), result.detail)
        yield tasks[index].raw, result


def _is_text(name: str) -> bool:
    """Tell whether a name has no bytes that could not be decoded."""
    return name.isprintable() or not any("\ud800" <= character <= "\udfff" for character in name)


def _members(outcomes: Sequence[Outcome], splits: Mapping[str, Split]) -> list[Member]:
    """Return the cases to store by case id, so that the store does not depend on who came first."""
    members = [
        Member(
            raw.case_id,
            raw.design_id,
            raw.source,
            record.counts,
            record.rows,
            record.statistics,
            record.descriptor,
        )
        for raw, record in outcomes
        if isinstance(record, CaseRecord) and raw.case_id in splits and record.rows is not None
    ]
    return sorted(members, key=lambda member: member.case_id)


def _descriptors(members: Sequence[Member]) -> dict[str, NDArray[np.float64]]:
    return {m.case_id: np.asarray(m.descriptor, np.float64) for m in members if m.descriptor is not None}


def _outcome(catalog: pd.DataFrame) -> str:
    """One line on what became of the cases."""
    if catalog.empty:
        return "the sources hold no case"
    first = catalog.iloc[0]
    return f"{summary(catalog)[0]}, first {first.case_id} ({first.reason})"


def _attributes(
    options: BuildOptions,
    extraction: Extraction,
    rules: Sequence[Rule],
    catalog: pd.DataFrame,
    leakage: Leakage,
) -> dict[str, Any]:
    hashes = {
        str(source): hashlib.sha256("\n".join(sorted(group["content_hash"])).encode()).hexdigest()
        for source, group in catalog.groupby("source")
    }
    terms = source_terms(catalog.loc[catalog["status"] == "kept", "design_id"])
    return {
        "build": {
            **asdict(options),
            "rules": [str(rule) for rule in rules],
            "extraction": asdict(extraction),
        },
        "source_hashes": hashes,
        "leakage": leakage.to_json(),
        "licence": options.licence or terms.licence,
        "citation": options.citation or terms.citation,
    }
