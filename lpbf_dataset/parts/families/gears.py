"""Gears: spur, helical and bevel wheels with involute flanks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.parts.solids import (
    around,
    bolt_circle,
    disc,
    discs,
    polygon,
    rectangle,
    slab,
    taper,
)

if TYPE_CHECKING:
    from manifold3d import CrossSection, Manifold

    from lpbf_dataset.parts.draw import Draw

PRESSURE_ANGLE = np.radians(20)
"""The standard pressure angle of involute gears (ISO 53)."""
FLANK_POINTS = 6


def gear(draw: Draw) -> Manifold:
    """Draw a wheel with a bore and hub, solid, spoked or pierced, or an internal ring gear."""
    teeth, diameter = draw.count("teeth", 12, 32), draw.dimension("tip_diameter", 40, 60)
    width = draw.dimension("face_width", 7, 24)
    module = diameter / (teeth + 2)
    outline = involute_outline(teeth, module)
    kind = draw.choice("kind", "spur", "helical", "bevel", "internal")
    if kind == "internal":
        return _internal(outline, diameter, width, draw)
    # Webs and windows stay clear of the tooth roots, at the narrow end of a bevel wheel too.
    root, rim = diameter / 2 - 2.25 * module, 2.2
    if kind == "helical":
        blank = outline.extrude(width, 8, draw.dimension("twist", 8, 25))
    elif kind == "bevel":
        # A straight-toothed bevel: the teeth converge on the apex of the pitch cone.
        scale = draw.dimension("top_scale", 0.55, 0.85)
        blank = outline.extrude(width, 0, 0.0, (scale, scale))
        root *= scale
    else:
        blank = slab(outline, width)
    return _body(blank, root - rim, width, draw)


def involute_outline(teeth: int, module: float) -> CrossSection:
    """Sketch of a wheel with involute flanks, addendum one module, dedendum 1.25 modules (ISO 53)."""
    pitch, tip, root = teeth * module / 2, teeth * module / 2 + module, teeth * module / 2 - 1.25 * module
    base = pitch * np.cos(PRESSURE_ANGLE)
    radii = np.linspace(max(base, root), tip, FLANK_POINTS)
    pressure = np.arccos(base / radii)
    involute = np.tan(PRESSURE_ANGLE) - PRESSURE_ANGLE
    # Half the angle of the tooth at each radius; a tooth is half a pitch wide on the pitch circle.
    half = np.pi / (2 * teeth) + involute - (np.tan(pressure) - pressure)
    half = np.maximum(half, 0.01)
    foot = half[0] * 1.15
    angles = np.concatenate([[-foot], -half, half[::-1], [foot]])
    distances = np.concatenate([[root], radii, radii[::-1], [root]])
    rotation = 2 * np.pi / teeth * np.arange(teeth)[:, None]
    angles, distances = (rotation + angles).ravel(), np.tile(distances, teeth)
    return polygon(np.column_stack([distances * np.cos(angles), distances * np.sin(angles)]))


def _body(blank: Manifold, inside: float, width: float, draw: Draw) -> Manifold:
    """Cut the bore and keyway, and make the wheel lighter between hub and rim, `inside` mm from the axis."""
    hub = draw.dimension("hub", 0.5, 0.7) * inside
    bore = draw.dimension("bore", 0.5, 0.65) * hub
    shaft = disc(2 * bore)
    if draw.has("keyway"):
        shaft += rectangle(0.5 * bore, bore, at=(0, 0.8 * bore))
    # Windows between hub and rim only where a round tool would fit.
    if inside - hub > 4:
        shape = draw.choice("web", "solid", "round_windows", "slotted", "recessed")
        middle, span = (inside + hub) / 2, inside - hub - 1.5
        if shape == "round_windows":
            blank -= slab(discs(span, bolt_circle(draw.count("windows", 4, 6), 2 * middle)), 200, -100)
        elif shape == "slotted":
            slot = taper([(span * 0.8, at) for at in bolt_circle(18, 2 * middle)[:3]])
            blank -= around(slab(slot, 200, -100), 4)
        elif shape == "recessed":
            blank -= slab(disc(2 * inside) - disc(2 * hub), 200, max(0.35 * width, 2.4))
    solid = blank + slab(disc(2 * hub), width * draw.dimension("hub_height", 1.0, 1.9))
    return solid - slab(shaft, 200, -100)


def _internal(outline: CrossSection, diameter: float, width: float, draw: Draw) -> Manifold:
    """Build a ring gear: the teeth point inwards, with lugs to bolt it down."""
    # Three lugs reach beyond the ring, so the whole is drawn smaller to stay in its envelope.
    inner = outline.scale((0.7, 0.7))
    outer = 0.7 * diameter + 2 * draw.dimension("ring_wall", 2.5, 4)
    lugs = draw.count("lugs", 3, 6)
    body = disc(outer)
    for at in bolt_circle(lugs, outer + 3):
        body += taper([(7.0, at), (7.0, (0.8 * at[0], 0.8 * at[1]))])
    holes = discs(3.2, bolt_circle(lugs, outer + 3))
    solid = slab(body - inner - holes, width)
    if draw.has("closed_back"):
        back = draw.dimension("back", 1.8, 4)
        return solid + slab(disc(outer - 1) - disc(0.25 * diameter), back)
    return solid
