"""Small parts in the formats that are read, and how they go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import trimesh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def box() -> trimesh.Trimesh:
    """Return a closed box of 20 x 10 x 5 mm."""
    return trimesh.creation.box((20.0, 10.0, 5.0))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes triangles as binary STL."""

    def write(mesh: trimesh.Trimesh, name: str = "part.stl") -> Path:
        file = tmp_path / name
        file.write_bytes(trimesh.exchange.stl.export_stl(mesh))
        return file

    return write


@pytest.fixture
def sheet() -> trimesh.Trimesh:
    """Return an open, curved surface."""
    x, y = np.meshgrid(np.linspace(-10, 10, 9), np.linspace(-10, 10, 9), indexing="ij")
    vertices = np.column_stack([x.ravel(), y.ravel(), (x**2 + y**2).ravel() / 20])
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    faces = np.concatenate(
        [
            np.column_stack([corner, corner + 9, corner + 1]),
            np.column_stack([corner + 1, corner + 9, corner + 10]),
        ]
    )
    return trimesh.Trimesh(vertices, faces, process=False)
