"""Flanges: bolted discs with hubs, necks, ribs and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.parts.solids import (
    around,
    bolt_circle,
    chamfered_slab,
    corners,
    disc,
    discs,
    polygon,
    rectangle,
    slab,
    taper,
    turned,
    union,
    wall_xz,
)

if TYPE_CHECKING:
    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw


def flange(draw: Draw) -> Manifold:
    """Draw a round, square or oval flange, a spool, or a pipe tee."""
    kinds = {"round": _round, "square": _square, "oval": _oval, "spool": _spool, "tee": _tee}
    return kinds[draw.choice("kind", *kinds)](draw)


def _round(draw: Draw) -> Manifold:
    """Build a weld-neck flange: bolt circle, tapered neck, and ribs on some."""
    diameter, thickness = draw.dimension("diameter", 48, 60), draw.dimension("thickness", 3, 7)
    bore, wall = draw.dimension("bore", 10, 22), draw.dimension("wall", 2, 5)
    height = draw.dimension("height", 14, 50)
    bolts, hole = draw.count("bolts", 3, 8), draw.dimension("hole_diameter", 3, 5)
    pitch = diameter - hole - 5
    base = chamfered_slab(disc(diameter), thickness, 0.8)
    base -= slab(discs(hole, bolt_circle(bolts, pitch)), 3 * thickness, -thickness)
    top, root = bore / 2 + wall, min(bore / 2 + 1.6 * wall, pitch / 2 - hole / 2 - 1)
    neck = turned([(0, 0), (root, 0), (root, thickness), (top, 0.6 * height), (top, height), (0, height)])
    solids = [base, neck]
    if draw.has("ribs"):
        rib = polygon(
            [
                (0, 0),
                (diameter / 2 - 1, 0),
                (diameter / 2 - 1, thickness),
                (top, 0.8 * height),
                (0, 0.8 * height),
            ]
        )
        solids.append(around(wall_xz(rib, draw.dimension("rib", 1.6, 3)), bolts, 180 / bolts))
    return union(solids) - slab(disc(bore), 3 * height, -height)


def _square(draw: Draw) -> Manifold:
    """Build a motor-mount plate: four bolts, a pilot bore, and a raised collar."""
    side, thickness = draw.dimension("side", 42, 60), draw.dimension("thickness", 3, 8)
    bore, wall = draw.dimension("bore", 14, 26), draw.dimension("wall", 1.8, 4)
    collar, hole = draw.dimension("collar_height", 6, 30), draw.dimension("hole_diameter", 3, 5)
    base = chamfered_slab(rectangle(side, side, draw.dimension("corner_radius", 3, 8)), thickness, 0.8)
    base -= slab(discs(hole, corners(side - hole - 6, side - hole - 6)), 3 * thickness, -thickness)
    solid = base + slab(disc(bore + 2 * wall), thickness + collar)
    if draw.has("stepped_bore"):
        step = 0.7 * bore
        return solid - slab(disc(step), 200, -100) - slab(disc(bore), 200, 0.5 * thickness)
    return solid - slab(disc(bore), 200, -100)


def _oval(draw: Draw) -> Manifold:
    """Build a two-bolt flange with a leaning pipe stub."""
    pitch, eye = draw.dimension("bolt_pitch", 36, 46), draw.dimension("eye_diameter", 10, 14)
    thickness, wall = draw.dimension("thickness", 3, 7), draw.dimension("wall", 1.8, 3.5)
    bore, height = draw.dimension("bore", 12, 20), draw.dimension("height", 14, 40)
    lean = draw.dimension("lean", 0, 40)
    base = slab(taper([(bore + 10, (0, 0)), (eye, (-pitch / 2, 0)), (eye, (pitch / 2, 0))]), thickness)
    base -= slab(discs(0.45 * eye, [(-pitch / 2, 0), (pitch / 2, 0)]), 200, -100)

    def pipe(diameter: float, length: float) -> Manifold:
        # It starts below the plate and is trimmed there, so that a leaning pipe has no gap at its root.
        upright = slab(disc(diameter), length + 20, -20)
        return upright.rotate((lean, 0, 0)).trim_by_plane((0, 0, 1), 0)

    return union([base, pipe(bore + 2 * wall, height)]) - pipe(bore, height + 20) - slab(disc(bore), 2, -1)


def _spool(draw: Draw) -> Manifold:
    """Two flanges joined by a pipe; the upper one overhangs."""
    diameter, height = draw.dimension("diameter", 32, 56), draw.dimension("height", 28, 58)
    thickness, wall = draw.dimension("thickness", 3, 6), draw.dimension("wall", 1.8, 4)
    bore = draw.dimension("bore", 0.3, 0.5) * diameter
    bolts = draw.count("bolts", 3, 6)
    hole = min(0.35 * (diameter - bore - 2 * wall) / 2, 5.0)
    ring = disc(diameter) - discs(hole, bolt_circle(bolts, (diameter + bore) / 2 + wall))
    pipe = slab(disc(bore + 2 * wall), height)
    return union([slab(ring, thickness), slab(ring, thickness, height - thickness), pipe]) - slab(
        disc(bore), 200, -100
    )


def _tee(draw: Draw) -> Manifold:
    """Build a flanged pipe with a side branch."""
    height, bore = draw.dimension("height", 40, 58), draw.dimension("bore", 12, 22)
    wall, branch = draw.dimension("wall", 1.8, 4), draw.dimension("branch_bore", 0.45, 0.85) * bore
    margin, thickness = draw.dimension("bolt_margin", 8, 11), draw.dimension("thickness", 3, 6)
    reach = draw.dimension("reach", bore / 2 + wall + 8, bore / 2 + wall + 20)
    at = (0.0, draw.dimension("branch_height", 0.5, 0.68) * height)
    pipe = bore + 2 * wall
    base = disc(pipe + 2 * margin) - discs(3.2, bolt_circle(draw.count("bolts", 4, 6), pipe + margin))
    outer = wall_xz(disc(branch + 2 * wall, at), reach, -reach / 2)
    rim = wall_xz(disc(branch + 2 * wall + 6, at), 3, 1.5 - reach)
    inner = wall_xz(disc(branch, at), reach + 10, -reach / 2 - 5)
    return union([slab(base, thickness), slab(disc(pipe), height), outer, rim]) - union(
        [slab(disc(bore), 200, -100), inner]
    )
