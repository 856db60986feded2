"""A small vocabulary of sketches and solids, in mm, over manifold3d: closed solids come out by construction.

A sketch (`CrossSection`) lies in the xy plane; z is the build direction.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

try:
    from manifold3d import CrossSection, FillRule, JoinType, Manifold, OpType
except ImportError as error:
    raise ModuleNotFoundError(
        "procedural parts need the package manifold3d; install the extra 'solver'", name="manifold3d"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

CIRCLE_SEGMENTS = 64
"""Sides of a full circle: a 60 mm circle is off by 0.04 mm, a fifteenth of a voxel."""

STRUT_SEGMENTS = 12
"""Sides of a thin strut, of which a lattice has hundreds."""

Point: TypeAlias = tuple[float, float]


def disc(diameter: float, at: Point = (0.0, 0.0)) -> CrossSection:
    """Sketch of a circle."""
    return CrossSection.circle(diameter / 2, CIRCLE_SEGMENTS).translate(at)


def rectangle(width: float, depth: float, radius: float = 0.0, at: Point = (0.0, 0.0)) -> CrossSection:
    """Sketch of a rectangle about `at`, with rounded corners where `radius` is positive."""
    if radius <= 0:
        return CrossSection.square((width, depth), center=True).translate(at)
    core = CrossSection.square((width - 2 * radius, depth - 2 * radius), center=True)
    return core.offset(radius, JoinType.Round, circular_segments=CIRCLE_SEGMENTS).translate(at)


def polygon(points: ArrayLike) -> CrossSection:
    """Sketch of a simple polygon, (n, 2) corners in either direction of turn."""
    return CrossSection([np.asarray(points, dtype=np.float64)], FillRule.NonZero)


def taper(ends: Sequence[tuple[float, Point]]) -> CrossSection:
    """Sketch of the hull of circles, each given by diameter and centre: slots, arms, ovals."""
    return CrossSection.batch_hull([disc(diameter, at) for diameter, at in ends])


def ribbon(points: Sequence[Point], width: float) -> CrossSection:
    """Sketch of a strip along a path, with round ends and corners."""
    links = [taper([(width, start), (width, end)]) for start, end in pairwise(points)]
    return CrossSection.batch_boolean(links, OpType.Add)


def bolt_circle(count: int, diameter: float, start: float = 0.0) -> list[Point]:
    """Evenly spaced centres on a circle, the first at `start` degrees from the x axis."""
    angles = np.radians(start + 360.0 / count * np.arange(count))
    return [(diameter / 2 * float(np.cos(angle)), diameter / 2 * float(np.sin(angle))) for angle in angles]


def corners(width: float, depth: float) -> list[Point]:
    """Four centres at the corners of a rectangle about the origin."""
    return [(x * width / 2, y * depth / 2) for x in (-1, 1) for y in (-1, 1)]


def discs(diameter: float, centres: Iterable[Point]) -> CrossSection:
    """Sketch of equal circles."""
    return CrossSection.batch_boolean([disc(diameter, at) for at in centres], OpType.Add)


def slab(sketch: CrossSection, height: float, z: float = 0.0) -> Manifold:
    """Extrude a sketch upwards from height `z`."""
    return sketch.extrude(height).translate((0.0, 0.0, z))


def chamfered_slab(sketch: CrossSection, height: float, chamfer: float) -> Manifold:
    """Extrude a convex sketch from z = 0, with a 45 degree chamfer around its top edge."""
    inset = sketch.offset(-chamfer, JoinType.Miter)
    return Manifold.batch_hull([slab(sketch, height - chamfer), slab(inset, height)])


def wall_xz(sketch: CrossSection, thickness: float, y: float = 0.0) -> Manifold:
    """Stand a sketch up in the xz plane, its own y pointing to z, as a wall about `y`."""
    return sketch.extrude(thickness).rotate((90.0, 0.0, 0.0)).translate((0.0, y + thickness / 2, 0.0))


def wall_yz(sketch: CrossSection, thickness: float, x: float = 0.0) -> Manifold:
    """Stand a sketch up in the yz plane, its own x pointing to y, as a wall about `x`."""
    return wall_xz(sketch, thickness).rotate((0.0, 0.0, 90.0)).translate((x, 0.0, 0.0))


def turned(profile: ArrayLike) -> Manifold:
    """Turn a profile of (radius, z) corners, (n, 2), about the z axis."""
    return polygon(profile).revolve(CIRCLE_SEGMENTS)


def strut(diameter: float, start: Sequence[float], end: Sequence[float]) -> Manifold:
    """Join two points by a round bar with round ends."""
    ball = Manifold.sphere(diameter / 2, STRUT_SEGMENTS)
    return Manifold.batch_hull([ball.translate(tuple(start)), ball.translate(tuple(end))])


def union(solids: Iterable[Manifold]) -> Manifold:
    """Fuse solids into one."""
    return Manifold.batch_boolean(list(solids), OpType.Add)


def around(solid: Manifold, count: int, start: float = 0.0) -> Manifold:
    """Repeat a solid `count` times about the z axis."""
    return union(solid.rotate((0.0, 0.0, start + 360.0 / count * k)) for k in range(count))
