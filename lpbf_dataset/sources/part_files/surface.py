"""Making a surface fit to be filled with voxels: closed, outward-oriented, and saying what was done.

Every edge of a closed surface belongs to an even number of triangles.  More than two is odd CAD, not
a gap: what is inside is still defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import trimesh

from lpbf_dataset.mesh.self_intersection import piercing_triangles
from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WELD_FRACTION = 1e-5
"""Vertices this close, as a fraction of the longest edge, are one: 0.6 micrometres at 60 mm, far above the
rounding of single precision and far below a layer."""

MAX_FILLED_FRACTION = 0.05
"""Largest share of the surface that may be closed by filling; more is a missing wall, not a gap."""

MAX_OPEN_EDGES = 10_000
"""Finding the loops of gaps takes time that grows faster than their number."""

MAX_BODIES = 1000
"""Bodies of one file; a plate of calibration pins may have hundreds."""

MIN_VOLUME_FRACTION = 1e-6
"""Least volume, as a fraction of the cube on the longest edge."""

MAX_TESTED_TRIANGLES = 300_000
"""Finer surfaces are not tested for self-intersection, which takes a second per 50 000 triangles."""


def mend(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, list[str]]:
    """Close and orient a surface.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        Any triangles, in any unit.

    Returns
    -------
    mesh : trimesh.Trimesh
        A closed surface with vertices merged, outward-oriented.  It may intersect itself, which a
        warning says; fill it by winding number then, not by parity.
    warnings : list of str
        What was odd, and what was done about it.

    Raises
    ------
    CaseError
        If there are no triangles, coordinates are not finite, the surface stays open, or it encloses
        no volume.
    """
    if not len(mesh.faces):
        raise CaseError(FailureReason.EMPTY_GEOMETRY, "holds no triangles")
    used = mesh.vertices[mesh.faces]
    if not np.isfinite(used).all():
        raise CaseError(FailureReason.MALFORMED_FILE, "has coordinates that are not finite numbers")
    mesh = _merged(mesh)
    if not len(mesh.faces) or mesh.extents.min() <= 0:
        raise CaseError(FailureReason.ZERO_VOLUME, "is flat, it has no volume")
    mesh, warnings = _closed(mesh)
    warnings += _orient(mesh)
    # Lengths relative to the longest edge: the cube of a size in the wrong unit could overflow.
    if abs(enclosed_volume(mesh) / mesh.extents.max() ** 3) < MIN_VOLUME_FRACTION:
        raise CaseError(FailureReason.ZERO_VOLUME, "encloses no volume")
    mesh, more = _separated(mesh)
    return mesh, warnings + more


def enclosed_volume(mesh: trimesh.Trimesh) -> float:
    """Signed volume by the divergence theorem; unlike that of trimesh it may be zero."""
    first, second, third = np.moveaxis(mesh.triangles - mesh.bounds.mean(axis=0), 1, 0)
    return float(np.einsum("ij,ij->", first, np.cross(second, third)) / 6)


def open_edge_count(mesh: trimesh.Trimesh) -> int:
    """Count the edges at which the surface has a gap: those of an odd number of triangles."""
    first, second = mesh.edges_sorted.astype(np.int64).T
    _, counts = np.unique(first * len(mesh.vertices) + second, return_counts=True)
    return int((counts % 2 == 1).sum())


def _merged(mesh: trimesh.Trimesh, distance: float = 0.0) -> trimesh.Trimesh:
    """Merge vertices that are equal, or equal when rounded, and drop triangles that collapse."""
    points = mesh.vertices
    keys = np.round(points / distance) if distance > 0 else points
    # Adding zero turns -0.0 into 0.0, which `unique` would keep apart.
    _, first, inverse = np.unique(keys + 0.0, axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[mesh.faces]
    collapsed = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    merged = trimesh.Trimesh(points[first], faces[~collapsed], process=False)
    merged.remove_unreferenced_vertices()
    return merged


def _closed(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, list[str]]:
    warnings: list[str] = []
    for remedy in (_weld, _drop_duplicates, _fill_holes):
        gaps = open_edge_count(mesh)
        if not gaps:
            break
        mended, what_was_done = remedy(mesh)
        # A surface that vanishes altogether has no gaps either.
        if len(mended.faces) and open_edge_count(mended) < gaps:
            mesh = mended
            warnings.append(what_was_done)
    if gaps := open_edge_count(mesh):
        raise CaseError(
            FailureReason.OPEN_SURFACE,
            f"the surface is open at {gaps} of {len(mesh.edges_unique)} edges and could not be closed; "
            "repair it in the CAD program",
        )
    if not mesh.is_watertight:
        warnings.append("some edges belong to more than two triangles; kept as they are")
    return mesh, warnings


def _weld(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, str]:
    welded = _merged(mesh, WELD_FRACTION * mesh.extents.max())
    count = len(mesh.vertices) - len(welded.vertices)
    return (
        welded,
        f"merged {count} vertices closer than {WELD_FRACTION:g} of its size to another, to close gaps",
    )


def _drop_duplicates(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, str]:
    keep = mesh.unique_faces()
    single = trimesh.Trimesh(mesh.vertices, mesh.faces[keep], process=False)
    return single, f"dropped {(~keep).sum()} triangles that lay on others"


def _fill_holes(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, str]:
    filled = mesh.copy()
    if open_edge_count(mesh) > MAX_OPEN_EDGES:
        return filled, ""
    trimesh.repair.fill_holes(filled, use_fan=True)
    count = len(filled.faces) - len(mesh.faces)
    share = filled.area_faces[len(mesh.faces) :].sum() / filled.area
    if share > MAX_FILLED_FRACTION:
        raise CaseError(
            FailureReason.OPEN_SURFACE,
            f"the surface is open, and closing it would add {share:.0%} to it; repair it in the CAD program",
        )
    return filled, f"filled holes with {count} triangles, {share:.2%} of the surface"


def _orient(mesh: trimesh.Trimesh) -> list[str]:
    """Turn triangles so that normals point outwards, in place."""
    warnings = []
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_normals(mesh, multibody=True)
        warnings.append("turned triangles that were wound against their neighbours")
    if enclosed_volume(mesh) < 0:
        mesh.invert()
        warnings.append("turned the surface inside out: its normals pointed inwards")
    return warnings


def _separated(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, list[str]]:
    """Count the bodies, turn those that are inside out, and fuse those that overlap."""
    warnings = []
    if mesh.body_count > MAX_BODIES:
        raise CaseError(
            FailureReason.TOO_MANY_BODIES,
            f"consists of {mesh.body_count} bodies; a part has {MAX_BODIES} at most",
        )
    bodies = list(mesh.split(only_watertight=False))
    if inverted := _inverted(bodies):
        for body in inverted:
            body.invert()
        mesh = concatenated(bodies)
        warnings.append(f"turned {len(inverted)} of its bodies inside out: their normals pointed inwards")
    solids = [body for body in bodies if enclosed_volume(body) > 0]
    if len(solids) > 1:
        warnings.append(f"consists of {len(solids)} bodies; all are kept")
    if len(mesh.faces) > MAX_TESTED_TRIANGLES:
        warnings.append(f"not tested for self-intersection: it has {len(mesh.faces)} triangles")
        return mesh, warnings
    piercing = piercing_triangles(mesh.vertices, mesh.faces)
    if not piercing.any():
        return mesh, warnings
    fused = _fused(bodies) if len(solids) == len(bodies) > 1 else None
    if fused is not None and not piercing_triangles(fused.vertices, fused.faces).any():
        return fused, [*warnings, "overlapping bodies were fused into one solid"]
    return mesh, [
        *warnings,
        f"intersects itself at {int(piercing.sum())} triangles; whatever is enclosed is filled",
    ]


def _inverted(bodies: list[trimesh.Trimesh]) -> list[trimesh.Trimesh]:
    """Bodies wound inwards that lie in the bounds of no other, so that they are no cavities."""
    solids = [body.bounds for body in bodies if enclosed_volume(body) > 0]
    return [
        body
        for body in bodies
        if enclosed_volume(body) < 0
        and not any((low <= body.bounds[0]).all() and (body.bounds[1] <= high).all() for low, high in solids)
    ]


def concatenated(bodies: Sequence[trimesh.Trimesh]) -> trimesh.Trimesh:
    """Bodies as one mesh, without their colours and names."""
    offsets = np.cumsum([0, *(len(body.vertices) for body in bodies[:-1])])
    faces = [body.faces + offset for body, offset in zip(bodies, offsets, strict=True)]
    return trimesh.Trimesh(
        np.concatenate([body.vertices for body in bodies]), np.concatenate(faces), process=False
    )


def _fused(bodies: list[trimesh.Trimesh]) -> trimesh.Trimesh | None:
    """Union of closed bodies, or None where manifold3d is missing or refuses one of them."""
    try:
        import manifold3d
    except ImportError:
        return None
    solids = [
        manifold3d.Manifold(
            manifold3d.Mesh64(np.asarray(body.vertices), np.asarray(body.faces, dtype=np.uint64))
        )
        for body in bodies
    ]
    if any(solid.status() != manifold3d.Error.NoError for solid in solids):
        return None
    surface = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add).to_mesh64()
    vertices: NDArray[np.float64] = surface.vert_properties[:, :3]
    return trimesh.Trimesh(vertices, surface.tri_verts, process=False)
