"""Rings and turned parts: collars, split clamps, bearing cages, pulleys, and rings that stand upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.parts.solids import (
    around,
    disc,
    rectangle,
    slab,
    turned,
    union,
    wall_xz,
    wall_yz,
)

if TYPE_CHECKING:
    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw


def ring(draw: Draw) -> Manifold:
    """Draw a stepped collar, a split clamp, a cage, a pulley or an upright ring."""
    kinds = {"collar": _collar, "clamp": _clamp, "cage": _cage, "pulley": _pulley, "upright": _upright}
    return kinds[draw.choice("kind", *kinds)](draw)


def _collar(draw: Draw) -> Manifold:
    """Build a turned bushing with a shoulder and cross holes."""
    bore, wall = draw.dimension("bore", 16, 42), draw.dimension("wall", 2, 5)
    height, lip = draw.dimension("height", 14, 58), draw.dimension("shoulder", 2, 4)
    inner, outer = bore / 2, bore / 2 + wall
    rise = draw.dimension("shoulder_height", 3, 0.4 * height)
    profile = [
        (inner, 0),
        (outer + lip, 0),
        (outer + lip, rise),
        (outer, rise + lip),
        (outer, height),
        (inner, height),
    ]
    solid = turned(profile)
    if draw.has("cross_holes"):
        hole = min(draw.dimension("hole", 0.2, 0.4) * height, 0.4 * bore)
        pin = wall_xz(disc(hole, at=(0, (height + rise + lip) / 2)), 4 * outer)
        return solid - around(pin, draw.count("pairs_of_holes", 1, 3))
    return solid


def _clamp(draw: Draw) -> Manifold:
    """Build a split ring with two bolted ears."""
    bore, wall = draw.dimension("bore", 16, 30), draw.dimension("wall", 3, 6)
    height, gap = draw.dimension("height", 8, 30), draw.dimension("gap", 2, 5)
    ear, reach = draw.dimension("ear_thickness", 3, 6), draw.dimension("ear_reach", 9, 14)
    outer = bore + 2 * wall
    start, end = bore / 2 + wall / 2, outer / 2 + reach
    ears = rectangle(end - start, gap + 2 * ear, at=((start + end) / 2, 0))
    body = (disc(outer) + ears) - disc(bore) - rectangle(end, gap, at=(end / 2 + 1, 0))
    bolt = wall_xz(disc(min(0.4 * height, 5), at=(outer / 2 + 0.55 * reach, height / 2)), 4 * outer)
    solid = slab(body, height) - bolt
    if draw.has("foot"):
        foot = draw.dimension("foot_width", 0.6, 0.9) * outer
        # The pad reaches in to the bore, so that ring and foot grow into one another.
        pad = rectangle(0.3 * outer, foot, 1.0, at=(-0.4 * outer - 1.5, 0)) - disc(bore)
        return solid + slab(pad, height)
    return solid


def _cage(draw: Draw) -> Manifold:
    """Build a bearing cage: a thin ring pierced by a row of windows."""
    diameter, wall = draw.dimension("diameter", 42, 60), draw.dimension("wall", 2, 4)
    height, rim = draw.dimension("height", 12, 45), draw.dimension("rim", 2, 4)
    windows = draw.count("windows", 6, 14)
    share = draw.dimension("window_share", 0.45, 0.65)
    width = share * 3.14 * (diameter - 2 * wall) / windows
    opening = rectangle(width, height - 2 * rim, min(width, height - 2 * rim) * 0.3, at=(0, height / 2))
    window = wall_yz(opening, diameter, diameter / 2 + 2)
    body = slab(disc(diameter) - disc(diameter - 2 * wall), height)
    if draw.has("lip"):
        lip = min(3.0, 0.5 * wall + 1)
        body += slab(disc(diameter) - disc(diameter - 2 * wall - 2 * lip), rim * 0.8)
    return body - around(window, windows)


def _pulley(draw: Draw) -> Manifold:
    """Build a grooved wheel with a hub, its web pierced by round windows."""
    diameter, width = draw.dimension("diameter", 40, 60), draw.dimension("width", 9, 22)
    rim, groove = draw.dimension("rim", 6, 9), draw.dimension("groove_depth", 2, 4)
    hub, web = draw.dimension("hub", 12, 18), draw.dimension("web", 2.5, 5)
    outer, lip = diameter / 2, 0.18 * width
    tread = turned(
        [
            (outer - rim, 0),
            (outer, 0),
            (outer, lip),
            (outer - groove, 0.42 * width),
            (outer - groove, 0.58 * width),
            (outer, width - lip),
            (outer, width),
            (outer - rim, width),
        ]
    )
    solid = union([tread, slab(disc(diameter - 2 * rim + 1), web), slab(disc(hub), width * 1.15)])
    span = outer - rim - hub / 2
    window = slab(disc(0.62 * span, at=((hub / 2 + outer - rim) / 2, 0)), 200, -100)
    return solid - around(window, draw.count("windows", 3, 6)) - slab(disc(0.5 * hub), 200, -100)


def _upright(draw: Draw) -> Manifold:
    """Build a ring that stands on a foot, its crown an overhang that nothing holds while it grows."""
    outer, wall = draw.dimension("diameter", 34, 56), draw.dimension("wall", 2.5, 7)
    depth, foot = draw.dimension("depth", 7, 26), draw.dimension("foot_height", 2.5, 5)
    centre = outer / 2 + foot - 1.5
    base = slab(rectangle(draw.dimension("foot_width", 0.6, 1.0) * outer, depth * 1.2, 2), foot)
    body = wall_xz(disc(outer, at=(0, centre)), depth)
    solid = (base + body) - wall_xz(disc(outer - 2 * wall, at=(0, centre)), 4 * depth)
    if draw.has("spokes"):
        spoke = rectangle(draw.dimension("spoke", 1.8, 3.5), outer - wall, at=(0, 0))
        count = draw.count("spoke_pairs", 1, 3)
        for k in range(count):
            solid += wall_xz(spoke.rotate(180 / count * k + 45).translate((0, centre)), depth * 0.6)
    return solid
