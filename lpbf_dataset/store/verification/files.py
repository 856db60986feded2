"""Files against the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.schema import STORED_VARIABLES
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.manifest import MANIFEST, read_manifest
from lpbf_dataset.store.verification.problems import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpbf_dataset.store.manifest import FileRecord, StoreFiles
    from lpbf_dataset.store.verification.problems import Report
    from lpbf_dataset.store.verify import Progress


def check_files(
    files: StoreFiles, sizes: Mapping[str, int], report: Report, progress: Progress, *, deep: bool
) -> None:
    """Compare the files of a store with its manifest.

    Parameters
    ----------
    files : StoreFiles
        The store.
    sizes : mapping of str to int
        Its files as listed; empty if they cannot be.
    report : Report
        Takes the problems.
    progress : Progress
        Wraps the list of files to hash.
    deep : bool
        Hash every file; otherwise all but the rows of ragged variables, which make up nearly all of
        a store.
    """
    if not sizes:
        report.add(Code.FILES_NOT_LISTED, ".", "the files cannot be listed")
    try:
        manifest = read_manifest(files)
    except StoreError as error:
        report.add(Code.BAD_MANIFEST, MANIFEST, error)
        return
    if manifest is None:
        report.add(Code.NO_MANIFEST, MANIFEST, "the store has no manifest")
        return
    if sizes:
        _compare_listing(manifest, sizes, report)
    to_hash = [
        name
        for name, record in manifest.items()
        if (deep or not _holds_rows(name)) and sizes.get(name, record.size) == record.size
    ]
    for name in progress(to_hash, "file"):
        if not sizes or name in sizes:
            _compare_digest(files, name, manifest[name], report)


def _compare_listing(manifest: Mapping[str, FileRecord], sizes: Mapping[str, int], report: Report) -> None:
    for name, record in manifest.items():
        if name not in sizes:
            report.add(Code.MISSING_FILE, name, f"file of {record.size} bytes is missing")
        elif sizes[name] != record.size:
            report.add(Code.SIZE_MISMATCH, name, f"{sizes[name]} bytes, not {record.size}")
    for name in sorted(sizes.keys() - manifest.keys() - {MANIFEST}):
        report.add(Code.UNEXPECTED_FILE, name, "not in the manifest")


def _compare_digest(files: StoreFiles, name: str, record: FileRecord, report: Report) -> None:
    try:
        digest = files.sha256(name)
    except FileNotFoundError:
        report.add(Code.MISSING_FILE, name, f"file of {record.size} bytes is missing")
    except OSError as error:
        report.add(Code.CHECKSUM_MISMATCH, name, f"cannot be read: {error}")
    else:
        if digest != record.sha256:
            message = f"SHA-256 begins with {digest[:12]}, not with {record.sha256[:12]}"
            report.add(Code.CHECKSUM_MISMATCH, name, message)


def _holds_rows(name: str) -> bool:
    variable, _, rest = name.partition("/")
    return variable in STORED_VARIABLES and rest.startswith("c/")
