"""STL files: read from bytes that are not trusted, binary or ASCII, and written in binary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

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
    ValueError
        If the file is neither kind of STL, is cut off, holds no triangle, or a corner is not finite.
    """
    # Binary files may also begin with "solid"; their length tells them apart.
    is_binary = data.lstrip()[:5].lower() != b"solid" or _declared_size(data) == len(data)
    triangles = _parse_binary(data) if is_binary else _parse_ascii(data)
    if not len(triangles):
        raise ValueError("no triangles")
    if not np.isfinite(triangles).all():
        raise ValueError("a corner is not finite")
    return triangles


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
        raise ValueError(f"{len(data)} bytes are too few for an STL file")
    if (size := _declared_size(data)) > len(data):
        raise ValueError(f"the file declares {size} bytes and has {len(data)}")
    count = (size - _HEADER_BYTES) // _FACET.itemsize
    return np.frombuffer(data, _FACET, count, _HEADER_BYTES)["corners"].astype(np.float32)


def _parse_ascii(data: bytes) -> NDArray[np.float32]:
    corners = _VERTEX.findall(data)
    if len(corners) % 3:
        raise ValueError(f"{len(corners)} vertices are no whole number of triangles")
    with np.errstate(over="ignore"):
        return np.array(corners, dtype=np.float64).astype(np.float32).reshape(-1, 3, 3)
