"""3MF files: zipped XML, read in one pass within a bound (3MF Core Specification 1.3).

The printed items of the build, with their components and transforms, are gathered into one mesh.
"""

from __future__ import annotations

import io
import zipfile
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

import numpy as np

from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ROOT_MODEL = "3D/3dmodel.model"
"""Where every known writer puts the root model."""

UNITS_MM = {
    "micron": 1e-3,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "inch": 25.4,
    "foot": 304.8,
    "meter": 1000.0,
}
"""Length in mm of the units of the specification (section 3.4)."""

MAX_TRIANGLES = 10_000_000
"""Components may repeat an object, also of components; this bounds what they multiply to."""

MAX_DEPTH = 16
"""Deepest nesting of components."""

_ObjectKey = tuple[str, str]


@dataclass
class _Reference:
    key: _ObjectKey
    transform: NDArray[np.float64]


@dataclass
class _Object:
    coordinates: array[float] = field(default_factory=lambda: array("d"))
    corners: array[int] = field(default_factory=lambda: array("q"))
    components: list[_Reference] = field(default_factory=list)


@dataclass
class _Model:
    unit: str = "millimeter"
    objects: dict[_ObjectKey, _Object] = field(default_factory=dict)
    items: list[_Reference] = field(default_factory=list)


def read_3mf(contents: bytes, max_bytes: int) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Read the build of a 3MF file.

    Parameters
    ----------
    contents : bytes
        The file.
    max_bytes : int
        Most bytes that its models may unpack to, all together.

    Returns
    -------
    vertices : (n, 3) float64 ndarray
        In the unit of the file.
    triangles : (m, 3) int64 ndarray
        Corners of each triangle.
    unit_mm : float
        Length of the unit in mm.

    Raises
    ------
    CaseError
        If the file is no 3MF file, holds no triangles, or unpacks to too much.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(contents))
    except zipfile.BadZipFile:
        raise CaseError(FailureReason.MALFORMED_FILE, "not a zip archive, as every 3MF file is") from None
    names = [name for name in archive.namelist() if name.lower().endswith(".model")]
    root = next((name for name in names if name.lower() == ROOT_MODEL.lower()), None)
    if root is None:
        raise CaseError(FailureReason.MALFORMED_FILE, f"has no member {ROOT_MODEL}")
    objects: dict[_ObjectKey, _Object] = {}
    build = _Model()
    for name in names:
        model, max_bytes = _read_model(archive, name, max_bytes)
        objects |= model.objects
        if name == root:
            build = model
    if build.unit not in UNITS_MM:
        raise CaseError(FailureReason.MALFORMED_FILE, f"has the unknown length unit {build.unit!r}")
    vertices, triangles = _gather(build.items, objects)
    return vertices, triangles, UNITS_MM[build.unit]


def _read_model(archive: zipfile.ZipFile, name: str, max_bytes: int) -> tuple[_Model, int]:
    parser = _ModelParser("/" + name.lower())
    with archive.open(name) as member:
        # The declared size may lie, so what is really unpacked is counted.
        while block := member.read(2**20):
            max_bytes -= len(block)
            if max_bytes < 0:
                raise CaseError(FailureReason.TOO_LARGE, f"{name} unpacks to more than is read")
            parser.feed(block)
    parser.feed(b"", last=True)
    return parser.model, max_bytes


class _ModelParser:
    """Fills a `_Model` from XML; a document type, the vehicle of entity bombs, is refused."""

    def __init__(self, path: str) -> None:
        self.model = _Model()
        self._path = path
        self._object = _Object()
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, block: bytes, *, last: bool = False) -> None:
        self._parser.Parse(block, last)

    def _refuse_doctype(self, *_: object) -> None:
        raise CaseError(FailureReason.MALFORMED_FILE, "its model declares a document type, which 3MF forbids")

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        # Prefixes of namespaces are free; local names are unique in the models that print.
        match tag.rpartition(":")[2]:
            case "vertex":
                self._object.coordinates.extend(float(attributes[axis]) for axis in "xyz")
            case "triangle":
                self._object.corners.extend(int(attributes[corner]) for corner in ("v1", "v2", "v3"))
            case "object":
                self._object = _Object()
                self.model.objects[self._path, attributes["id"]] = self._object
            case "component":
                self._object.components.append(self._reference(attributes))
            case "item":
                self.model.items.append(self._reference(attributes))
            case "model":
                self.model.unit = attributes.get("unit", "millimeter")

    def _reference(self, attributes: Mapping[str, str]) -> _Reference:
        # The production extension lets an object lie in another model of the archive.
        elsewhere = (value for name, value in attributes.items() if name.rpartition(":")[2] == "path")
        path = next(elsewhere, self._path).lower()
        return _Reference((path, attributes["objectid"]), _transform(attributes.get("transform")))


def _transform(text: str | None) -> NDArray[np.float64]:
    """Matrix (4, 3) that multiplies row vectors (x, y, z, 1) from the right (section 3.3)."""
    if text is None:
        return np.eye(4, 3)
    return np.array([float(number) for number in text.split()]).reshape(4, 3)


def _gather(
    items: list[_Reference], objects: Mapping[_ObjectKey, _Object]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    pieces: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
    triangle_count = visits = vertex_count = 0
    pending = [(reference.key, reference.transform, 1) for reference in reversed(items)]
    while pending:
        key, transform, depth = pending.pop()
        visits += 1
        if key not in objects:
            raise CaseError(FailureReason.MALFORMED_FILE, f"refers to object {key[1]!r}, which it lacks")
        part = objects[key]
        triangle_count += len(part.corners) // 3
        if depth > MAX_DEPTH or max(triangle_count, visits, vertex_count) > MAX_TRIANGLES:
            raise CaseError(FailureReason.TOO_LARGE, "its components repeat or nest without bound")
        points = np.array(part.coordinates).reshape(-1, 3) @ transform[:3] + transform[3]
        corners = np.array(part.corners, dtype=np.int64).reshape(-1, 3)
        if corners.size and (corners.min() < 0 or corners.max() >= len(points)):
            raise CaseError(FailureReason.MALFORMED_FILE, f"object {key[1]!r} has triangles without corners")
        pieces.append((points, corners + vertex_count))
        vertex_count += len(points)
        pending += [
            (component.key, _compose(component.transform, transform), depth + 1)
            for component in reversed(part.components)
        ]
    if not triangle_count:
        raise CaseError(FailureReason.EMPTY_GEOMETRY, "its build holds no triangles")
    return np.concatenate([points for points, _ in pieces]), np.concatenate(
        [corners for _, corners in pieces]
    )


def _compose(inner: NDArray[np.float64], outer: NDArray[np.float64]) -> NDArray[np.float64]:
    product = inner @ outer[:3]
    product[3] += outer[3]
    return product
