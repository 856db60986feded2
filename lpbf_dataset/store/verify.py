"""Whether a store is what was written: every file, table and value, and all that is wrong at once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lpbf_dataset.schema import HISTORY_VARIABLES
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.manifest import StoreFiles
from lpbf_dataset.store.ragged_reader import RaggedReader
from lpbf_dataset.store.verification.cases import CaseChecks
from lpbf_dataset.store.verification.files import check_files
from lpbf_dataset.store.verification.histories import check_histories, check_step_tables
from lpbf_dataset.store.verification.metadata import check_arrays, check_chunks, open_members, open_root
from lpbf_dataset.store.verification.problems import Code, Problem, Report
from lpbf_dataset.store.verification.rounding import check_rounding
from lpbf_dataset.store.verification.table import check_catalog, check_table
from lpbf_dataset.store.verification.training_moments import TrainingMoments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

__all__ = ["Code", "Problem", "Progress", "verify_store"]

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps a list of things to do, to show how far the work is."""

    def __call__(self, items: Sequence[Item], unit: str) -> Iterable[Item]:
        """Yield the items; `unit` is what one of them is called."""


def _silently(items: Sequence[Item], unit: str) -> Iterable[Item]:  # noqa: ARG001
    return items


def verify_store(
    location: str | PathLike[str], *, deep: bool = False, progress: Progress = _silently
) -> list[Problem]:
    """Look for everything that is wrong with a store.

    Parameters
    ----------
    location : path or str
        Folder of the store, or an fsspec URL.
    deep : bool
        Besides metadata, tables and sizes of files, which take a moment, read the whole store: hash
        every file, decode every chunk, check each case and compute its statistics again.
    progress : Progress, optional
        Wraps files to hash and cases to check.

    Returns
    -------
    list of Problem
        In the order of the checks; empty for a sound store.  Whatever is damaged, the rest is
        checked nevertheless.

    Raises
    ------
    StoreError
        If there is no store at `location`, or one of a newer layout.
    """
    files = StoreFiles(location)
    if files.is_local and not Path(files.location).exists():
        raise StoreError(f"there is no {location}; build a store with lpbf-build, or correct the path")
    report = Report()
    with warnings.catch_warnings():
        # Damaged values overflow and divide by zero; what matters of it is reported.
        warnings.simplefilter("ignore")
        _verify(files, report, progress, deep=deep)
    return report.problems


def _verify(files: StoreFiles, report: Report, progress: Progress, *, deep: bool) -> None:
    sizes = files.sizes()
    check_files(files, sizes, report, progress, deep=deep)
    root = open_root(files.location, report)
    if root is None:
        return
    members = open_members(files, root, report)
    arrays = check_arrays(members, report)
    table = check_table(root, arrays, report)
    histories = check_step_tables(root, arrays, table, report)
    rounded = check_rounding(arrays, members, report)
    check_catalog(members, table, report)
    missing = check_chunks(arrays, sizes, report) if sizes else frozenset[str]()
    if not deep:
        return
    reader = RaggedReader(Path(files.location) if files.is_local else files.location)
    training = TrainingMoments()
    checks = CaseChecks(reader, arrays, table, missing, training, report)
    checks.run(progress, sdf_of_mesh=_sdf_of_mesh(dict(root.attrs)))
    if histories:
        check_histories(reader, arrays, table, histories, rounded, training, report, progress)
    else:
        for name in HISTORY_VARIABLES.keys() & arrays.keys():
            training.give_up(name)
    if "split" in table:
        for flaw in training.flaws(root.attrs.get("normalization")):
            report.add(Code.NORMALIZATION_MISMATCH, "zarr.json", flaw)


def _sdf_of_mesh(attributes: Mapping[str, Any]) -> bool:
    """Tell whether the distances of a store are to the surface of the mesh; False if it does not say."""
    build = attributes.get("build")
    return isinstance(build, dict) and build.get("sdf_surface") == "mesh"
