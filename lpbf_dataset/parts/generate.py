"""A lazy, reproducible sequence of procedural parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.parts.draw import Draw
from lpbf_dataset.parts.families import FAMILIES
from lpbf_dataset.sources.part_files import PartGeometry, place_on_plate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpbf_dataset.parts.draw import Parameter

BODIES_PER_DESIGN = (1, 2, 1, 1, 3, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1)
"""Bodies of sixteen designs in a row, twenty parts in all.  Seven of the twenty, 35 %, have a sibling,
as 478 of the 1390 published cases do (34 %)."""

PUBLISHED_LONGEST_EDGE = 60.0
"""Longest edge in mm to which every part of the published set was scaled."""

_PARTS_PER_ROUND = sum(BODIES_PER_DESIGN)
_PLACES = [(design, body) for design, bodies in enumerate(BODIES_PER_DESIGN) for body in range(bodies)]
_ORDER_STREAM, _DESIGN_STREAM, _BODY_STREAM = range(3)


@dataclass(frozen=True, eq=False)
class Part:
    """A procedural part, standing on z = 0 and centred on the z axis.

    Parameters
    ----------
    name : str
        ``<design_id>_<body>``, for example ``bracket_000123_0``.
    design_id : str
        ``<family>_<number of the design>``; its bodies resemble each other.
    family : str
        One of `lpbf_dataset.parts.FAMILIES`.
    mesh : trimesh.Trimesh
        Closed, outward-oriented surface in mm; z is the build direction.
    parameters : dict of str to float, int, str or bool
        What was drawn, dimensions in mm and degrees before the part was scaled, and ``scale``.
    """

    name: str
    design_id: str
    family: str
    mesh: trimesh.Trimesh
    parameters: dict[str, Parameter]


def generate_parts(
    count: int,
    seed: int = 0,
    longest_edge_mm: tuple[float, float] = (PUBLISHED_LONGEST_EDGE, PUBLISHED_LONGEST_EDGE),
) -> Iterator[Part]:
    """Yield the first parts of an endless sequence, one at a time.

    Parameters
    ----------
    count : int
        Number of parts.
    seed : int
        Names the sequence.
    longest_edge_mm : (float, float)
        Limits between which the longest edge of each part is drawn.  Walls scale along: at 60 mm none
        is thinner than 1.3 mm.

    Yields
    ------
    Part
        Part k is `generate_part(k, seed, longest_edge_mm)`, whatever the count.
    """
    for index in range(count):
        yield generate_part(index, seed, longest_edge_mm)


def generate_part(
    index: int,
    seed: int = 0,
    longest_edge_mm: tuple[float, float] = (PUBLISHED_LONGEST_EDGE, PUBLISHED_LONGEST_EDGE),
) -> Part:
    """Build part `index` of the sequence named by `seed`, without building those before it.

    Any eight designs in a row from a multiple of eight hold every family once.  Some designs have
    two or three bodies (`BODIES_PER_DESIGN`), which share their features and differ in dimensions.

    Parameters
    ----------
    index : int
        Place of the part in the sequence, from 0.
    seed : int
        Names the sequence.
    longest_edge_mm : (float, float)
        Limits between which the longest edge of the part is drawn.

    Returns
    -------
    Part
        The same bit for bit in any process, given the same versions of NumPy and manifold3d.

    Raises
    ------
    ValueError
        If the index or the seed is negative, or the limits are not ascending positive lengths.
    """
    shortest, longest = longest_edge_mm
    if index < 0 or seed < 0:
        raise ValueError(f"index {index} and seed {seed} of a part must not be negative")
    if not 0 < shortest <= longest < float("inf"):
        raise ValueError(
            f"longest_edge_mm is {longest_edge_mm}; give two positive lengths, the smaller first"
        )
    design, body = _place(index)
    family = _family(design, seed)
    draw = Draw(
        _stream(seed, _DESIGN_STREAM, design), _stream(seed, _BODY_STREAM, design, body) if body else None
    )
    solid = FAMILIES[family](draw)
    edge = shortest + (longest - shortest) * _stream(seed, _BODY_STREAM, design, body, 1).random()
    surface = solid.to_mesh64()
    mesh = trimesh.Trimesh(surface.vert_properties[:, :3], surface.tri_verts, process=False)
    draw.parameters["scale"] = float(edge / mesh.extents.max())
    design_id = f"{family}_{design:06d}"
    return Part(f"{design_id}_{body}", design_id, family, place_on_plate(mesh, edge), draw.parameters)


@dataclass(frozen=True)
class ProceduralPart:
    """One part of the sequence, not yet built.

    Parameters
    ----------
    index, seed, longest_edge_mm
        As in `generate_part`.
    """

    index: int
    seed: int = 0
    longest_edge_mm: tuple[float, float] = (PUBLISHED_LONGEST_EDGE, PUBLISHED_LONGEST_EDGE)

    @property
    def name(self) -> str:
        """Name that the part will have."""
        design, body = _place(self.index)
        return f"{_family(design, self.seed)}_{design:06d}_{body}"

    def read(self) -> PartGeometry:
        """Build the part."""
        part = generate_part(self.index, self.seed, self.longest_edge_mm)
        return PartGeometry(part.name, part.design_id, part.mesh)


def _place(index: int) -> tuple[int, int]:
    """Design of a part, and its number among the bodies of this design."""
    turn, place = divmod(index, _PARTS_PER_ROUND)
    offset, body = _PLACES[place]
    return turn * len(BODIES_PER_DESIGN) + offset, body


def _family(design: int, seed: int) -> str:
    turn, place = divmod(design, len(FAMILIES))
    return list(FAMILIES)[_stream(seed, _ORDER_STREAM, turn).permutation(len(FAMILIES))[place]]


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
