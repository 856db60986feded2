"""Where a store lies, and its root group there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import zarr

from lpbf_dataset.store.filesystem import reporting
from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from os import PathLike


def locate(path: str | PathLike[str]) -> Path | str:
    """Absolute path of a local store (workers may have another working directory), or the URL."""
    text = str(path)
    if text.startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    return text if "://" in text else Path(text).absolute()


def open_group(location: Path | str) -> zarr.Group:
    """Open the root of a store to read it.

    Raises
    ------
    StoreError
        If there is no Zarr group, or it cannot be reached.
    """
    if isinstance(location, Path) and not location.exists():
        raise StoreError(f"there is no {location}; build a store with lpbf-build, or correct the path")
    with reporting(f"cannot open {location}"):
        try:
            return zarr.open_group(location, mode="r", zarr_format=3)
        except FileNotFoundError as error:
            raise StoreError(f"there is no Zarr store at {location}") from error
