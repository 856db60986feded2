"""Reaching file systems through fsspec, whose errors become one line each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fsspec

_MAX_REASON_LENGTH = 300


def connect(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a URL and the path in it, without a trailing slash.

    Endpoints and credentials come from where each file system looks for them by itself, and from
    fsspec's configuration: ``FSSPEC_S3_ENDPOINT_URL``, ``FSSPEC_S3='{"anon": true}'`` and so on in
    the environment, or files in ``~/.config/fsspec``.
    """
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(url)
    # Instances are shared within a process and remember listings, in which others' changes are missing.
    filesystem.invalidate_cache()
    return filesystem, path.rstrip("/")


@contextmanager
def reporting(doing: str) -> Iterator[None]:
    """Turn what a file system raises into a `StoreError` of one line.

    Each one has exceptions of its own (botocore's, Google's, Azure's), many of which derive from
    nothing but Exception.  So all count, except the language's own that are a sign of a bug.

    Parameters
    ----------
    doing : str
        What cannot be done, for the beginning of the line: ``"cannot open s3://bucket/lpbf.zarr"``.

    Raises
    ------
    StoreError
        With the reason as the file system gives it.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, StoreError) or is_bug(error):
            raise
        raise StoreError(f"{doing}: {one_line(error)}") from error


def is_bug(error: Exception) -> bool:
    """Tell a bug from what is wrong with a place or the way there."""
    expected = (OSError, ValueError, ImportError, NotImplementedError)
    return type(error).__module__ == "builtins" and not isinstance(error, expected)


def one_line(error: Exception) -> str:
    """Return the message of an error, or at least its name, on one line of bounded length."""
    return " ".join(str(error).split())[:_MAX_REASON_LENGTH] or type(error).__name__
