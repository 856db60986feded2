"""Copying whole stores to and from remote storage, so that a reader never sees half of one.

A Zarr group does not exist without the ``zarr.json`` at its root.  So an upload writes that object
last, and one that replaces a store removes it first.  While an upload is under way, or after one
that was interrupted, an object named `UPLOAD_MARK` says that what lies there may be replaced.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.hub import check_hub_target, is_hub_url, parse_hub_url, push_store
from lpbf_dataset.store.filesystem import connect, reporting
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.reader import is_store_root, open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    import fsspec

ROOT = "zarr.json"
UPLOAD_MARK = ".lpbf-upload"

# S3 and others read a file of this size whole to send it: 8 shards of 32 MiB are a quarter of a gigabyte.
TRANSFERS = 8


def is_remote(target: str) -> bool:
    """Tell a URL from a local path; ``file://`` is local."""
    return "://" in target and not target.startswith("file://")


def check_target(url: str) -> None:
    """Check that a store may be put at a URL, before the hours of work that make one.

    Writes a small object there and removes it.

    Parameters
    ----------
    url : str
        fsspec URL of the store to be.

    Raises
    ------
    StoreError
        If the protocol is not known, its package is not installed, nothing can be written there,
        or there is something that is not a store.
    HubError
        Likewise, of a URL that begins with ``hf://``.
    """
    if is_hub_url(url):
        check_hub_target(url)
        return
    with reporting(f"cannot write to {url}"):
        filesystem, path = connect(url)
        _check_replaceable(filesystem, path, url)
        probe = f"{path}/{UPLOAD_MARK}.{secrets.token_hex(4)}"
        _write(filesystem, probe, b"")
        filesystem.rm_file(probe)


def publish(
    folder: str | PathLike[str],
    url: str,
    progress: Callable[[Sequence[str]], Iterable[str]] = lambda names: names,
) -> None:
    """Upload a local store, in place of the store that may be there.

    Until the upload is complete there is no store at the URL; if it fails, run it again.  Whoever
    has the earlier store open must open it again.

    Parameters
    ----------
    folder : path
        A whole store.
    url : str
        fsspec URL, such as ``s3://bucket/lpbf.zarr``; ``hf://datasets/OWNER/NAME`` makes it a
        dataset repository, see `lpbf_dataset.hub.push_store`.
    progress : callable, optional
        Wraps the list of files, for a progress bar.

    Raises
    ------
    StoreError
        If `folder` is not a store, something that is not a store is at the URL, or the upload fails.
    HubError
        If an upload to ``hf://`` fails.
    """
    folder = Path(folder)
    open_dataset(folder)
    if is_hub_url(url):
        repo = parse_hub_url(url)
        push_store(folder, repo.repo_id, revision=repo.revision)
        return
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    names.remove(ROOT)
    with reporting(f"cannot upload {folder} to {url}"):
        filesystem, path = connect(url)
        _check_replaceable(filesystem, path, url)
        _write(filesystem, f"{path}/{UPLOAD_MARK}", b"upload of an LPBF store; unfinished")
        earlier = _relative_names(filesystem, path)
        if ROOT in earlier:
            filesystem.rm_file(f"{path}/{ROOT}")
        for batch in _batches(progress(names)):
            filesystem.put([str(folder / name) for name in batch], [f"{path}/{name}" for name in batch])
        if stale := earlier - {ROOT, UPLOAD_MARK, *names}:
            filesystem.rm([f"{path}/{name}" for name in sorted(stale)])
        filesystem.put_file(str(folder / ROOT), f"{path}/{ROOT}")
        filesystem.rm_file(f"{path}/{UPLOAD_MARK}")


def fetch(
    url: str,
    folder: str | PathLike[str],
    progress: Callable[[Sequence[str]], Iterable[str]] = lambda names: names,
) -> None:
    """Download a remote store.

    Parameters
    ----------
    url : str
        fsspec URL of the store.
    folder : path
        Where to put it; nothing may be there.  It is written beside and renamed when whole.
    progress : callable, optional
        Wraps the list of files, for a progress bar.

    Raises
    ------
    StoreError
        If there is no store at the URL, it changes meanwhile, `folder` exists, or the download fails.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise StoreError(f"{folder} exists; choose another name")
    open_dataset(url)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        with reporting(f"cannot download {url} to {folder}"):
            _download(url, partial, progress)
            open_dataset(partial)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(url: str, folder: Path, progress: Callable[[Sequence[str]], Iterable[str]]) -> None:
    filesystem, path = connect(url)
    root = filesystem.cat_file(f"{path}/{ROOT}")
    names = sorted(_relative_names(filesystem, path))
    folder.mkdir(parents=True)
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise StoreError(f"{url} is damaged: the object {name!r} leads out of its folder")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for batch in _batches(progress(names)):
        filesystem.get([f"{path}/{name}" for name in batch], [str(folder / name) for name in batch])
    if not root == (folder / ROOT).read_bytes() == filesystem.cat_file(f"{path}/{ROOT}"):
        raise StoreError(f"{url} was replaced during the download; download it again")


def _check_replaceable(filesystem: fsspec.AbstractFileSystem, path: str, url: str) -> None:
    """Refuse to replace anything but a store of ours, or what is left of an unfinished upload."""
    try:
        found = filesystem.ls(path, detail=False)
    except FileNotFoundError:
        return
    # Object storage may hold an empty object in the name of a folder.
    names = {name.rpartition("/")[2] for name in found if name.rstrip("/") != path}
    if not names and not filesystem.isfile(path):
        return
    if UPLOAD_MARK in names or (ROOT in names and is_store_root(filesystem.cat_file(f"{path}/{ROOT}"))):
        return
    raise StoreError(f"{url} exists and is not an LPBF store; choose another name")


def _relative_names(filesystem: fsspec.AbstractFileSystem, path: str) -> set[str]:
    """Names of all objects below a path, relative to it."""
    found = (name.removeprefix(path).lstrip("/") for name in filesystem.find(path))
    return {name for name in found if name and not name.endswith("/")}


def _write(filesystem: fsspec.AbstractFileSystem, path: str, contents: bytes) -> None:
    # Asynchronous file systems are object storage: no folders, and S3 would make a missing bucket.
    if not filesystem.async_impl:
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    filesystem.pipe_file(path, contents)


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for name in names:
        batch.append(name)
        if len(batch) == TRANSFERS:
            yield batch
            batch = []
    if batch:
        yield batch
