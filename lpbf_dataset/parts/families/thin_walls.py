"""Thin walls: enclosures, heat sinks, impellers and ribbed shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.parts.solids import (
    around,
    corners,
    disc,
    discs,
    polygon,
    rectangle,
    ribbon,
    slab,
    turned,
    union,
    wall_xz,
    wall_yz,
)

if TYPE_CHECKING:
    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw


def thin_wall(draw: Draw) -> Manifold:
    """Draw an enclosure, a heat sink, an impeller, a fluted shell or a channel section."""
    kinds = {
        "enclosure": _enclosure,
        "heat_sink": _heat_sink,
        "impeller": _impeller,
        "fluted_shell": _fluted_shell,
        "channel": _channel,
    }
    return kinds[draw.choice("kind", *kinds)](draw)


def _enclosure(draw: Draw) -> Manifold:
    """Build an open box with screw posts in its corners and openings in its walls."""
    width, depth = draw.dimension("width", 44, 60), draw.dimension("depth", 28, 56)
    height, wall = draw.dimension("height", 12, 40), draw.dimension("wall", 1.4, 2.6)
    floor, post = draw.dimension("floor", 1.6, 3), draw.dimension("post", 5.5, 8)
    radius = draw.dimension("corner_radius", 3, 7)
    outer = rectangle(width, depth, radius)
    inner = outer.offset(-wall)
    posts = discs(post, corners(width - post - wall, depth - post - wall)) ^ outer
    solid = slab(outer - inner + posts, height) + slab(outer, floor)
    solid -= slab(discs(0.45 * post, corners(width - post - wall, depth - post - wall)), 200, floor + 1)
    port = rectangle(0.4 * depth, 0.4 * height, 1.5, at=(0, 0.55 * height))
    solid -= wall_yz(port, 4 * wall, width / 2)
    if draw.has("vents"):
        count = draw.count("vent_count", 3, 6)
        for k in range(count):
            at = (0.5 * width * ((k + 0.5) / count - 0.5), 0.55 * height)
            solid -= wall_xz(rectangle(0.24 * width / count, 0.5 * height, at=at), 4 * wall, depth / 2)
    return solid


def _heat_sink(draw: Draw) -> Manifold:
    """Build a base with parallel, pinned or radial fins."""
    width, depth = draw.dimension("width", 40, 60), draw.dimension("depth", 28, 56)
    base, height = draw.dimension("base", 2.5, 5), draw.dimension("fin_height", 10, 34)
    fin, count = draw.dimension("fin", 1.4, 2.2), draw.count("fins", 5, 9)
    style = draw.choice("fins_are", "parallel", "pins", "radial")
    if style == "radial":
        blade = slab(rectangle(width / 2 - 1, fin, at=(width / 4, 0)), base + height)
        core = slab(disc(0.3 * width), base + height)
        return union([slab(disc(width), base), around(blade, 2 * count), core]) - slab(
            disc(0.16 * width), 200, -100
        )
    places = np.linspace(-(width - fin) / 2, (width - fin) / 2, count)
    plate = slab(rectangle(width, depth), base)
    if style == "pins":
        pin = 1.6 * fin
        rows = max(int(depth / width * count), 3)
        across = np.linspace(-(depth - pin) / 2, (depth - pin) / 2, rows)
        along = places * (width - pin) / (width - fin)
        pins = discs(pin, [(float(x), float(y)) for x in along for y in across])
        return plate + slab(pins, base + height)
    return union([plate, *(slab(rectangle(fin, depth, at=(float(x), 0)), base + height) for x in places)])


def _impeller(draw: Draw) -> Manifold:
    """Build a back plate and hub with curved blades."""
    diameter, height = draw.dimension("diameter", 46, 60), draw.dimension("blade_height", 8, 24)
    plate, blade = draw.dimension("plate", 2, 3.5), draw.dimension("blade", 1.5, 2.6)
    hub, sweep = draw.dimension("hub", 14, 20), draw.dimension("sweep", 20, 65)
    radius = np.linspace(0.4 * hub, diameter / 2 - 0.6, 12)
    angle = np.radians(sweep) * ((radius - radius[0]) / (radius[-1] - radius[0])) ** 0.8
    middle = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    points = [(float(x), float(y)) for x, y in middle]
    outline = ribbon(points, blade)
    # The blade tips drop towards the rim, as those of a centrifugal compressor do.
    r, h = hub / 2, plate + height
    rim = plate + draw.dimension("tip_height", 0.35, 1.0) * height
    envelope = turned([(0, 0), (diameter / 2, 0), (diameter / 2, rim), (r, h), (0, h)])
    blades = around(slab(outline, h), draw.count("blades", 6, 10)) ^ envelope
    core = turned([(0, 0), (1.3 * r, 0), (1.3 * r, plate), (r, 0.5 * h), (0.8 * r, h + 1), (0, h + 1)])
    return union([slab(disc(diameter), plate), blades, core]) - slab(disc(0.4 * hub), 200, -100)


def _fluted_shell(draw: Draw) -> Manifold:
    """Build a hollow column or cone with a fluted wall, on a floor or open below."""
    diameter, height = draw.dimension("diameter", 30, 56), draw.dimension("height", 26, 58)
    wall, depth = draw.dimension("wall", 1.5, 2.5), draw.dimension("flute_depth", 0.0, 3.0)
    flutes, twist = draw.count("flutes", 5, 12), draw.dimension("twist", 0, 60)
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = diameter / 2 - depth + depth * np.cos(flutes * angle)
    outer = polygon(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]))
    scale = draw.dimension("top_scale", 0.65, 1.0)
    # A tapered shell is thinned towards its top, so the sketch is thickened beforehand.
    inner = outer.offset(-wall / scale)
    layers = 24
    shell = (outer - inner).extrude(height, layers, twist, (scale, scale))
    floor = slab(outer.offset(-0.3 * wall), draw.dimension("floor", 1.6, 3))
    if draw.has("open_below"):
        return shell + (floor - slab(disc(0.4 * diameter), 200, -100))
    return shell + floor


def _channel(draw: Draw) -> Manifold:
    """Build a folded section (U, Z, C or hat) with holes along its web."""
    length, width = draw.dimension("length", 48, 60), draw.dimension("width", 14, 34)
    height, wall = draw.dimension("height", 12, 34), draw.dimension("wall", 1.5, 3)
    section = draw.choice("section", "U", "Z", "C", "hat")
    half, lip = width / 2, draw.dimension("lip", 5, 9)
    paths = {
        "U": [(-half, height), (-half, 0), (half, 0), (half, height)],
        "Z": [(-half - lip, 0), (0, 0), (0, height), (half + lip, height)],
        "C": [
            (lip - half, height),
            (-half, height),
            (-half, 0),
            (half, 0),
            (half, height),
            (half - lip, height),
        ],
        "hat": [(-half - lip, 0), (-half, 0), (-half, height), (half, height), (half, 0), (half + lip, 0)],
    }
    outline = ribbon([(x, y + wall / 2) for x, y in paths[section]], wall)
    solid = wall_yz(outline, length)
    hole = 0.35 * min(width, height)
    count = draw.count("holes", 2, 5)
    span = length - 2 * hole
    places = [(span * ((k + 0.5) / count - 0.5), 0.0) for k in range(count)]
    if section != "Z":
        return solid - slab(discs(min(hole, 0.6 * span / count), places), 200, -100)
    upright = discs(min(hole, 0.6 * span / count), [(x, height / 2) for x, _ in places])
    return solid - wall_xz(upright, 6 * wall)
