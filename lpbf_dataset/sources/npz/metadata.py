"""The ``_metadata`` of a published case."""

from __future__ import annotations

import json
from typing import NamedTuple

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.npz.npy import read_object

MAX_NAME_LENGTH = 200
"""In characters; the names of the Fusion 360 Gallery have about 20."""


class Metadata(NamedTuple):
    """What the toolkit uses of the metadata of a case.

    Parameters
    ----------
    case_name : str
        Name of the printed body; empty if not given.
    design_id : str
        Name of the parent CAD model, which only files of our own export give; empty if not given.
    """

    case_name: str = ""
    design_id: str = ""


def read_metadata(contents: bytes) -> Metadata:
    """Read the ``_metadata`` member of a case.

    Parameters
    ----------
    contents : bytes
        ``.npy`` file of one object: a JSON text as in the published release, or a dictionary; the
        entries lie in it or under its key ``"metadata"``.

    Raises
    ------
    CaseError
        With reason UNSAFE_ARCHIVE if `numpy.load` would run something, else MALFORMED_FILE if it is
        no such file or a name in it is not one.
    """
    value = read_object(contents)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _malformed(f"holds a text that is not JSON ({error})") from None
    entries = value.get("metadata", value) if isinstance(value, dict) else None
    if not isinstance(entries, dict):
        raise _malformed("holds no dictionary")
    return Metadata(*(_name(entries, key) for key in ("case_name", "design_id")))


def _name(entries: dict[object, object], key: str) -> str:
    """Name under a key, or an empty one; what may not become a file name elsewhere is refused."""
    value = entries.get(key)
    if value is None:
        return ""
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or value.strip() in {"", ".", ".."}
        or not {"/", "\\"}.isdisjoint(value)
        or len(value) > MAX_NAME_LENGTH
    ):
        raise _malformed(f"its {key} is not a name")
    return str(value)


def _malformed(detail: str) -> CaseError:
    return CaseError(FailureReason.MALFORMED_FILE, detail)
