"""Read EnSight Gold ``.case``, geometry and variable files from paths and streams."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lpbf_dataset.sources.ensight.case import CaseFile, parse_case
from lpbf_dataset.sources.ensight.geometry import NODES_PER_CELL, Geometry, Part
from lpbf_dataset.sources.ensight.records import EnsightError, RecordReader, TruncatedError, open_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lpbf_dataset.sources.ensight.case import Location

_ANNOUNCEMENTS = {"c binary", "fortran binary"}
_HAS_IDS = {"off": False, "assign": False, "given": True, "ignore": True}


def read_case(file: str | PathLike[str] | BinaryIO) -> CaseFile:
    """Read a ``.case`` file.

    Parameters
    ----------
    file : path or binary stream
        File names in it stay relative to the file, with forward slashes.
    """
    return parse_case(_contents(file).decode("utf-8", errors="replace"))


def read_geometry(file: str | PathLike[str] | BinaryIO) -> Geometry:
    """Read a geometry file.

    Node and element ids are labels without a meaning for the mesh (connectivity counts positions),
    so they are passed over where the file gives them.

    Parameters
    ----------
    file : path or binary stream
    """
    data = _contents(file)
    records = open_records(data)
    first = records.text()
    if first.lower() in _ANNOUNCEMENTS:
        first = records.text()
    if first == "BEGIN TIME STEP":
        raise EnsightError("several time steps in one file are not supported")
    descriptions = first, records.text()
    node_ids = _has_ids(records.text(), "node id")
    cell_ids = _has_ids(records.text(), "element id")
    keyword = records.keyword()
    if keyword == "extents":
        records.skip_extents()
        keyword = records.keyword()

    parts: dict[int, Part] = {}
    while keyword is not None:
        if keyword != "part":
            raise EnsightError(f"{keyword!r} where 'part' is due")
        part, keyword = _read_part(records, node_ids=node_ids, cell_ids=cell_ids)
        if part.number in parts:
            raise EnsightError(f"part {part.number} occurs twice")
        parts[part.number] = part
    if not parts:
        raise TruncatedError("the file ends before the first part")
    return Geometry(tuple(parts.values()), descriptions)


def _read_part(records: RecordReader, *, node_ids: bool, cell_ids: bool) -> tuple[Part, str | None]:
    """Read what follows the word ``part``; also returns the keyword after the part."""
    number = records.part_number()
    description = records.text()
    if (block := records.text()) != "coordinates":
        raise EnsightError(f"part {number}: {block!r} where 'coordinates' is due")
    node_count = records.count()
    if node_ids:
        records.integers(node_count)
    points = np.stack([records.floats(node_count) for _ in "xyz"], axis=1)

    cells: dict[str, NDArray[np.int32]] = {}
    while (keyword := records.keyword()) not in {None, "part"}:
        if keyword not in NODES_PER_CELL:
            raise EnsightError(f"part {number}: element type {keyword!r} is not supported")
        if keyword in cells:
            raise EnsightError(f"part {number}: two blocks of {keyword}")
        cell_count = records.count()
        if cell_ids:
            records.integers(cell_count)
        one_based = records.integers(cell_count, NODES_PER_CELL[keyword])
        if cell_count and not (one_based.min() >= 1 and one_based.max() <= node_count):
            raise EnsightError(
                f"part {number}: {keyword} cells refer to nodes {one_based.min()} to {one_based.max()}, "
                f"but nodes count from 1 to {node_count}"
            )
        cells[keyword] = one_based - np.int32(1)
    return Part(points, cells, number, description), keyword


def read_variable(
    file: str | PathLike[str] | BinaryIO, geometry: Geometry, components: int, location: Location = "node"
) -> dict[int, NDArray[np.float32]]:
    """Read a variable file.

    Parameters
    ----------
    file : path or binary stream
    geometry : Geometry
        The mesh the values belong to; the file itself does not say how many there are.
    components : int
        Numbers per node or element: 1, 3 (x, y, z), 6 (11, 22, 33, 12, 13, 23) or 9.
    location : {"node", "element"}
        What the values belong to.

    Returns
    -------
    dict of int to (n,) or (n, components) float32 ndarray
        Values by part number, element values in the order of the cells of the part; parts on which
        the variable is not defined are left out.
    """
    records = open_records(_contents(file))
    records.text()
    parts = {part.number: part for part in geometry.parts}
    values: dict[int, NDArray[np.float32]] = {}
    keyword = records.keyword()
    while keyword is not None:
        if keyword != "part":
            raise EnsightError(f"{keyword!r} where 'part' is due")
        number = records.part_number()
        if number not in parts or number in values:
            raise EnsightError(f"part {number} is not in the geometry, or occurs twice")
        blocks, keyword = _read_blocks(records, parts[number].value_counts(location), components)
        values[number] = blocks[:, 0] if components == 1 else blocks
    if not values:
        raise TruncatedError("the file ends before the first part")
    return values


def _read_blocks(
    records: RecordReader, sizes: Mapping[str, int], components: int
) -> tuple[NDArray[np.float32], str | None]:
    """Read the values of one part, (n, components); also returns the keyword after them."""
    blocks: dict[str, NDArray[np.float32]] = {}
    while (keyword := records.keyword()) not in {None, "part"}:
        if keyword not in sizes or keyword in blocks:
            raise EnsightError(f"block {keyword!r} where {' or '.join(sizes)} is due")
        # Components stand one after another.
        flat = records.floats(sizes[keyword] * components)
        blocks[keyword] = flat.reshape(components, sizes[keyword]).T
    if missing := sizes.keys() - blocks.keys():
        raise TruncatedError(f"no values for {', '.join(sorted(missing))}")
    return np.concatenate([np.empty((0, components), np.float32), *map(blocks.__getitem__, sizes)]), keyword


def _has_ids(line: str, what: str) -> bool:
    setting = line.removeprefix(what).strip()
    if not line.startswith(what) or setting not in _HAS_IDS:
        raise EnsightError(f"{line!r} where '{what} off', 'assign', 'given' or 'ignore' is due")
    return _HAS_IDS[setting]


def _contents(file: str | PathLike[str] | BinaryIO) -> bytes:
    return Path(file).read_bytes() if isinstance(file, (str, PathLike)) else file.read()
