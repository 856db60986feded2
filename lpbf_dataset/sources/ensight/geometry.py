"""Meshes of EnSight Gold, as they stand in a geometry file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.sources.ensight.case import Location

NODES_PER_CELL = {
    "point": 1,
    "bar2": 2,
    "bar3": 3,
    "tria3": 3,
    "tria6": 6,
    "quad4": 4,
    "quad8": 8,
    "tetra4": 4,
    "tetra10": 10,
    "pyramid5": 5,
    "pyramid13": 13,
    "penta6": 6,
    "penta15": 15,
    "hexa8": 8,
    "hexa20": 20,
}
"""Element types that are read; polygons, polyhedra and ghost cells are not."""


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh with nodes of its own.

    Parameters
    ----------
    points : (n, 3) float32 ndarray
        Node positions.
    cells : mapping of str to (m, k) int32 ndarray
        Zero-based nodes of each cell, by element type (a key of `NODES_PER_CELL`).
    number : int
        Number of the part, from 1.
    description : str
        At most 80 characters.
    """

    points: NDArray[np.float32]
    cells: Mapping[str, NDArray[np.int32]]
    number: int = 1
    description: str = "description"

    def value_counts(self, location: Location) -> dict[str, int]:
        """Count the values of a variable, by the name of the block that holds them."""
        if location == "node":
            return {"coordinates": len(self.points)}
        return {element_type: len(cells) for element_type, cells in self.cells.items()}


@dataclass(frozen=True, eq=False)
class Geometry:
    """The parts of a geometry file.

    Parameters
    ----------
    parts : tuple of Part
        In the order of the file.
    descriptions : (str, str)
        Two lines of free text.
    """

    parts: tuple[Part, ...]
    descriptions: tuple[str, str] = ("", "")
