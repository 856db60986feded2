"""Overhangs: arms, caps and leaning columns that grow out over powder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.parts.solids import (
    chamfered_slab,
    corners,
    disc,
    discs,
    polygon,
    rectangle,
    slab,
    strut,
    turned,
    union,
    wall_xz,
)

if TYPE_CHECKING:
    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw


def overhang(draw: Draw) -> Manifold:
    """Draw a tee, a mushroom, shelves, a leaning column or a table with a branching foot."""
    kinds = {"tee": _tee, "mushroom": _mushroom, "shelves": _shelves, "leaning": _leaning, "tree": _tree}
    return kinds[draw.choice("kind", *kinds)](draw)


def _tee(draw: Draw) -> Manifold:
    """Build a plate on a stem, its undersides sloped or not, its arms of unequal reach."""
    left, right = draw.dimension("left_reach", 12, 29), draw.dimension("right_reach", 12, 29)
    height, depth = draw.dimension("height", 18, 56), draw.dimension("depth", 6, 34)
    stem, cap = draw.dimension("stem", 5, 12), draw.dimension("cap", 2.5, 6)
    slope = draw.dimension("slope", 0, 0.45) * height
    points = [
        (-stem / 2, 0),
        (stem / 2, 0),
        (stem / 2, height - cap - slope),
        (right, height - cap),
        (right, height),
    ]
    points += [(-left, height), (-left, height - cap), (-stem / 2, height - cap - slope)]
    solid = wall_xz(polygon(points), depth)
    solid += slab(rectangle(2.4 * stem, depth, 1.5), draw.dimension("foot", 2, 4))
    if draw.has("pierced"):
        hole = min(0.45 * depth, 0.3 * min(left, right))
        places = [(right - 1.2 * hole, 0.0), (1.2 * hole - left, 0.0)]
        return solid - slab(discs(hole, places), 200, -100)
    return solid


def _mushroom(draw: Draw) -> Manifold:
    """Build a turned cap on a stem, its underside a cone of 20 to 60 degrees."""
    cap, stem = draw.dimension("cap_diameter", 38, 60), draw.dimension("stem_diameter", 8, 18)
    height, rim = draw.dimension("height", 22, 52), draw.dimension("rim", 2, 5)
    drop = min(np.tan(np.radians(draw.dimension("cone_angle", 8, 50))) * (cap - stem) / 2, height - rim - 4)
    foot = draw.dimension("foot_diameter", 1.3, 2.2) * stem
    r, s = cap / 2, stem / 2
    profile = [(0, 0), (foot / 2, 0), (foot / 2, 2.5), (s, 2.5 + (foot - stem) / 4), (s, height - rim - drop)]
    solid = turned([*profile, (r, height - rim), (r, height), (0, height)])
    if draw.has("dished"):
        depth = min(drop, height / 2)
        dish = turned(
            [
                (s * 0.5, height - depth),
                (r - 2.2, height),
                (r - 2.2, height + 5),
                (0, height + 5),
                (0, height - depth),
            ]
        )
        return solid - dish
    return solid - slab(disc(0.45 * stem), 200, -100)


def _shelves(draw: Draw) -> Manifold:
    """Build a wall with shelves of different reach on one or both sides."""
    height, depth = draw.dimension("height", 40, 60), draw.dimension("depth", 8, 30)
    wall, shelf = draw.dimension("wall", 2.5, 6), draw.dimension("shelf", 1.8, 4)
    count = draw.count("shelves", 2, 5)
    both = draw.has("both_sides")
    outline = rectangle(wall, height, at=(0, height / 2))
    outline += rectangle(draw.dimension("foot", 3, 5) * wall, shelf + 1, at=(0, (shelf + 1) / 2))
    gap = (height - 8) / count
    for k in range(count):
        reach, level = draw.dimension(f"reach_{k}", 8, 27), 8 + (k + 1) * gap - shelf / 2
        outline += rectangle(reach, shelf, at=(reach / 2, level))
        if both:
            reach = draw.dimension(f"left_reach_{k}", 8, 27)
            outline += rectangle(reach, shelf, at=(-reach / 2, level))
    return wall_xz(outline, depth)


def _leaning(draw: Draw) -> Manifold:
    """Build a leaning box column on a bolted foot, with a level head."""
    lean, height = draw.dimension("lean", 8, 26), draw.dimension("height", 34, 54)
    width, depth = draw.dimension("width", 9, 18), draw.dimension("depth", 10, 24)
    wall, foot = draw.dimension("wall", 1.8, 3.5), draw.dimension("foot", 3, 5)
    offset = np.tan(np.radians(lean)) * height
    half = width / 2
    outer = polygon([(-half, 0), (half, 0), (half + offset, height), (-half + offset, height)])
    column = wall_xz(outer, depth)
    if draw.has("hollow"):
        inner = polygon(
            [
                (wall - half, -1),
                (half - wall, -1),
                (half - wall + offset, height - wall),
                (wall - half + offset, height - wall),
            ]
        )
        column -= wall_xz(inner, depth - 2 * wall)
    base = chamfered_slab(rectangle(width + 16, depth + 10, 3), foot, 0.8)
    base -= slab(discs(3.4, corners(width + 9, depth + 3)), 200, -100)
    head = slab(rectangle(width + 10, depth, at=(offset, 0)), 3, height - 1.5)
    return union([base - wall_xz(rectangle(width - 2 * wall, 40), depth - 2 * wall), column, head])


def _tree(draw: Draw) -> Manifold:
    """Build a table carried by a trunk and branches."""
    width, depth = draw.dimension("width", 36, 58), draw.dimension("depth", 24, 50)
    height, top = draw.dimension("height", 26, 52), draw.dimension("top", 2.2, 4)
    trunk, branch = draw.dimension("trunk", 6, 11), draw.dimension("branch", 2.6, 4.5)
    fork = draw.dimension("fork_height", 0.3, 0.6) * height
    reach = draw.dimension("branch_reach", 0.55, 0.85)
    places = corners(reach * width, reach * depth)
    if draw.has("six_branches"):
        places += [(0.0, reach * depth / 2), (0.0, -reach * depth / 2)]
    branches = [strut(branch, (0, 0, fork), (x, y, height - top / 2)) for x, y in places]
    outline = rectangle(width, depth, 3)
    if draw.has("cut_out"):
        outline -= rectangle(0.4 * width, 0.4 * depth, 2)
    stem = turned(
        [(0, 0), (trunk, 0), (trunk, 2), (trunk / 2, 2 + trunk / 2), (trunk / 2, fork + 1), (0, fork + 1)]
    )
    return union([stem, slab(outline, top, height - top), *branches]).trim_by_plane((0, 0, -1), -height)
