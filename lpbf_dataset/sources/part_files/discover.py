"""Finding part files: one file, a folder of parts, or the Fusion 360 Gallery as it is downloaded."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from lpbf_dataset.sources.base import SourceError, parent_design
from lpbf_dataset.sources.part_files.formats import SUFFIXES
from lpbf_dataset.sources.part_files.reader import PartGeometry, read_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

OfficialSplit: TypeAlias = Literal["train", "test"]

SPLIT_FILE = "train_test.json"
MAX_SPLIT_FILE_BYTES = 64 * 2**20
"""The split file of the Fusion 360 Gallery names 35 680 bodies in under 2 MB."""

_GALLERY_FOLDERS = (Path("meshes"), Path("breps", "step"))
"""Where the segmentation release (s2.0.0) keeps bodies, the preferred folder first."""


@dataclass(frozen=True)
class PartReference:
    """A part file that was found, not yet read.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        File name without its ending; where two folders hold the same, preceded by the folders.
    official_split : {"train", "test"} or None
        Where the publisher of the parts put this one, if it did.
    """

    path: Path
    name: str
    official_split: OfficialSplit | None = None

    @property
    def design_id(self) -> str:
        """Name of the parent CAD model."""
        return parent_design(self.name, self.path.stem)

    def read(self, unit: str | None = None) -> PartGeometry:
        """Read the part.  Raises `CaseError`."""
        part = read_part(self.path, unit)
        return PartGeometry(self.name, self.design_id, part.mesh, part.warnings)


def discover_parts(path: str | PathLike[str]) -> list[PartReference]:
    """Find the part files of a place, in a fixed order, without reading them.

    A folder is searched with all folders inside it, links to folders excepted.  A folder with
    ``meshes/`` or ``breps/step/`` and ``train_test.json`` is taken for the segmentation release of
    the Fusion 360 Gallery: only those two are searched, and each part knows its official split.
    Where a part lies in several formats, a mesh is preferred to STEP.

    Parameters
    ----------
    path : str or path-like
        A part file or a folder.

    Returns
    -------
    list of PartReference
        Sorted by name; names are unique.

    Raises
    ------
    SourceError
        If the place does not exist or holds no part files, or the split file is malformed.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise SourceError(f"{path}: not a part file; give one of {', '.join(SUFFIXES)}, or a folder")
        return [PartReference(path, path.stem)]
    if not path.is_dir():
        raise SourceError(f"{path}: no such file or folder")
    folders = [path / folder for folder in _GALLERY_FOLDERS if (path / folder).is_dir()]
    if folders and (path / SPLIT_FILE).is_file():
        parts = _gallery(folders, _official_split(path / SPLIT_FILE))
    else:
        parts = _folder(path)
    if not parts:
        raise SourceError(f"{path}: holds no part files ({', '.join(SUFFIXES)})")
    return sorted(parts, key=lambda part: part.name)


def _gallery(folders: list[Path], split: Mapping[str, OfficialSplit]) -> list[PartReference]:
    found: dict[str, Path] = {}
    for folder in folders:
        for file in _part_files(folder):
            found.setdefault(file.stem, file)
    return [PartReference(file, name, split.get(name)) for name, file in found.items()]


def _folder(top: Path) -> list[PartReference]:
    found: dict[Path, Path] = {}
    for file in _part_files(top):
        found.setdefault(file.with_suffix(""), file)
    occurrences = Counter(file.stem for file in found.values())
    names = {
        file: file.stem if occurrences[file.stem] == 1 else "__".join(place.relative_to(top).parts)
        for place, file in found.items()
    }
    return [PartReference(file, name) for file, name in names.items()]


def _part_files(top: Path) -> Iterator[Path]:
    """Yield part files, of those of one name in a folder the preferred format first."""
    for folder, subfolders, names in os.walk(top):
        subfolders.sort()
        files = [Path(folder, name) for name in sorted(names)]
        parts = [file for file in files if file.suffix.lower() in SUFFIXES]
        yield from sorted(parts, key=lambda file: SUFFIXES.index(file.suffix.lower()))


def _official_split(file: Path) -> dict[str, OfficialSplit]:
    if file.stat().st_size > MAX_SPLIT_FILE_BYTES:
        raise SourceError(f"{file}: larger than {MAX_SPLIT_FILE_BYTES >> 20} MiB, no list of part names")
    try:
        table = json.loads(file.read_bytes())
        split: dict[str, OfficialSplit] = {}
        for side in ("train", "test"):
            split |= dict.fromkeys((str(name) for name in table[side]), side)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(
            f'{file}: expected {{"train": [names], "test": [names]}} ({type(error).__name__}: {error})'
        ) from None
    return split
