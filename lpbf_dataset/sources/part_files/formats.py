"""Triangles from the bytes of STL, OBJ, PLY, 3MF and STEP files.

Only the file itself is read: materials, textures and other files it names are never opened.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.part_files.surface import concatenated
from lpbf_dataset.sources.part_files.threemf import read_3mf
from lpbf_dataset.sources.stl import is_ascii_stl, parse_stl, surplus_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_FILE_BYTES = 256 * 2**20
"""Largest file that is read: five million triangles as binary STL."""

MAX_TEXT_BYTES = 64 * 2**20
"""Largest text file that is read: 700 000 triangles as OBJ.  Parsing takes up to sixty times the size of
the file in memory (measured on ASCII PLY), 4 GB here."""

MIN_LINE_BYTES = 4
"""Lines of a text file are longer than this on average ("f 1 2 3"); millions of empty ones exhaust memory."""


@dataclass
class RawPart:
    """What a file holds, before anything is judged or mended.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        Triangles in the length unit of the file.
    unit_mm : float or None
        Length of that unit in mm where the file tells, else None.
    warnings : list of str
        What was odd about the file.
    """

    mesh: trimesh.Trimesh
    unit_mm: float | None = None
    warnings: list[str] = field(default_factory=list)


def load(path: Path) -> RawPart:
    """Read the triangles of a part file.

    Parameters
    ----------
    path : Path
        A file with one of the `SUFFIXES`.

    Returns
    -------
    RawPart
        All bodies of the file in one mesh.

    Raises
    ------
    CaseError
        If the file is missing, too large, cut short, malformed, or in a format without a reader.
    """
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise CaseError(
            FailureReason.UNSUPPORTED_FORMAT, f"{path}: not a part file; give one of {', '.join(SUFFIXES)}"
        )
    contents = _contents(path)
    try:
        with warnings.catch_warnings():
            # NumPy merely warns where text that should be numbers ends early.
            warnings.filterwarnings("error", "string or file could not be read", DeprecationWarning)
            return parse(contents)
    except CaseError as error:
        raise CaseError(error.reason, f"{path}: {error.detail}") from None
    except Exception as error:
        # Parsers of untrusted bytes fail in any way; the part is lost, the others are not.
        detail = f"{path}: not a valid {path.suffix[1:].upper()} file ({type(error).__name__}: {error})"
        raise CaseError(FailureReason.MALFORMED_FILE, " ".join(detail.split())) from error


def _contents(path: Path) -> bytes:
    # A pipe or device would block or never end.
    if not path.is_file():
        raise CaseError(FailureReason.MISSING_FILE, f"{path}: no such file")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise CaseError(
                    FailureReason.TOO_LARGE,
                    f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; export a coarser mesh",
                )
            return file.read(size)
    except OSError as error:
        raise CaseError(FailureReason.MISSING_FILE, f"{path}: {error.strerror}") from None


def _check_text(contents: bytes) -> None:
    if len(contents) > MAX_TEXT_BYTES:
        raise CaseError(
            FailureReason.TOO_LARGE,
            f"text larger than {MAX_TEXT_BYTES >> 20} MiB; export a coarser mesh or a binary file",
        )
    if contents.count(b"\n") * MIN_LINE_BYTES > len(contents) + 4096:
        raise CaseError(FailureReason.MALFORMED_FILE, "consists of empty lines")


def _load_stl(contents: bytes) -> RawPart:
    surplus = 0
    if is_ascii_stl(contents):
        _check_text(contents)
    else:
        surplus = surplus_bytes(contents)
    corners = parse_stl(contents).reshape(-1, 3).astype(np.float64)
    mesh = trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=False)
    return RawPart(mesh, warnings=[f"ignored {surplus} bytes after the last triangle"] if surplus else [])


def _load_obj(contents: bytes) -> RawPart:
    _check_text(contents)
    return RawPart(_load_mesh(contents, "obj"))


def _load_ply(contents: bytes) -> RawPart:
    if b"format ascii" in contents[:512]:
        _check_text(contents)
    return RawPart(_load_mesh(contents, "ply"))


def _load_3mf(contents: bytes) -> RawPart:
    vertices, triangles, unit_mm = read_3mf(contents, MAX_FILE_BYTES)
    return RawPart(trimesh.Trimesh(vertices, triangles, process=False), unit_mm)


def _load_step(contents: bytes) -> RawPart:
    try:
        import cascadio  # noqa: F401
    except ImportError:
        raise CaseError(
            FailureReason.UNSUPPORTED_FORMAT,
            "STEP files need the package cascadio; install the extra 'step', or export an STL file",
        ) from None
    try:
        # cascadio converts lengths to those of glTF, which are metres.
        return RawPart(_load_mesh(contents, "step"), unit_mm=1000.0)
    except FileNotFoundError:
        # What cascadio cannot read it does not convert, without saying why.
        raise CaseError(FailureReason.MALFORMED_FILE, "not a valid STEP file") from None


def _load_mesh(contents: bytes, file_type: str) -> trimesh.Trimesh:
    # Without a resolver, and with materials skipped, trimesh opens no other file.
    scene = trimesh.load_scene(
        io.BytesIO(contents), file_type=file_type, resolver=None, process=False, skip_materials=True
    )
    meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
    if not meshes:
        raise CaseError(FailureReason.EMPTY_GEOMETRY, "holds no triangles")
    for mesh in meshes:
        if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
            raise CaseError(FailureReason.MALFORMED_FILE, "has triangles whose corners do not exist")
    return concatenated(meshes)


_PARSERS: dict[str, Callable[[bytes], RawPart]] = {
    ".stl": _load_stl,
    ".obj": _load_obj,
    ".ply": _load_ply,
    ".3mf": _load_3mf,
    ".step": _load_step,
    ".stp": _load_step,
}

SUFFIXES = tuple(_PARSERS)
"""File name endings that are read, in any case; where a part lies in several formats, the first is taken."""
