"""What the paths that a user names hold: results of simulations, earlier stores, or parts to simulate."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from lpbf_dataset.build import StoreSource
from lpbf_dataset.hub import is_hub_url, parse_hub_url, resolve_source
from lpbf_dataset.sources.base import SourceError
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.npz import NpzSource
from lpbf_dataset.sources.part_files import discover_parts
from lpbf_dataset.store.filesystem import connect, reporting
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.manifest import MANIFEST, StoreFiles
from lpbf_dataset.store.remote import ROOT, fetch, is_remote
from lpbf_dataset.store.replacement import restore
from pipelines.simulate import require_unique_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lpbf_dataset.schema import Split
    from lpbf_dataset.simulation.job import PartSource
    from lpbf_dataset.sources.base import Source

DEMO_EDGE = 30.0
"""Longest edge of procedural parts in mm: seconds a part, where the published 60 mm take half a minute."""


@dataclass(frozen=True)
class Sources:
    """What a build starts from.

    Parameters
    ----------
    results : list of Source or StoreSource
        Simulated cases.
    parts : list of PartSource
        Parts yet to be simulated.
    official : dict of str to {"train", "val", "test"}
        Split of each case, by case id, that its publisher or an earlier build made; of two sources that name
        a case the first counts.
    """

    results: list[Source | StoreSource] = field(default_factory=list)
    parts: list[PartSource] = field(default_factory=list)
    official: dict[str, Split] = field(default_factory=dict)

    def add_official(self, splits: Mapping[str, Split]) -> None:
        """Take over the splits of cases that have none yet."""
        self.official.update({**splits, **self.official})


def find_sources(
    names: Sequence[str], downloads: Path, *, absolute: bool = False, quiet: bool = False
) -> Sources:
    """Tell results from parts by looking.

    Parameters
    ----------
    names : sequence of str
        Paths, fsspec URLs of stores, or ``hf://OWNER/NAME`` of a data set on the Hugging Face Hub.
    downloads : Path
        Folder for what is fetched.
    absolute : bool
        Name files from the root on, for workers that run in another folder; as the user did by default, so
        that the catalog does not depend on where that is.
    quiet : bool
        Show no progress of downloads.

    Raises
    ------
    SourceError
        If a path holds neither.
    HubError
        If a data set cannot be fetched.
    StoreError
        If a store cannot be.
    UserError
        If two parts have the same name.
    """
    found = Sources()
    for name in names:
        path = _fetched(name, downloads, quiet) if is_remote(name) else Path(name)
        _add(path.absolute() if absolute else path, found)
    require_unique_names(found.parts)
    splits = {part.name: getattr(part, "official_split", None) for part in found.parts}
    found.add_official({name: split for name, split in splits.items() if split})
    return found


def _fetched(url: str, downloads: Path, quiet: bool) -> Path:
    """Local copy of a store, or of the release of a data set on the Hub."""
    if is_hub_url(url):
        repository = parse_hub_url(url).url
        if not _holds_store(repository):
            return resolve_source(url, downloads)
        url = repository
    # Every file of a store is read twice, to be checked and to be taken over, and many times by chunks.
    copy = downloads / url.rstrip("/").replace("://", "--").replace("/", "--")
    if copy.exists():
        with reporting(f"cannot read {url}"):
            if StoreFiles(copy).read(MANIFEST) == StoreFiles(url).read(MANIFEST):
                return copy
        shutil.rmtree(copy)
    fetch(url, copy, lambda names: tqdm(names, desc="download", unit="file", disable=quiet))
    return copy


def _holds_store(url: str) -> bool:
    try:
        with reporting(f"cannot look into {url}"):
            filesystem, path = connect(url)
            return bool(filesystem.isfile(f"{path}/{ROOT}"))
    except StoreError:
        # Whoever fetches from there says in its own words what is wrong.
        return False


def _add(path: Path, found: Sources) -> None:
    restore(path)
    if (path / ROOT).is_file():
        store = StoreSource(path)
        found.results.append(store)
        found.add_official(store.splits)
        return
    try:
        found.results.append(NetfabbSource(path))
    except SourceError as no_results:
        if not path.exists():
            raise
        try:
            published = NpzSource(path)
        except SourceError:
            _add_parts(path, found, no_results)
            return
        found.results.append(published)
        found.add_official({c.case_id: c.official_split for c in published.cases() if c.official_split})


def _add_parts(path: Path, found: Sources, no_results: SourceError) -> None:
    try:
        found.parts.extend(discover_parts(path))
    except SourceError:
        raise no_results from None


def procedural_parts(count: int, seed: int) -> list[PartSource]:
    """Return the first parts of the sequence named by a seed."""
    from lpbf_dataset.parts import ProceduralPart

    return [ProceduralPart(index, seed, (DEMO_EDGE, DEMO_EDGE)) for index in range(count)]
