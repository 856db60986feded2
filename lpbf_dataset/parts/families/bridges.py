"""Bridges and cantilever combs: the shapes that distortion is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.parts.solids import disc, polygon, rectangle, slab, union, wall_xz

if TYPE_CHECKING:
    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw


def bridge(draw: Draw) -> Manifold:
    """Draw a bridge on legs, an arch, a twin cantilever or a viaduct of two storeys."""
    kinds = {"legs": _legs, "arch": _arch, "twin_cantilever": _twin_cantilever, "viaduct": _viaduct}
    return kinds[draw.choice("kind", *kinds)](draw)


def _legs(draw: Draw) -> Manifold:
    """Build a beam on legs of three widths, in the manner of the NIST AMB2018-01 bridge."""
    length, depth = draw.dimension("length", 50, 60), draw.dimension("depth", 4, 14)
    height, beam = draw.dimension("height", 9, 24), draw.dimension("beam", 3, 7)
    bays = draw.count("bays", 2, 4)
    thick, thin = draw.dimension("thick_leg", 3, 5), draw.dimension("thin_leg", 1.3, 2.5)
    bay = (length - thick) / bays
    solids = [slab(rectangle(length, depth), beam, height - beam)]
    # Legs reach into the beam, so that their tops do not merely touch it.
    rise = height - beam / 2
    for k in range(bays + 1):
        solids.append(slab(rectangle(thick, depth, at=(k * bay - (length - thick) / 2, 0)), rise))
        if k < bays:
            solids.append(slab(rectangle(thin, depth, at=((k + 0.5) * bay - (length - thick) / 2, 0)), rise))
    if draw.has("ridges"):
        for k in range(2 * bays + 1):
            at = (k * bay / 2 - (length - thick) / 2, 0.0)
            solids.append(slab(rectangle(1.4, depth, at=at), beam / 2 + 1.5, height - beam / 2))
    return union(solids)


def _arch(draw: Draw) -> Manifold:
    """Build a deck over one or two elliptical arches."""
    length, depth = draw.dimension("length", 48, 60), draw.dimension("depth", 8, 30)
    height, crown = draw.dimension("height", 14, 36), draw.dimension("crown", 2, 5)
    pier, spans = draw.dimension("pier", 3, 7), draw.count("spans", 1, 3)
    span = (length - (spans + 1) * pier) / spans
    outline = rectangle(length, height, at=(0, height / 2))
    for k in range(spans):
        centre = -length / 2 + pier + span / 2 + k * (span + pier)
        rise = height - crown
        outline -= disc(1.0).scale((span, 2 * rise)).translate((centre, 0))
    solid = wall_xz(outline, depth)
    if draw.has("parapets"):
        wall = draw.dimension("parapet", 1.4, 2.4)
        rail = rectangle(length, height + 4, at=(0, (height + 4) / 2)) ^ rectangle(length, 7, at=(0, height))
        solid += wall_xz(rail, wall, depth / 2 - wall / 2) + wall_xz(rail, wall, wall / 2 - depth / 2)
    return solid


def _twin_cantilever(draw: Draw) -> Manifold:
    """Build a middle column with two arms on thin teeth, which spring up when the teeth are cut."""
    length, depth = draw.dimension("length", 52, 60), draw.dimension("depth", 6, 16)
    height, beam = draw.dimension("height", 8, 15), draw.dimension("beam", 2.4, 4)
    column, tooth = draw.dimension("column", 5, 10), draw.dimension("tooth", 1.3, 1.8)
    count = draw.count("teeth_per_arm", 4, 7)
    outline = rectangle(length, beam, at=(0, height - beam / 2)) + rectangle(
        column, height, at=(0, height / 2)
    )
    for at in np.linspace(column / 2 + 3.5, length / 2 - tooth / 2, count):
        for side in (-1, 1):
            outline += rectangle(tooth, height - beam / 2, at=(side * float(at), (height - beam / 2) / 2))
    return wall_xz(outline, depth)


def _viaduct(draw: Draw) -> Manifold:
    """Two storeys of openings with slanted outer legs."""
    length, depth = draw.dimension("length", 44, 60), draw.dimension("depth", 6, 18)
    height, deck = draw.dimension("height", 26, 46), draw.dimension("deck", 2.5, 4)
    slant, leg = draw.dimension("slant", 0, 9), draw.dimension("leg", 2.2, 4.5)
    count = draw.count("openings", 2, 3)
    top = length / 2 - slant
    outline = polygon([(-length / 2, 0), (length / 2, 0), (top, height), (-top, height)])
    middle = draw.dimension("middle_storey", 0.4, 0.6) * height
    for floor, ceiling in ((-1.0, middle - deck), (middle, height - deck)):
        # The narrowest level of the storey decides how wide its openings may be.
        inner = length - 2 * slant * ceiling / height - 2 * leg
        width = (inner - (count - 1) * leg) / count
        for k in range(count):
            centre = -inner / 2 + width / 2 + k * (width + leg)
            outline -= rectangle(
                width, ceiling - floor, min(width, ceiling - floor) * 0.15, at=(centre, (ceiling + floor) / 2)
            )
            # Rounded corners below the plate would leave a thin lip.
            if floor < 0:
                outline -= rectangle(width, ceiling * 0.6, at=(centre, ceiling * 0.3))
    return wall_xz(outline, depth)
