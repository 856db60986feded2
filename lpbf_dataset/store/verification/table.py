"""The case table and the catalog: against themselves, the arrays, and each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from lpbf_dataset.schema import RAGGED_DIMS, SPLITS, STATISTICS, VARIABLES
from lpbf_dataset.store.layout import CATALOG_GROUP, STATISTIC_PREFIX, table_attributes
from lpbf_dataset.store.tables import read_columns
from lpbf_dataset.store.verification.metadata import catalog_columns
from lpbf_dataset.store.verification.problems import UNREADABLE, Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.store.verification.metadata import Arrays, Members
    from lpbf_dataset.store.verification.problems import Report

Table = dict[str, "NDArray[Any]"]
"""Columns of equal length, by name; those that could not be read are not there."""

_PLURALS = {"case": "cases", "step": "steps", "mesh": "meshes"}


def check_table(group: zarr.Group, arrays: Arrays, report: Report) -> Table:
    """Read the case table and compare it with itself and with the lengths of the ragged arrays.

    Parameters
    ----------
    group : zarr.Group
        Root of the store.
    arrays : dict of str to zarr.Array
        Its usable arrays.
    report : Report
        Takes the problems.

    Returns
    -------
    dict of str to ndarray
        Columns by name; counts and offsets of a dimension only if the cases lie end to end.
    """
    columns = {name: arrays[name] for name in table_attributes() if name in arrays}
    table = read_usable(group, columns, report)
    _check_texts(table, report)
    for dim in RAGGED_DIMS:
        lengths = {
            name: arrays[name].shape[0] for name in VARIABLES if VARIABLES[name].dim == dim and name in arrays
        }
        counts, offsets = table.pop(f"{dim}_count", None), table.pop(f"{dim}_offset", None)
        if counts is None or offsets is None:
            continue
        if lie_end_to_end(dim, counts, offsets, lengths, report):
            table.update({f"{dim}_count": counts, f"{dim}_offset": offsets})
    return table


def read_usable(group: zarr.Group, arrays: Arrays, report: Report) -> Table:
    """Read columns of one length, that of the column ``case_id`` if it is among them, as far as they go."""
    table: Table = {}
    any_column = next(iter(arrays), "")
    for name, array in arrays.items():
        path = f"{group.path}/{name}".lstrip("/")
        expected = arrays.get("case_id", arrays[any_column]).shape[:1]
        if array.shape != expected:
            report.add(Code.COUNTS_MISMATCH, path, f"shape is {array.shape}, not {expected}")
            continue
        try:
            table[name] = read_columns(group, [name])[name]
        except UNREADABLE as error:
            report.add(Code.CORRUPT_CHUNK, path, f"cannot be read: {error!r}")
    return table


def _check_texts(table: Table, report: Report) -> None:
    seen: dict[str, int] = {}
    for row, case_id in enumerate(table.get("case_id", ())):
        if not case_id:
            report.add(Code.DUPLICATE_CASE_ID, "case_id", f"case {row} has no id")
        elif case_id in seen:
            report.add(Code.DUPLICATE_CASE_ID, "case_id", f"{case_id!r} is case {seen[case_id]} and {row}")
        seen[case_id] = row
    for row, split in enumerate(table.get("split", ())):
        if split not in SPLITS:
            report.add(
                Code.UNKNOWN_SPLIT, "split", f"split of case {row} is {split!r}, not {', '.join(SPLITS)}"
            )


def lie_end_to_end(
    dim: str,
    counts: NDArray[Any],
    offsets: NDArray[Any],
    lengths: Mapping[str, int],
    report: Report,
    parent: str = "case",
) -> bool:
    """Tell whether rows lie end to end along a ragged dimension, and report where they do not.

    Parameters
    ----------
    dim : str
        The ragged dimension.
    counts, offsets : (n,) int64 ndarray
        Rows of each case, step or mesh, and the first of them.
    lengths : mapping of str to int
        Length of each array along the dimension.
    report : Report
        Takes the problems.
    parent : {"case", "step", "mesh"}
        What the counts are of.
    """
    if (counts < 0).any():
        row = int(np.argmax(counts < 0))
        report.add(Code.COUNTS_MISMATCH, f"{dim}_count", f"{parent} {row} has {counts[row]} {dim}s")
        return False
    # Python's integers, as the sum of damaged counts may exceed 64 bits.
    total = sum(counts.tolist())
    for name, length in lengths.items():
        if total != length:
            report.add(
                Code.COUNTS_MISMATCH, name, f"has {length} rows, but the {_PLURALS[parent]} {total} {dim}s"
            )
    expected = np.cumsum(counts) - counts
    wrong = offsets != expected
    if wrong.any():
        row = int(np.argmax(wrong))
        report.add(
            Code.OFFSETS_OUT_OF_ORDER,
            f"{dim}_offset",
            f"{parent} {row} begins at {offsets[row]}, not {expected[row]}",
        )
    return not wrong.any() and all(total == length for length in lengths.values())


def check_catalog(members: Members, table: Table, report: Report) -> None:
    """Read the catalog and compare the cases it says were kept with those that are stored.

    Parameters
    ----------
    members : dict of str to zarr.Array, zarr.Group or None
        Arrays and groups of the store.
    table : dict of str to ndarray
        The case table.
    report : Report
        Takes the problems.
    """
    group = members.get(CATALOG_GROUP)
    if not isinstance(group, zarr.Group):
        if CATALOG_GROUP not in members:
            report.add(Code.CATALOG_MISMATCH, CATALOG_GROUP, "the store has no catalog")
        return
    if "columns" not in group.attrs:
        report.add(Code.MISSING_ATTRIBUTE, CATALOG_GROUP, "has no attribute 'columns'")
        return
    arrays: Arrays = {}
    for name, path in catalog_columns(members).items():
        member = members.get(path)
        if isinstance(member, zarr.Array):
            arrays[name] = member
        elif path not in members:
            report.add(Code.MISSING_ARRAY, path, "named among the columns, but not there")
    catalog = read_usable(group, arrays, report)
    for name in ("case_id", "status"):
        if name not in catalog:
            report.add(Code.CATALOG_MISMATCH, CATALOG_GROUP, f"has no usable column {name!r}")
            return
    if "case_id" in table:
        _compare_kept(catalog, table, report)


def _compare_kept(catalog: Table, table: Table, report: Report) -> None:
    kept = np.flatnonzero(catalog["status"] == "kept")
    entry_of = {catalog["case_id"][entry]: int(entry) for entry in kept}
    stored = {case_id: row for row, case_id in enumerate(table["case_id"])}
    if len(kept) != len(entry_of):
        report.add(Code.CATALOG_MISMATCH, CATALOG_GROUP, "the catalog says of a case twice that it was kept")
    for case_id in sorted(stored.keys() - entry_of.keys()):
        report.add(
            Code.CATALOG_MISMATCH, CATALOG_GROUP, f"case {case_id!r} is stored, but not listed as kept"
        )
    for case_id in sorted(entry_of.keys() - stored.keys()):
        report.add(
            Code.CATALOG_MISMATCH, CATALOG_GROUP, f"case {case_id!r} is listed as kept, but not stored"
        )
    both = [case_id for case_id in stored if case_id in entry_of]
    rows = [stored[case_id] for case_id in both]
    entries = [entry_of[case_id] for case_id in both]
    for name in ("design_id", "source", *STATISTICS):
        column = STATISTIC_PREFIX + name if name in STATISTICS else name
        if name in catalog and column in table:
            _compare_column(name, both, catalog[name][entries], table[column][rows], report)


def _compare_column(
    name: str, case_ids: Sequence[str], listed: NDArray[Any], stored: NDArray[Any], report: Report
) -> None:
    for case_id, given, expected in zip(case_ids, listed.tolist(), stored.tolist(), strict=True):
        both_nan = given != given and expected != expected
        if given != expected and not both_nan:
            report.add(
                Code.CATALOG_MISMATCH,
                f"{CATALOG_GROUP}/{name}",
                f"{given!r} for case {case_id!r}, but {expected!r} in the case table",
            )
