"""Adding or replacing variables of an existing store, without touching the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr

from lpbf_dataset.store.assemble import consolidate, write_variables
from lpbf_dataset.store.case_rows import SpooledRows, spool_case
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.manifest import write_manifest
from lpbf_dataset.store.reader import open_dataset
from lpbf_dataset.store.replacement import Replacement
from lpbf_dataset.store.tables import Member
from lpbf_dataset.store.validate import check_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.case import Case


def replace_variables(
    path: str | PathLike[str],
    names: Sequence[str],
    compute: Callable[[Case], Mapping[str, NDArray[np.generic]]],
    build: Mapping[str, Any],
    progress: Callable[[Iterable[Case]], Iterable[Case]] = lambda cases: cases,
) -> None:
    """Compute nodal variables of every case of a store from its mesh.

    The store is changed at once, when all cases are done; what else it holds stays byte for byte.

    Parameters
    ----------
    path : path
        A local store.
    names : sequence of str
        Nodal variables to add or to replace.
    compute : callable
        From a case with ``points`` and ``cells`` to the named variables.
    build : mapping of str to JSON values
        Entries of the build configuration to change.
    progress : callable, optional
        Wraps the cases, for a progress bar.

    Raises
    ------
    StoreError
        If there is no local store at `path`, it is damaged or cannot be written, or a computed variable
        is not as the schema says.
    """
    if "://" in str(path):
        raise StoreError(f"{path} is remote: variables are replaced in a local store; copy it here first")
    store = open_dataset(path)
    with Replacement(path) as replacement:
        replacement.create_scratch()
        members: list[Member] = []
        for case in progress(store.read(case_id, ("points", "cells")) for case_id in store.case_ids):
            values = compute(case)
            check_rows(case.case_id, values, names, case.node_count)
            rows = SpooledRows(replacement.scratch / f"{len(members)}.safetensors")
            spool_case(rows.path, values, {})
            members.append(Member(case.case_id, case.design_id, case.source, {"node": case.node_count}, rows))
        with replacement.writing():
            _exchange(replacement, names, members, set(store.train.case_ids), build)
        replacement.commit()


def _exchange(
    replacement: Replacement,
    names: Sequence[str],
    members: Sequence[Member],
    training: set[str],
    build: Mapping[str, Any],
) -> None:
    """Make the store anew beside itself, with other variables of these names."""
    replacement.link_target(leave_out=set(names))
    group = zarr.open_group(replacement.folder, mode="r+", use_consolidated=False)
    moments = write_variables(
        replacement.folder, group, names, members, [member.case_id in training for member in members]
    )
    attributes: dict[str, Any] = dict(group.attrs)
    attributes["normalization"] = {**attributes["normalization"], **moments}
    attributes["build"] = {**attributes.get("build", {}), **build}
    group.attrs.put(attributes)
    consolidate(group)
    write_manifest(replacement.folder)
