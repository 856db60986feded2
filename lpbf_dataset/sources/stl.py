"""STL files: read from bytes that are not trusted, binary or ASCII, and written in binary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER_BYTES = 84
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)")


def parse_stl(data: bytes) -> NDArray[np.float32]:
    """Read the triangles of an STL file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    (n, 3, 3) float32 ndarray
        Corners of each triangle, in the unit of the file.

    Raises
    ------
    CaseError
        If the file is neither kind of STL, is cut off, holds no triangle, or a corner is not finite.
    """
    triangles = _parse_ascii(data) if is_ascii_stl(data) else _parse_binary(data)
    if not len(triangles):
        raise CaseError(FailureReason.EMPTY_GEOMETRY, "holds no triangles")
    if not np.isfinite(triangles).all():
        raise CaseError(FailureReason.MALFORMED_FILE, "a corner is not finite")
    return triangles


def is_ascii_stl(data: bytes) -> bool:
    """Tell whether an STL file is text; binary ones may begin with "solid" too, but tell their length."""
    return data[:512].lstrip()[:5].lower() == b"solid" and _declared_size(data) != len(data)


def surplus_bytes(data: bytes) -> int:
    """Count what follows the last triangle of a binary STL file."""
    return max(0, len(data) - _declared_size(data))


def write_stl(path: Path, triangles: NDArray[np.floating]) -> None:
    """Write a binary STL file.

    Parameters
    ----------
    path : Path
        The file to write.
    triangles : (n, 3, 3) ndarray
        Corners of each triangle, anticlockwise seen from outside, in mm.
    """
    facets = np.zeros(len(triangles), _FACET)
    facets["corners"] = triangles
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    # The format has a zero vector stand for a triangle without a normal.
    facets["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    header = b"lpbf-toolkit, lengths in mm".ljust(_HEADER_BYTES - 4)
    path.write_bytes(header + len(facets).to_bytes(4, "little") + facets.tobytes())


def _declared_size(data: bytes) -> int:
    return _HEADER_BYTES + _FACET.itemsize * int.from_bytes(data[_HEADER_BYTES - 4 : _HEADER_BYTES], "little")


def _parse_binary(data: bytes) -> NDArray[np.float32]:
    if len(data) < _HEADER_BYTES:
        raise CaseError(FailureReason.MALFORMED_FILE, f"{len(data)} bytes are too few for an STL file")
    if (size := _declared_size(data)) > len(data):
        raise CaseError(FailureReason.TRUNCATED_FILE, f"declares {size} bytes and has {len(data)}")
    count = (size - _HEADER_BYTES) // _FACET.itemsize
    return np.frombuffer(data, _FACET, count, _HEADER_BYTES)["corners"].astype(np.float32)


def _parse_ascii(data: bytes) -> NDArray[np.float32]:
    if b"endsolid" not in data.lower():
        raise CaseError(FailureReason.TRUNCATED_FILE, "ends before the line 'endsolid'")
    corners = _VERTEX.findall(data)
    if len(corners) % 3:
        detail = f"{len(corners)} vertices are no whole number of triangles"
        raise CaseError(FailureReason.MALFORMED_FILE, detail)
    try:
        with np.errstate(over="ignore"):
            return np.array(corners, dtype=np.float64).astype(np.float32).reshape(-1, 3, 3)
    except ValueError as error:
        raise CaseError(FailureReason.MALFORMED_FILE, str(error)) from None
