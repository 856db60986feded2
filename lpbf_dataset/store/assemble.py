"""A whole store from cases whose rows lie ready."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import zarr
from zarr.errors import ZarrUserWarning

import lpbf_dataset
from lpbf_dataset.engine import SerialEngine, TaskError
from lpbf_dataset.schema import (
    LAYOUT,
    LAYOUT_VERSION,
    MESH_VARIABLES,
    NORMALIZED_DIMS,
    SPLITS,
    STORED_VARIABLES,
)
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.rounding import create_quantization_variable
from lpbf_dataset.store.shards import create_array, plan_shards, write_shard
from lpbf_dataset.store.step_tables import write_step_tables
from lpbf_dataset.store.tables import Member, write_case_table, write_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from lpbf_dataset.engine import Engine
    from lpbf_dataset.store.moments import Moments


def assemble(
    folder: Path,
    members: Sequence[Member],
    fields: Sequence[str],
    splits: Mapping[str, str],
    catalog: pd.DataFrame,
    attributes: Mapping[str, Any],
    encoding: Encoding | None = None,
    engine: Engine | None = None,
    history: Sequence[str] = (),
) -> None:
    """Write a store into an empty folder.

    Parameters
    ----------
    folder : Path
        Absolute path of the folder.
    members : sequence of Member
        The cases, in the order in which they are stored.
    fields : sequence of str
        Nodal variables to store besides the mesh.
    splits : mapping of str to str
        "train", "val" or "test" for each case, by case id.
    catalog : DataFrame
        Every case found, kept or not.
    attributes : mapping of str to JSON values
        Root attributes on top of those every store has.
    encoding : Encoding, optional
        Chunks, shards and codec.
    engine : Engine, optional
        Writes the shards; by default this process.
    history : sequence of str, optional
        Variables of the history, see `lpbf_dataset.schema.history_variables`.  Where no case has one, they
        are left out: the store is one of final states.

    Raises
    ------
    StoreError
        If a case has no split or an unknown one, a column of the catalog cannot be stored, or nothing
        can be written.
    """
    for member in members:
        if splits.get(member.case_id) not in SPLITS:
            raise StoreError(
                f"case {member.case_id!r} has split {splits.get(member.case_id)!r}; "
                f"it needs one of {', '.join(SPLITS)}"
            )
    group = zarr.create_group(folder)
    if not any(member.history for member in members):
        history = ()
    names = (*MESH_VARIABLES, *fields, *history)
    training = [splits[member.case_id] == "train" for member in members]
    moments = write_variables(folder, group, names, members, training, encoding, engine)
    write_case_table(group, members, splits)
    if history:
        write_step_tables(group, members)
        if encoding and encoding.history_bits:
            create_quantization_variable(group)
    write_catalog(group, catalog)
    group.attrs.update(
        {
            **attributes,
            "layout": LAYOUT,
            "layout_version": LAYOUT_VERSION,
            "producer": {"name": "lpbf-toolkit", "version": lpbf_dataset.__version__},
            "normalization": moments,
        }
    )
    consolidate(group)


def write_variables(
    folder: Path,
    group: zarr.Group,
    names: Sequence[str],
    members: Sequence[Member],
    training: Sequence[bool],
    encoding: Encoding | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Write ragged variables of all cases.

    Parameters
    ----------
    folder : Path
        Absolute folder of the store.
    group : zarr.Group
        The same.
    names : sequence of str
        The variables, none of which is in the store.
    members : sequence of Member
        The cases, in order.
    training : sequence of bool
        Which of them are of the training split.
    encoding : Encoding, optional
        Chunks, shards and codec.
    engine : Engine, optional
        Writes the shards; by default this process.

    Returns
    -------
    dict of str to JSON values
        Moments over the training split, as in the attribute ``normalization``, see
        `lpbf_dataset.schema.NORMALIZED_DIMS`.

    Raises
    ------
    StoreError
        If nothing can be written.
    """
    encoding = encoding or Encoding()
    shards = []
    for name in names:
        variable = STORED_VARIABLES[name]
        # A case whose final state alone is known has no rows of a history.
        counts = [member.counts.get(variable.dim, 0) for member in members]
        create_array(group, variable, sum(counts), encoding)
        is_normalized = variable.dim in NORMALIZED_DIMS
        cases = [
            (member.rows, count, is_normalized and train)
            for member, count, train in zip(members, counts, training, strict=True)
        ]
        shards += list(plan_shards(folder, variable, cases, encoding))
    written: dict[int, Moments] = {}
    for index, result in (engine or SerialEngine()).map(write_shard, shards):
        if isinstance(result, TaskError):
            # A worker that was killed, or was slow for a time meant for cases, is no reason to give up.
            result = write_shard(shards[index])
        if result:
            written[index] = result
    merged: dict[str, Moments] = {}
    # In the order of the shards, whoever finished first: sums of floats depend on it.
    for index in sorted(written):
        name = shards[index].name
        merged[name] = merged[name].merge(written[index]) if name in merged else written[index]
    return {name: moments.to_json() for name, moments in merged.items()}


def consolidate(group: zarr.Group) -> None:
    """Gather the metadata of all arrays in that of the root: one file to open instead of fifty."""
    with warnings.catch_warnings():
        # zarr-python and xarray read it, others pass over it.
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        # The documents of a store are no part of the hierarchy.
        warnings.filterwarnings("ignore", "Object at .* is not recognized", ZarrUserWarning)
        zarr.consolidate_metadata(group.store)
