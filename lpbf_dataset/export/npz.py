"""The folder layout of the published NPZ release, as `lpbf_dataset.sources.npz.layout` describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.export.files import ExportError, write_cases
from lpbf_dataset.schema import SPLITS
from lpbf_dataset.sources.npz.layout import EDGES, METADATA, array_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from numpy.typing import NDArray

    from lpbf_dataset.case import Case


def export_npz(cases: Iterable[Case], folder: str | PathLike[str]) -> list[Path]:
    """Write cases as the published release has them, ``<split>/<case id>.npz``.

    The release has no validation split.  Validation cases go to ``val/``, which published code does
    not read, rather than into its training set.  Optional fields keep their names.

    Parameters
    ----------
    cases : iterable of Case
        With every variable of the schema that is not optional: a `lpbf_dataset.Dataset`, for example.
    folder : path
        Where to write; files that are there are replaced.

    Returns
    -------
    list of Path
        The files, in order of the cases.

    Raises
    ------
    ExportError
        If the id of a case cannot name a file, it has no split, or the folder cannot be one.
    """
    return write_cases(cases, ".npz", lambda case: Path(folder, _split(case)), _write)


def _write(case: Case, path: Path) -> None:
    arrays = {array_name(name): _as_published(values) for name, values in case.variables.items()}
    arrays[EDGES] = _directed(arrays.pop("edges"))
    arrays[METADATA] = _metadata(case)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def _split(case: Case) -> str:
    if case.split not in SPLITS:
        known = ", ".join(SPLITS)
        raise ExportError(f"case {case.case_id!r} is of split {case.split!r}, not one of {known}")
    return case.split


def _as_published(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Scalars as one column."""
    return values[:, None] if values.ndim == 1 else values


def _directed(edges: NDArray[np.generic]) -> NDArray[np.int64]:
    """Both directions of each undirected edge, (2, 2 e) int64, in order of first and second node."""
    both = np.concatenate([edges, edges[:, ::-1]]).astype(np.int64)
    return np.ascontiguousarray(both[np.lexsort((both[:, 1], both[:, 0]))].T)


def _metadata(case: Case) -> NDArray[np.object_]:
    """One JSON text in an object array, which is what the published code takes apart."""
    entries = {"case_name": case.case_id, "zmax": None, "time_steps": 1, "design_id": case.design_id}
    return np.array([json.dumps({"metadata": entries})], dtype=object)
