"""What a case is called, of what and by whom, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpbf_dataset.build.stored import StoredCase
    from lpbf_dataset.sources.base import RawCase


@dataclass(frozen=True)
class CaseIdentity:
    """Names of a case, all of them text that can be stored.

    Parameters
    ----------
    case_id, design_id, source, location : str
        As in `lpbf_dataset.sources.base.RawCase`.
    """

    case_id: str
    design_id: str
    source: str
    location: str


def identify(raw: RawCase | StoredCase) -> CaseIdentity:
    """Ask a case for its names, once: some of them are read from its files."""
    return CaseIdentity(*map(as_text, (raw.case_id, raw.design_id, raw.source, raw.location)))


def is_text(name: str) -> bool:
    """Tell whether a name consists of characters, not of bytes that could not be decoded."""
    return as_text(name) == name


def as_text(name: str) -> str:
    r"""Write bytes that are no text, which neither Zarr nor Parquet takes, as ``\udcff``."""
    return name.encode("utf-8", "backslashreplace").decode()
