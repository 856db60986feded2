"""Groups and arrays against the schema, before any value is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import zarr

from lpbf_dataset.schema import (
    LAYOUT,
    LAYOUT_VERSION,
    MESH_VARIABLES,
    STATISTICS,
    STORED_VARIABLES,
    history_variables,
)
from lpbf_dataset.store.layout import (
    CASE_DIM,
    CASE_TEXTS,
    CATALOG_GROUP,
    HISTORY_MARK,
    STATISTIC_PREFIX,
    StoreError,
    history_columns,
    table_attributes,
    variable_attributes,
)
from lpbf_dataset.store.rounding import QUANTIZATION_VARIABLE
from lpbf_dataset.store.verification.problems import UNREADABLE, Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lpbf_dataset.store.manifest import StoreFiles
    from lpbf_dataset.store.verification.problems import Report

Arrays = dict[str, "zarr.Array[Any]"]
"""Arrays whose metadata are as the schema says, by name."""

Members = dict[str, "zarr.Array[Any] | zarr.Group | None"]
"""Arrays and groups by path in the store; None for those whose metadata cannot be read."""

ROOT_ATTRIBUTES = ("producer", "normalization")
"""Attributes of every store besides layout and version."""


def open_root(location: str, report: Report) -> zarr.Group | None:
    """Open the root group of a store.

    Parameters
    ----------
    location : str
        Absolute path or fsspec URL.
    report : Report
        Takes the problems.

    Returns
    -------
    zarr.Group or None
        Without consolidated metadata; None if it cannot be read and the report says so.

    Raises
    ------
    StoreError
        If this is no store, or a newer one; unless files that are known to be damaged tell it is one.
    """
    try:
        group = zarr.open_group(location, mode="r", use_consolidated=False)
        attributes = dict(group.attrs)
        flaw = _flaw(attributes)
    except UNREADABLE as error:
        flaw = f"cannot be read as an LPBF store: {error}"
    if flaw is not None:
        if not report.has_errors:
            raise StoreError(f"{location} {flaw}")
        report.add(Code.BAD_METADATA, "zarr.json", flaw)
        return None
    for name in ROOT_ATTRIBUTES:
        if name not in attributes:
            report.add(Code.MISSING_ATTRIBUTE, "zarr.json", f"the store has no attribute {name!r}")
    return group


def _flaw(attributes: Mapping[str, Any]) -> str | None:
    """Say why a group with these attributes is no store that can be verified, if it is none."""
    if attributes.get("layout") != LAYOUT:
        return f"is not an LPBF store: its layout is {attributes.get('layout')!r}"
    version = attributes.get("layout_version")
    if type(version) is not int or version > LAYOUT_VERSION:
        return (
            f"has layout version {version}; upgrade lpbf_dataset, which knows versions up to {LAYOUT_VERSION}"
        )
    return None


def open_members(files: StoreFiles, group: zarr.Group, report: Report) -> Members:
    """Read the metadata of every array and group, and compare them with their copies in the root's.

    xarray and zarr-python read the copies, tensorstore the originals.

    Parameters
    ----------
    files : StoreFiles
        The store.
    group : zarr.Group
        Its root, opened without the copies.
    report : Report
        Takes the problems.

    Returns
    -------
    dict of str to zarr.Array, zarr.Group or None
        By path in the store; None where the metadata cannot be read and the report says so.
    """
    copies = _consolidated(files.location, report)
    members: Members = {}

    def open_each(paths: Iterable[str]) -> None:
        for path in paths:
            try:
                members[path] = group[path]
            except UNREADABLE as error:
                if files.exists(f"{path}/zarr.json"):
                    members[path] = None
                    report.add(Code.BAD_METADATA, f"{path}/zarr.json", f"cannot be read: {error!r}")

    expected = dict.fromkeys([*copies, CATALOG_GROUP, QUANTIZATION_VARIABLE, *dict(_expected_arrays())])
    open_each(expected)
    open_each(path for path in catalog_columns(members).values() if path not in expected)
    for path, copy in copies.items():
        if path not in members:
            report.add(Code.MISSING_ARRAY, path, "named in the root's zarr.json, but not there")
        elif (member := members[path]) is not None and _comparable(member.metadata) != copy:
            report.add(Code.BAD_METADATA, f"{path}/zarr.json", "differs from its copy in the root's")
    for path in members.keys() - copies.keys() if copies else ():
        report.add(Code.BAD_METADATA, "zarr.json", f"consolidated metadata lack {path}")
    return members


def catalog_columns(members: Members) -> dict[str, str]:
    """Paths of the columns of the catalog by their names, as far as the catalog tells."""
    group = members.get(CATALOG_GROUP)
    names = group.attrs.asdict().get("columns") if isinstance(group, zarr.Group) else None
    return {str(name): f"{CATALOG_GROUP}/{name}" for name in names} if isinstance(names, list) else {}


def _consolidated(location: str, report: Report) -> dict[str, dict[str, Any]]:
    try:
        metadata = zarr.open_group(location, mode="r", use_consolidated=True).metadata
        assert metadata.consolidated_metadata is not None
        copies = metadata.consolidated_metadata.flattened_metadata
        return {path: _comparable(copy) for path, copy in sorted(copies.items())}
    except UNREADABLE as error:
        report.add(Code.BAD_METADATA, "zarr.json", f"consolidated metadata cannot be read: {error!r}")
        return {}


def _comparable(metadata: Any) -> dict[str, Any]:
    """Metadata as JSON values, in which NaN equals NaN."""
    return {name: value for name, value in metadata.to_dict().items() if name != "consolidated_metadata"}


@dataclass(frozen=True)
class _Expected:
    """Metadata that the schema demands of an array."""

    dims: tuple[str, ...]
    dtype: str
    row_shape: tuple[int, ...]
    attributes: Mapping[str, Any]
    required: bool


def _expected_arrays() -> Iterator[tuple[str, _Expected]]:
    dtypes = {
        **dict.fromkeys(CASE_TEXTS, "string"),
        **{STATISTIC_PREFIX + name: statistic.dtype for name, statistic in STATISTICS.items()},
    }
    for name, attributes in table_attributes().items():
        required = name.removeprefix(STATISTIC_PREFIX) not in STATISTICS
        yield name, _Expected((CASE_DIM,), dtypes.get(name, "int64"), (), attributes, required)
    for name, column in history_columns().items():
        yield name, _Expected((column.dim,), column.dtype, (), column.attributes, required=False)
    for name, variable in STORED_VARIABLES.items():
        attributes = variable_attributes(variable)
        required = name in MESH_VARIABLES
        yield name, _Expected(variable.dims, variable.dtype, variable.row_shape, attributes, required)


def check_arrays(members: Members, report: Report) -> Arrays:
    """Compare the arrays of a store with the schema.

    Parameters
    ----------
    members : dict of str to zarr.Array, zarr.Group or None
        See `open_members`.
    report : Report
        Takes the problems.

    Returns
    -------
    dict of str to zarr.Array
        Those of the case table and the ragged variables that can be read as the schema says.
    """
    arrays: Arrays = {}
    of_history = {*history_columns(), *history_variables(())} if HISTORY_MARK in members else set()
    for name, expected in _expected_arrays():
        member = members.get(name)
        if isinstance(member, zarr.Array):
            if _is_as_expected(name, member, expected, report):
                arrays[name] = member
        elif member is not None:
            report.add(Code.BAD_METADATA, f"{name}/zarr.json", "is not that of an array")
        elif name not in members and expected.required:
            report.add(Code.MISSING_ARRAY, name, "every store has this array")
        elif name not in members and name in of_history:
            report.add(Code.MISSING_ARRAY, name, "every store with a history has this array")
    return arrays


def _is_as_expected(name: str, array: zarr.Array[Any], expected: _Expected, report: Report) -> bool:
    """Report what is wrong with the metadata of an array; tell whether its values can be used."""
    check_attributes(name, array.attrs.asdict(), expected.attributes, report)
    dims = cast("Any", array.metadata).dimension_names
    if dims != expected.dims:
        report.add(Code.WRONG_DIMENSIONS, name, f"dimensions are {dims}, not {expected.dims}")
    # NumPy has two kinds of text of any length.
    dtype = "string" if array.dtype.kind in "TO" else array.dtype.name
    if dtype != expected.dtype:
        report.add(Code.WRONG_DTYPE, name, f"dtype is {array.dtype}, not {expected.dtype}")
        return False
    if array.ndim != 1 + len(expected.row_shape) or array.shape[1:] != expected.row_shape:
        wanted = ", ".join(map(str, ("n", *expected.row_shape)))
        report.add(Code.WRONG_DIMENSIONS, name, f"shape is {array.shape}, not ({wanted})")
        return False
    return True


def check_attributes(
    name: str, attributes: Mapping[str, Any], expected: Mapping[str, Any], report: Report
) -> None:
    """Compare attributes of an array with those that it must have; others are not looked at."""
    for key, value in expected.items():
        if key not in attributes:
            report.add(Code.MISSING_ATTRIBUTE, name, f"has no attribute {key!r}")
        elif key == "units" and attributes[key] != value:
            report.add(Code.WRONG_UNITS, name, f"units are {attributes[key]!r}, not {value!r}")
        # A long_name is prose, which a later version may word better.
        elif key != "long_name" and attributes[key] != value:
            report.add(Code.BAD_METADATA, name, f"attribute {key!r} is {attributes[key]!r}, not {value!r}")


def check_chunks(arrays: Arrays, sizes: Mapping[str, int], report: Report) -> frozenset[str]:
    """Look for the files of the ragged variables, one per shard.

    Parameters
    ----------
    arrays : dict of str to zarr.Array
        Arrays of the store.
    sizes : mapping of str to int
        Files of the store as listed.
    report : Report
        Takes the problems.

    Returns
    -------
    frozenset of str
        Paths of the files that are missing.
    """
    missing: set[str] = set()
    for name in STORED_VARIABLES.keys() & arrays.keys():
        array = arrays[name]
        shards = -(-array.shape[0] // rows_per_file(array))
        # Of a length that is itself damaged, the first absent file says enough.
        there = sum(path.startswith(f"{name}/c/") for path in sizes)
        for shard in range(min(shards, there + 1)):
            path = file_of(array, name, shard)
            if path not in sizes:
                report.add(Code.MISSING_CHUNK, path, f"{name} has {array.shape[0]} rows, so this file is due")
                missing.add(path)
    return frozenset(missing)


def rows_per_file(array: zarr.Array[Any]) -> int:
    """Rows of a ragged array in one file: a shard, or a chunk of an array without shards."""
    return (array.shards or array.chunks)[0]


def file_of(array: zarr.Array[Any], name: str, index: int) -> str:
    """Path in the store of a file of a ragged array."""
    return "/".join([name, "c", str(index), *["0"] * (array.ndim - 1)])
