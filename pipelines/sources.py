"""What the paths that a user names hold: results of simulations, earlier stores, or parts to simulate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.build import StoreSource
from lpbf_dataset.hub import is_hub_url, resolve_source
from lpbf_dataset.sources.base import SourceError
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.npz import NpzSource
from lpbf_dataset.sources.part_files import discover_parts
from lpbf_dataset.store.replacement import restore
from pipelines.simulate import require_unique_names

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    results : list of Source
        Simulated cases.
    parts : list of PartSource
        Parts yet to be simulated.
    official : dict of str to {"train", "val", "test"}
        Split of each case, by case id, that the publisher made.
    """

    results: list[Source] = field(default_factory=list)
    parts: list[PartSource] = field(default_factory=list)
    official: dict[str, Split] = field(default_factory=dict)


def find_sources(names: Sequence[str], downloads: Path, *, absolute: bool = False) -> Sources:
    """Tell results from parts by looking.

    Parameters
    ----------
    names : sequence of str
        Paths, or ``hf://OWNER/NAME`` of a data set on the Hugging Face Hub.
    downloads : Path
        Folder for what is fetched.
    absolute : bool
        Name files from the root on, for workers that run in another folder; as the user did by default, so
        that the catalog does not depend on where that is.

    Raises
    ------
    SourceError
        If a path holds neither.
    HubError
        If a data set cannot be fetched.
    UserError
        If two parts have the same name.
    """
    found = Sources()
    for name in names:
        path = resolve_source(name, downloads) if is_hub_url(name) else Path(name)
        _add(path.absolute() if absolute else path, found)
    require_unique_names(found.parts)
    for part in found.parts:
        if split := getattr(part, "official_split", None):
            found.official[part.name] = split
    return found


def _add(path: Path, found: Sources) -> None:
    restore(path)
    if (path / "zarr.json").is_file():
        found.results.append(StoreSource(path))
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
        found.official.update({c.case_id: c.official_split for c in published.cases() if c.official_split})


def _add_parts(path: Path, found: Sources, no_results: SourceError) -> None:
    try:
        found.parts.extend(discover_parts(path))
    except SourceError:
        raise no_results from None


def procedural_parts(count: int, seed: int) -> list[PartSource]:
    """Return the first parts of the sequence named by a seed."""
    from lpbf_dataset.parts import ProceduralPart

    return [ProceduralPart(index, seed, (DEMO_EDGE, DEMO_EDGE)) for index in range(count)]
