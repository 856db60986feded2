"""Writing a store: case after case beside the target, then in place at once."""

from __future__ import annotations

import secrets
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zarr
from zarr.errors import ZarrUserWarning

import lpbf_dataset
from lpbf_dataset.schema import LAYOUT, LAYOUT_VERSION, MESH_VARIABLES, SPLITS, VARIABLES
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.moments import Moments
from lpbf_dataset.store.ragged_writer import RaggedWriter
from lpbf_dataset.store.tables import CaseRow, write_case_table, write_catalog
from lpbf_dataset.store.validate import check_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    import pandas as pd

    from lpbf_dataset.case import Case


class StoreWriter:
    """Write cases to a new store.

    >>> with StoreWriter("lpbf.zarr", fields=("displacement",)) as writer:  # doctest: +SKIP
    ...     for case in cases:
    ...         writer.append(case)
    ...     writer.finish(splits, catalog)

    The store grows in ``.<name>.<random>.partial`` beside the target and is renamed into place by
    `finish`; an earlier store at the target is removed only then.  Leaving the ``with`` block
    before that, for whatever reason, removes what was written and leaves the target as it was.  (An
    earlier store is moved to ``.<name>.<random>.replaced`` for the moment between the two renames.)
    The same cases in the same order give the same bytes.

    Parameters
    ----------
    path : path
        The store to write.  Missing parent folders are made.
    fields : sequence of str
        Nodal fields that every case has, by the names of `lpbf_dataset.schema.VARIABLES`.
    encoding : Encoding, optional
        Chunks, shards and codec.

    Raises
    ------
    StoreError
        If something that is not a store is at `path`, or nothing can be written there.
    """

    def __init__(
        self, path: str | PathLike[str], fields: Sequence[str], encoding: Encoding | None = None
    ) -> None:
        # Resolved, so that a link goes on to point at the store.
        self._target = Path(path).resolve()
        _check_replaceable(self._target)
        self._fields = tuple(fields)
        self._encoding = encoding or Encoding()
        self._partial = self._beside("partial")
        self._arrays: dict[str, RaggedWriter] = {}
        self._rows: dict[str, CaseRow] = {}
        self._moments: dict[str, dict[str, Moments]] = {}

    def __enter__(self) -> Self:
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise StoreError(f"cannot write a store at {self._target}: {error.strerror}") from error
        try:
            self._group = zarr.create_group(self._partial)
            for name in (*MESH_VARIABLES, *self._fields):
                self._arrays[name] = RaggedWriter(self._partial, self._group, VARIABLES[name], self._encoding)
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def append(self, case: Case) -> None:
        """Add a case.

        Parameters
        ----------
        case : Case
            With the mesh, the fields of this store and, as far as known, the statistics.  Other
            variables are left out; its split is given to `finish`.

        Raises
        ------
        StoreError
            If a variable is missing or is not as the schema says, or the case was added before.
        """
        if case.case_id in self._rows:
            raise StoreError(f"case {case.case_id!r} was added before; case ids must be unique")
        counts = check_case(case, self._fields)
        for name, array in self._arrays.items():
            array.append(case.variables[name])
        self._rows[case.case_id] = CaseRow(case.design_id, case.source, counts, dict(case.statistics))
        if counts["node"]:
            self._moments[case.case_id] = {
                name: Moments.of(case.variables[name]) for name in ("points", *self._fields)
            }

    def finish(
        self,
        splits: Mapping[str, str],
        catalog: pd.DataFrame,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Complete the store and put it in place.

        Parameters
        ----------
        splits : mapping of str to str
            "train", "val" or "test" for each case that was added, by case id.
        catalog : DataFrame
            Every case found, kept or not, one a row; columns of text, numbers or booleans.
        attributes : mapping of str to JSON values, optional
            Root attributes on top of those every store has, for example the build configuration.

        Raises
        ------
        StoreError
            If a case has no split or an unknown one, or a column of the catalog cannot be stored.
        """
        for case_id in self._rows:
            if splits.get(case_id) not in SPLITS:
                raise StoreError(
                    f"case {case_id!r} has split {splits.get(case_id)!r}; it needs one of {', '.join(SPLITS)}"
                )
        for array in self._arrays.values():
            array.flush()
        write_case_table(self._group, self._rows, splits)
        write_catalog(self._group, catalog)
        self._group.attrs.update(
            {
                **(attributes or {}),
                "layout": LAYOUT,
                "layout_version": LAYOUT_VERSION,
                "producer": {"name": "lpbf-toolkit", "version": lpbf_dataset.__version__},
                "normalization": self._training_moments(splits),
            }
        )
        with warnings.catch_warnings():
            # One file to open instead of fifty; zarr-python and xarray read it, others pass over it.
            warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
            zarr.consolidate_metadata(self._group.store)
        self._swap_in()

    def _discard(self) -> None:
        """Remove what was written; nothing is left of it once `finish` has renamed it."""
        for array in self._arrays.values():
            array.settle()
        shutil.rmtree(self._partial, ignore_errors=True)

    def _training_moments(self, splits: Mapping[str, str]) -> dict[str, Any]:
        merged: dict[str, Moments] = {}
        for case_id, moments in self._moments.items():
            if splits[case_id] == "train":
                for name, of_case in moments.items():
                    merged[name] = merged[name].merge(of_case) if name in merged else of_case
        return {name: moments.to_json() for name, moments in merged.items()}

    def _swap_in(self) -> None:
        _check_replaceable(self._target)
        if not self._target.exists():
            self._partial.rename(self._target)
            return
        replaced = self._target.rename(self._beside("replaced"))
        try:
            self._partial.rename(self._target)
        except BaseException:
            replaced.rename(self._target)
            raise
        shutil.rmtree(replaced)

    def _beside(self, role: str) -> Path:
        return self._target.with_name(f".{self._target.name}.{secrets.token_hex(4)}.{role}")


def _check_replaceable(target: Path) -> None:
    """Refuse to replace anything but a store of ours."""
    if not target.exists():
        return
    try:
        attributes = zarr.open_group(target, mode="r").attrs
    except (OSError, ValueError) as error:
        raise StoreError(f"{target} exists and is not an LPBF store; choose another name") from error
    if attributes.get("layout") != LAYOUT:
        raise StoreError(f"{target} exists and is not an LPBF store; choose another name")
