"""Brackets: plates at an angle, bearing blocks and levers, bolted down and bored through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.parts.solids import (
    chamfered_slab,
    corners,
    disc,
    discs,
    polygon,
    rectangle,
    slab,
    taper,
    union,
    wall_xz,
    wall_yz,
)

if TYPE_CHECKING:
    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw


def bracket(draw: Draw) -> Manifold:
    """Draw an angle bracket, a clevis, a pillow block or a lever."""
    kinds = {"angle": _angle, "clevis": _clevis, "pillow_block": _pillow_block, "lever": _lever}
    return kinds[draw.choice("kind", *kinds)](draw)


def _angle(draw: Draw) -> Manifold:
    """Two plates at a right angle, stiffened by one or two gussets."""
    width, depth = draw.dimension("width", 28, 58), draw.dimension("depth", 25, 50)
    height, wall = draw.dimension("height", 25, 58), draw.dimension("wall", 2.5, 6)
    radius = draw.dimension("corner_radius", 2, 6)
    hole = draw.dimension("hole_diameter", 3.5, 7)

    base = rectangle(width, depth, radius)
    # The corners at the upright stay square.
    base += rectangle(width, depth / 2, at=(0, depth / 4))
    spread = width - 2 * hole - 6
    base -= discs(hole, [(x * spread / 2, -depth * 0.2) for x in (-1, 1)])

    outline = rectangle(width, height, radius, at=(0, height / 2)) + rectangle(
        width, height / 2, at=(0, height / 4)
    )
    if draw.has("bore_in_upright"):
        bore = draw.dimension("bore", 0.25, 0.45) * min(width, height)
        outline -= disc(bore, at=(0, height * 0.58))
    else:
        slot = draw.dimension("slot_length", 0.2, 0.45) * width
        outline -= taper([(hole, (-slot / 2, height * 0.7)), (hole, (slot / 2, height * 0.7))])

    reach, rise = depth * 0.62, height * draw.dimension("gusset_rise", 0.3, 0.75)
    rib = polygon([(depth / 2, 0), (depth / 2, rise), (depth / 2 - reach, wall), (depth / 2 - reach, 0)])
    gusset = draw.dimension("gusset_thickness", 2, 4)
    places = [0.0] if draw.count("gussets", 1, 2) == 1 else [gusset / 2 - width / 2, width / 2 - gusset / 2]
    solids = [slab(base, wall), wall_xz(outline, wall, depth / 2 - wall / 2)]
    return union(solids + [wall_yz(rib, gusset, x) for x in places])


def _clevis(draw: Draw) -> Manifold:
    """Build a base plate with two lugs that share a cross bore."""
    width, depth = draw.dimension("width", 40, 60), draw.dimension("depth", 20, 40)
    base_height = draw.dimension("base_height", 3, 8)
    rise, lug = draw.dimension("pin_height", 18, 40), draw.dimension("lug_thickness", 3, 7)
    gap = draw.dimension("gap", 8, width - 2 * lug - 18)
    eye = draw.dimension("eye_diameter", 12, min(depth, 24))
    pin = draw.dimension("pin", 0.4, 0.65) * eye

    hole = draw.dimension("hole_diameter", 3, 4.5)
    base = rectangle(width, depth, draw.dimension("corner_radius", 2, 5)) - discs(
        hole, corners(width - hole - 4, depth - hole - 5)
    )
    eye_at = (0.0, base_height + rise)
    outline = taper([(eye, eye_at)]).hull() + polygon(
        [
            (-depth / 2 + 1, 0),
            (depth / 2 - 1, 0),
            (eye / 2, base_height + rise),
            (-eye / 2, base_height + rise),
        ]
    )
    outline -= disc(pin, at=eye_at)
    lugs = [wall_yz(outline, lug, side * (gap + lug) / 2) for side in (-1, 1)]
    return union([slab(base, base_height), *lugs])


def _pillow_block(draw: Draw) -> Manifold:
    """Build a bearing block: a bore in a rounded body on a bolted foot."""
    width, depth = draw.dimension("width", 48, 60), draw.dimension("depth", 12, 30)
    foot, ring = draw.dimension("foot_height", 4, 8), draw.dimension("ring_wall", 3, 7)
    bore = draw.dimension("bore", 12, 26)
    outer = bore + 2 * ring
    centre = foot + outer / 2 - 1
    hole = draw.dimension("hole_diameter", 3.5, 5.5)
    places = [(side * (width - 11) / 2, 0.0) for side in (-1, 1)]
    base = chamfered_slab(rectangle(width, depth, 3), foot, 0.8)
    base -= slab(discs(hole, places), 3 * foot, -foot)
    if draw.has("counterbored"):
        base -= slab(discs(hole + 2.5, places), foot, foot * 0.6)
    block = min(outer, width - 24)
    outline = disc(outer, at=(0, centre)) + rectangle(block, centre, at=(0, centre / 2))
    body = wall_xz(outline, depth * 0.8)
    return union([base, body]) - wall_xz(disc(bore, at=(0, centre)), 2 * depth)


def _lever(draw: Draw) -> Manifold:
    """Build an arm between two or three bored bosses, its web thinner than the bosses."""
    reach = draw.dimension("reach", 32, 42)
    large, small = draw.dimension("large_boss", 14, 22), draw.dimension("small_boss", 9, 14)
    height, web = draw.dimension("boss_height", 8, 20), draw.dimension("web", 2.5, 6)
    ends = [(large, (0.0, 0.0)), (small, (reach, 0.0))]
    if draw.has("bell_crank"):
        ends.append((small, (-2.0, draw.dimension("second_reach", 20, 34))))
    arms = [taper([(0.8 * ends[0][0], ends[0][1]), (0.8 * size, at)]) for size, at in ends[1:]]
    solids = [slab(arm, web) for arm in arms] + [slab(disc(size, at), height) for size, at in ends]
    # A rim turns the web into a channel.
    if draw.has("rim"):
        rim = draw.dimension("rim", 1.6, 2.4)
        solids += [slab(arm - arm.offset(-rim), height * 0.7) for arm in arms]
    bores = [slab(disc(0.55 * size, at), 3 * height, -height) for size, at in ends]
    return union(solids) - union(bores)
