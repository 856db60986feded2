"""What a store carries for people: report, dataset card, Croissant metadata and the catalog as Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from lpbf_dataset.curation.histories import Histories
from lpbf_dataset.curation.leakage import compare_splits
from lpbf_dataset.curation.rules import sensitivity
from lpbf_dataset.export.parquet import CATALOG_FILE, export_catalog, export_steps
from lpbf_dataset.report import Curation, croissant_metadata, dataset_card, extreme_cases, report_html
from lpbf_dataset.store.manifest import StoreFiles
from lpbf_dataset.store.reader import open_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lpbf_dataset.build.options import BuildOptions
    from lpbf_dataset.case import Case
    from lpbf_dataset.curation.leakage import Leakage
    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.curation.splits import SplitMethod
    from lpbf_dataset.store.reader import Dataset

Thumbnail = Callable[["Case"], bytes]
"""Draws a case as PNG."""

REPORT = "report.html"
CARD = "README.md"
CROISSANT = "croissant.json"

COMPARED: tuple[SplitMethod, ...] = ("design", "random", "size", "largest", "tallest", "thinnest")
"""Splits that the report compares."""


def write_documents(
    folder: Path,
    leakage: Leakage,
    rules: Sequence[Rule],
    options: BuildOptions,
    thumbnail: Thumbnail | None,
) -> None:
    """Write the documents into the folder of a store that is whole but for them.

    Parameters
    ----------
    folder : Path
        Folder of the store.
    leakage : Leakage
        What its splits have in common.
    rules : sequence of Rule
        The rules by which cases were kept.
    options : BuildOptions
        Seed and fractions of the splits that are compared.
    thumbnail : callable or None
        Draws the extreme cases.
    """
    store = open_dataset(folder)
    export_catalog(store, folder)
    curation = _curation(store, leakage, rules, options)
    drawn = sorted(set(extreme_cases(curation)) & set(store.case_ids))
    pictures = {case_id: thumbnail(store[case_id]) for case_id in drawn} if thumbnail else {}
    tables = [CATALOG_FILE]
    if curation.histories is not None:
        tables.append(export_steps(store, folder).name)
    files = StoreFiles(folder)
    croissant = croissant_metadata(curation, sha256={name: files.sha256(name) for name in tables})
    texts = {
        REPORT: report_html(curation, pictures),
        CARD: dataset_card(curation),
        CROISSANT: json.dumps(croissant, indent=2),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _curation(store: Dataset, leakage: Leakage, rules: Sequence[Rule], options: BuildOptions) -> Curation:
    made = Curation(
        store.catalog(),
        rules,
        leakage=leakage,
        attributes=store.attributes,
        histories=Histories.of_store(store),
    )
    return replace(
        made,
        sensitivity=sensitivity(made.readable, rules),
        split_comparison=compare_splits(
            made.kept, COMPARED, store.shape_descriptors(), options.seed, options.split_fractions
        ),
    )
