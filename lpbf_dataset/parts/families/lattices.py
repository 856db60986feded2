"""Lattices: strut cells and prismatic cores between plates."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from lpbf_dataset.parts.solids import (
    bolt_circle,
    disc,
    polygon,
    rectangle,
    ribbon,
    slab,
    strut,
    union,
    wall_xz,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw
    from lpbf_dataset.parts.solids import Point

Bar: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Ends (x, y, z) of a strut in half cells."""


def lattice(draw: Draw) -> Manifold:
    """Draw a block of strut cells, a honeycomb panel or a truss beam."""
    kinds = {"strut_cells": _strut_cells, "honeycomb": _honeycomb, "truss": _truss}
    return kinds[draw.choice("kind", *kinds)](draw)


def _cell_bars(name: str) -> Iterator[Bar]:
    """Bars of one cell, which spans from 0 to 2 on each axis."""
    ends = list(product((0, 2), repeat=3))
    if name in ("body_centred", "reinforced"):
        for end in ends:
            yield (1, 1, 1), end
    if name in ("cubic", "reinforced"):
        for start, end in product(ends, ends):
            if start < end and sum(a != b for a, b in zip(start, end, strict=True)) == 1:
                yield start, end


def _block_bars(name: str, counts: Sequence[int]) -> list[Bar]:
    """Bars of a block of cells, each once: fusing coincident bars would leave slivers."""
    bars: set[Bar] = set()
    for place in product(*(range(count) for count in counts)):
        for start, end in _cell_bars(name):
            first, last = (tuple(2 * i + a for i, a in zip(place, at, strict=True)) for at in (start, end))
            bars.add((first, last))
    return sorted(bars)


def _strut_cells(draw: Draw) -> Manifold:
    """Strut cells on a base plate, open above or closed by a second plate."""
    cell = draw.choice("cell", "cubic", "body_centred", "reinforced")
    counts = [draw.count("cells_x", 2, 3), draw.count("cells_y", 1, 3), draw.count("cells_z", 1, 4)]
    plate = draw.dimension("plate", 2, 4)
    size = (56 - 2 * plate) / max(counts)
    diameter = min(draw.dimension("strut", 0.11, 0.2) * size, 5.0)
    # Struts of three voxels of the published set.
    diameter = max(diameter, 1.9)
    width, depth, height = (count * size for count in counts)
    corner = (-width / 2, -depth / 2, plate)

    def node(at: Sequence[int]) -> tuple[float, float, float]:
        x, y, z = (low + size / 2 * a for low, a in zip(corner, at, strict=True))
        return x, y, z

    bars = union(strut(diameter, node(start), node(end)) for start, end in _block_bars(cell, counts))
    skin = rectangle(width + 1.1 * diameter, depth + 1.1 * diameter, diameter / 2)
    solid = bars + slab(skin, plate + 0.4 * diameter)
    if draw.has("top_plate"):
        return solid + slab(skin, plate, plate + height - 0.4 * diameter)
    return solid


def _honeycomb(draw: Draw) -> Manifold:
    """Build a panel or a round plug of hexagonal cells, with a frame and perhaps a floor."""
    width, depth = draw.dimension("width", 44, 60), draw.dimension("depth", 28, 60)
    height, wall = draw.dimension("height", 6, 34), draw.dimension("wall", 1.4, 2.4)
    across = draw.dimension("cell", 7, 13)
    frame = rectangle(width, depth, 3) if draw.has("rectangular") else disc(max(width, depth))
    inside = frame.offset(-1.2 * wall)
    cells = []
    pitch = across + wall
    for i, j in product(range(-9, 10), repeat=2):
        at = (pitch * (i + 0.5 * (j % 2)), pitch * 0.866 * j)
        hexagon = polygon([(x + at[0], y + at[1]) for x, y in bolt_circle(6, across / 0.866, 30)])
        clipped = hexagon ^ inside
        # Slivers of cells at the frame are filled, a blade could not clear them of powder.
        if clipped.area() > 0.3 * hexagon.area():
            cells.append(slab(clipped, 200, -100))
    solid = slab(frame, height) - union(cells)
    if draw.has("floor"):
        return solid + slab(frame, draw.dimension("floor_height", 1.6, 3))
    return solid


def _truss(draw: Draw) -> Manifold:
    """Build a triangulated beam between two solid chords, standing or lying."""
    length, height = draw.dimension("length", 50, 60), draw.dimension("height", 20, 36)
    depth, chord = draw.dimension("depth", 5, 16), draw.dimension("chord", 2.5, 4)
    web, bays = draw.dimension("web", 1.6, 3), draw.count("bays", 3, 5)
    outline = rectangle(length, height, at=(0, height / 2)) - rectangle(
        length - 2 * chord, height - 2 * chord, at=(0, height / 2)
    )
    inner = length - 2 * chord
    low, high = chord * 0.6, height - chord * 0.6
    crossed = draw.has("crossed")
    for k in range(bays):
        left, right = -inner / 2 + inner * k / bays, -inner / 2 + inner * (k + 1) / bays
        ends: list[tuple[Point, Point]] = [
            ((left, low), (right, high)) if k % 2 else ((left, high), (right, low))
        ]
        if crossed:
            ends.append(((left, ends[0][1][1]), (right, ends[0][0][1])))
        for start, end in ends:
            outline += ribbon([start, end], web)
    solid = wall_xz(outline, depth)
    if draw.has("upright"):
        return solid.rotate((0, 90, 0))
    return solid
