"""From raw simulations to a store: extract, select, split, assemble."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lpbf_dataset.build.catalog import make_catalog
from lpbf_dataset.build.documents import write_documents
from lpbf_dataset.build.gather import Outcome, common_fields, extract_all
from lpbf_dataset.build.reading import Extraction
from lpbf_dataset.build.selection import listed_splits, select
from lpbf_dataset.build.simulated import recorded_simulation
from lpbf_dataset.build.stored import StoreSource, earlier_records
from lpbf_dataset.curation.rules import load_rules
from lpbf_dataset.curation.terms import source_terms
from lpbf_dataset.engine import SerialEngine
from lpbf_dataset.schema import field_names
from lpbf_dataset.store.assemble import assemble
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.manifest import write_manifest
from lpbf_dataset.store.replacement import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    import pandas as pd

    from lpbf_dataset.build.documents import Thumbnail
    from lpbf_dataset.build.options import BuildOptions
    from lpbf_dataset.build.selection import Selection
    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.engine import Engine
    from lpbf_dataset.schema import Split
    from lpbf_dataset.simulation.job import PartSetup
    from lpbf_dataset.sources.base import Source


@dataclass(frozen=True, eq=False)
class BuildResult:
    """What came of a build.

    Parameters
    ----------
    catalog : DataFrame
        Every case found and what became of it, see `make_catalog`.
    warnings : tuple of str
        What a user of the store should know, a sentence each: leakage between its splits, cases that the
        list of splits does not name.
    """

    catalog: pd.DataFrame
    warnings: tuple[str, ...] = ()


def build_store(
    sources: Sequence[Source | StoreSource],
    output: str | PathLike[str],
    options: BuildOptions,
    engine: Engine | None = None,
    progress: Callable[[Iterable[Outcome], int], Iterable[Outcome]] = lambda outcomes, _: outcomes,
    official: Mapping[str, Split] = MappingProxyType({}),
    thumbnail: Thumbnail | None = None,
    dry_run: bool = False,
    simulation: PartSetup | None = None,
) -> BuildResult:
    """Build a store from the final states of every case of the sources, or from all of their states.

    A case that cannot be read, or that a rule rejects, is listed in the catalog and left out.  Cases that
    were read are laid ready beside the target: a build that was interrupted at any moment goes on where it
    was, to the same store byte for byte.  A case of an earlier store at the target is taken over unless its
    content changed.

    Parameters
    ----------
    sources : sequence of Source or StoreSource
        Where the cases come from, earlier stores among them to select and split anew.
    output : path
        The store; written beside it and renamed into place when whole.
    options : BuildOptions
        What goes into it.
    engine : Engine, optional
        Reads the cases and writes the shards; by default this process.
    progress : callable, optional
        Wraps the outcomes, of which it is told the number, for a progress bar.
    official : mapping of str to {"train", "val", "test"}, optional
        Split of each case, by case id, that the publisher of the parts or an earlier build made; cases it
        does not name go to "train".
    thumbnail : callable, optional
        Draws a case for the report.
    dry_run : bool
        Read and measure the cases and tell what would be kept, but write no store.  Cases stay laid ready
        for the build proper.
    simulation : PartSetup, optional
        How the embedded solver computed the cases of other sources than stores; recorded, for models trained
        on them, if all cases were computed so.

    Returns
    -------
    BuildResult
        The catalog, and what to warn of.

    Raises
    ------
    BuildError
        If no case is kept, or the options contradict each other.
    SourceError, RulesError, SplitError
        If the options make no sense with the sources.
    StoreError
        If the store cannot be written at `output`.
    """
    engine = engine or SerialEngine()
    rules = load_rules(options.rules)
    listed = listed_splits(options, official)
    found = [raw for source in sources for raw in source.cases()]
    basic = options.fields == "basic"
    fields = field_names(include_optional=False) if basic else common_fields(found, engine)
    extraction = Extraction(fields, options.sdf_surface, steps=options.steps)
    for source in sources:
        if isinstance(source, StoreSource):
            source.check(extraction, options.round_history)
    with Replacement(output) as replacement:
        replacement.create_spool()
        earlier = earlier_records(replacement.target, extraction, options.round_history)
        extracted = extract_all(found, extraction, rules, replacement.spool, earlier, engine)
        outcomes = list(progress(extracted, len(found)))
        catalog = make_catalog(outcomes, rules)
        if dry_run:
            return BuildResult(catalog)
        selection = select(outcomes, catalog, options, listed)
        recorded, warnings = recorded_simulation(found, selection.splits, simulation)
        with replacement.writing():
            attributes = _attributes(options, extraction, rules, selection)
            if recorded is not None:
                attributes["simulation"] = recorded
            _write(replacement.folder, selection, extraction, rules, options, attributes, engine, thumbnail)
        replacement.commit()
        replacement.clear_spool()
    return BuildResult(selection.catalog, (*selection.warnings, *warnings))


def _write(
    folder: Path,
    selection: Selection,
    extraction: Extraction,
    rules: Sequence[Rule],
    options: BuildOptions,
    attributes: Mapping[str, Any],
    engine: Engine,
    thumbnail: Thumbnail | None,
) -> None:
    """Write everything there is of a store into an empty folder."""
    assemble(
        folder,
        selection.members,
        extraction.variables,
        selection.splits,
        selection.catalog,
        attributes,
        Encoding(history_bits=options.round_history),
        engine,
        history=extraction.history_variables,
    )
    write_documents(folder, selection.leakage, rules, options, thumbnail)
    write_manifest(folder)


def _attributes(
    options: BuildOptions, extraction: Extraction, rules: Sequence[Rule], selection: Selection
) -> dict[str, Any]:
    hashes = {
        str(source): hashlib.sha256("\n".join(sorted(group["content_hash"])).encode()).hexdigest()
        for source, group in selection.catalog.groupby("source")
    }
    terms = source_terms(member.design_id for member in selection.members)
    # A store that is not rounded is the same to the byte as before there was such an option.
    chosen = {name: value for name, value in asdict(options).items() if value is not None}
    return {
        "build": {
            **chosen,
            "rules": [str(rule) for rule in rules],
            "extraction": asdict(extraction),
        },
        "source_hashes": hashes,
        "leakage": selection.leakage.to_json(),
        "licence": options.licence or terms.licence,
        "citation": options.citation or terms.citation,
    }
