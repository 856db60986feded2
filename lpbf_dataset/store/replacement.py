"""Putting a whole store in the place of an earlier one, at once, and by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import zarr

from lpbf_dataset.schema import LAYOUT
from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from types import TracebackType


class Replacement:
    """A folder that grows beside its target and takes its place by `commit`.

    >>> with Replacement("lpbf.zarr") as replacement:  # doctest: +SKIP
    ...     write_everything(replacement.folder)
    ...     replacement.commit()

    All that belongs to the target lies beside it, hidden: `folder` in ``.<name>.partial``, `scratch` for what
    is of no use to anybody else, and `spool` for cases that the next process goes on with if this one breaks
    off.  Leaving the ``with`` block removes the first two, and the spool if it is empty.  What a killed
    process left behind is cleared away by the next one: while a process works on a target it holds a lock on
    ``.<name>.lock``, which the operating system releases when it dies.  `commit` moves an earlier store to
    ``.<name>.replaced`` for the moment between two renames; a process killed in that moment leaves no store
    at the target, and the next one, or `restore`, puts the earlier one back.

    Parameters
    ----------
    target : path
        The store to write.  Missing parent folders are made.

    Raises
    ------
    StoreError
        If something that is not a store is there, another process writes it, or nothing can be written there.
    """

    def __init__(self, target: str | PathLike[str]) -> None:
        # Resolved, so that a link goes on to point at the store.
        self.target = Path(target).resolve()
        _check_replaceable(self.target)
        self.folder = self.beside("partial")
        self.scratch = self.beside("scratch")
        self.spool = self.beside("cases")
        self._replaced = self.beside("replaced")
        self._lock = -1

    def beside(self, role: str) -> Path:
        """Path of a hidden file or folder that belongs to the target."""
        return self.target.with_name(f".{self.target.name}.{role}")

    def __enter__(self) -> Self:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _acquire(self.beside("lock"), self.target)
            self._clear_up()
            self.folder.mkdir()
        except OSError as error:
            self._release()
            raise StoreError(f"cannot write a store at {self.target}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        with suppress(OSError):
            self.spool.rmdir()
        self._release()

    def create_spool(self) -> None:
        """Make the folder for cases under way, or take over that of a killed process."""
        with self.writing():
            self.spool.mkdir(exist_ok=True)

    def create_scratch(self) -> None:
        """Make the folder for what only this process needs."""
        with self.writing():
            self.scratch.mkdir()

    def clear_spool(self) -> None:
        """Remove the cases under way, which are in the store now."""
        shutil.rmtree(self.spool, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the file system refuses, above all on a full disk, into a `StoreError`."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot write {self.target}: {error.strerror or error}") from error

    def link_target(self, leave_out: set[str]) -> None:
        """Fill the folder with the files of the target, as hard links where the file system has them.

        Parameters
        ----------
        leave_out : set of str
            Names in the root of the store that are not taken over.
        """
        for source in self.target.iterdir():
            copy = self.folder / source.name
            if source.name in leave_out:
                continue
            if source.is_dir():
                shutil.copytree(source, copy, copy_function=_link)
            else:
                # Metadata is rewritten, in place by some libraries: a link would change the target too.
                shutil.copy2(source, copy)

    def commit(self) -> None:
        """Put the folder in the place of the target.

        Raises
        ------
        StoreError
            If something that is not a store has come there meanwhile, or it cannot be renamed.
        """
        _check_replaceable(self.target)
        with self.writing():
            if not self.target.exists():
                self.folder.rename(self.target)
                return
            self.target.rename(self._replaced)
            try:
                self.folder.rename(self.target)
            except BaseException:
                self._replaced.rename(self.target)
                raise
        shutil.rmtree(self._replaced, ignore_errors=True)

    def _clear_up(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._replaced.exists():
            if self.target.exists():
                shutil.rmtree(self._replaced)
            else:
                self._replaced.rename(self.target)

    def _release(self) -> None:
        if self._lock >= 0:
            self.beside("lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1


def restore(target: str | PathLike[str]) -> None:
    """Put the earlier store back where a process was killed in the moment in which it replaced it.

    Parameters
    ----------
    target : path
        A store, or where one should be.

    Raises
    ------
    StoreError
        If there is an earlier store to put back, but another process writes at `target`.
    """
    if Path(target).exists():
        return
    replacement = Replacement(target)
    if replacement.beside("replaced").exists():
        with replacement:
            pass  # entering clears up


def _acquire(path: Path, target: Path) -> int:
    """Lock a file, made if need be; return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StoreError(f"another process is writing {target}; wait for it or stop it") from None
        # The holder before removes the file on its way out: then this lock is on a file of no name.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _link(source: str, copy: str) -> None:
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)


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
