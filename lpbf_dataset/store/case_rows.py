"""Rows of one case on their way into a store: from a file of its own, or from an earlier store."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lpbf_dataset.schema import STORED_VARIABLES
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.ragged_reader import RaggedReader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.schema import RaggedDim


class CaseRows(Protocol):
    """Reads rows of the variables of one case; picklable."""

    def read(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Read rows `start` to `stop` of a variable.  Raises `StoreError`."""


@dataclass(frozen=True)
class SpooledRows:
    """Rows in a file of their own, written by `spool_case`.

    Parameters
    ----------
    path : Path
        The file.
    """

    path: Path

    def read(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Read rows `start` to `stop` of a variable.  Raises `StoreError`."""
        try:
            with safe_open(self.path, "np") as file:
                rows: NDArray[np.generic] = file.get_slice(name)[start:stop]
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot read {self.path}, remove it and build again: {error}") from error
        return rows


@dataclass(frozen=True)
class StoredRows:
    """Rows of a case of a store.

    Parameters
    ----------
    store : Path
        Absolute folder of the store.
    stamp : int
        Tells it from another store at the same place, for example when its metadata was written.
    offsets : mapping of str to int
        First row of the case, by ragged dimension.
    """

    store: Path
    stamp: int
    offsets: Mapping[RaggedDim, int]

    def read(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Read rows `start` to `stop` of a variable.  Raises `StoreError`."""
        first = self.offsets[STORED_VARIABLES[name].dim]
        return _reader(self.store, self.stamp).read({name: slice(first + start, first + stop)})[name]


@lru_cache(maxsize=4)
def _reader(store: Path, stamp: int) -> RaggedReader:  # noqa: ARG001
    return RaggedReader(store)


def spool_case(path: Path, variables: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]) -> None:
    """Write arrays of a case and what is known about it, whole or not at all.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    variables : mapping of str to ndarray
        May be empty.
    facts : mapping of str to JSON values
        What `spooled_facts` gives back.

    Raises
    ------
    StoreError
        If it cannot be written, for example on a full disk.
    """
    partial = path.with_suffix(f".{os.getpid()}.partial")
    arrays: dict[str, Any] = {name: values.copy(order="C") for name, values in variables.items()}
    try:
        save_file(arrays, partial, {"facts": json.dumps(facts)})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"cannot write {path}: {error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def spooled_facts(path: Path) -> dict[str, Any] | None:
    """Return the facts of a file of `spool_case`, or None if there is none that is whole."""
    try:
        with safe_open(path, "np") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    except (OSError, SafetensorError):
        return None
    return facts
