import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from trimesh import triangles

from lpbf_dataset.distortion import compensate, refined
from lpbf_dataset.distortion.surfaces import FLATNESS
from lpbf_dataset.export.surface import write_surface
from lpbf_dataset.mesh import signed_distance
from lpbf_dataset.mesh.self_intersection import piercing_triangles
from lpbf_dataset.parts import ProceduralPart
from lpbf_dataset.sources.part_files import read_part

LONGEST = 3.0
ONE_OF_EACH_FAMILY = (0, 1, 3, 4, 5, 8, 9, 10)
"""A thin wall, a bracket, a bridge, a ring, an overhang, a flange, a gear and a lattice."""


def curl(surface):
    """Shrink and curl up as residual stress does, with a ripple as of voxels."""
    x, y, z = (surface.vertices - surface.bounds.mean(axis=0)).T
    upwards = 0.3 * (x**2 + y**2) / (x**2 + y**2).max() * (1 + 0.01 * z)
    ripple = 0.002 * np.sin(np.floor(surface.vertices / 0.8) @ [12.9898, 78.233, 37.719])
    return np.stack([-0.004 * x + ripple, -0.004 * y - ripple, upwards + ripple], axis=1)


def farthest(points, surface):
    return np.abs(signed_distance(points, surface.vertices, surface.faces)[0]).max()


def sampled(surface, count=3000):
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(surface.faces), count, p=surface.area_faces / surface.area)
    return np.einsum("ij,ijk->ik", rng.dirichlet([1, 1, 1], count), surface.triangles[chosen])


def assert_same_shape(found, nominal):
    assert found.is_watertight
    assert found.is_winding_consistent
    assert found.euler_number == nominal.euler_number
    assert found.body_count == nominal.body_count
    assert abs(found.volume - nominal.volume) <= FLATNESS * nominal.area
    assert found.area == pytest.approx(nominal.area, rel=1e-6)
    assert farthest(sampled(found), nominal) < 1e-3
    assert farthest(sampled(nominal), found) < 1e-3
    assert farthest(nominal.vertices, found) < 1e-3


@pytest.fixture(scope="module", params=ONE_OF_EACH_FAMILY)
def part(request):
    return ProceduralPart(request.param, 0, (30.0, 30.0)).read().mesh


def test_parts_of_all_families_keep_their_shape(part):
    assert_same_shape(refined(part, LONGEST), part)


def test_compensated_parts_are_read_back_without_a_warning(part, tmp_path):
    """No triangle pierces another one in the file, and none is upside down."""
    nominal = refined(part, LONGEST)
    surface = compensate(nominal, curl, evaluations=2).surface
    write_surface(tmp_path / "part.stl", surface)
    read = read_part(tmp_path / "part.stl")
    assert read.mesh.is_watertight
    assert read.warnings == []
    assert not piercing_triangles(surface.vertices, surface.faces).any()
    normals, wanted = triangles.cross(surface.triangles), triangles.cross(nominal.triangles)
    assert (np.einsum("ij,ij->i", normals, wanted) >= 0).all()


@pytest.mark.parametrize("name", ["octagonal_pocket", "featuretype", "round"])
def test_real_parts_keep_their_shape(shared_data, name):
    part = read_part(shared_data / "geometry" / "open" / f"{name}.stl").mesh
    part.apply_scale(60.0 / part.extents.max())
    assert_same_shape(refined(part, LONGEST), part)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_slivers_at_the_edges_of_a_prism_go(seed, sides):
    """Vertices within rounding of the edges, which programs leave where they cut solids."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, sides))
    corners = 10 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    ring = np.stack([corners, middles], axis=1).reshape(-1, 2) + rng.uniform(-1e-9, 1e-9, (2 * sides, 2))
    count = len(ring)
    vertices = np.concatenate([np.column_stack([ring, np.full(count, z)]) for z in (0.0, 5.0)])
    following = np.roll(np.arange(count), -1)
    walls = [
        (k, following[k], following[k] + count) if lower else (k, following[k] + count, k + count)
        for k in range(count)
        for lower in (True, False)
    ]
    fan = np.arange(1, count - 1)
    lids = [(0, k + 1, k) for k in fan] + [(count, count + k, count + k + 1) for k in fan]
    prism = trimesh.Trimesh(vertices, [*walls, *lids], process=False)
    found = refined(prism, 2.0)
    assert found.is_watertight
    assert found.volume == pytest.approx(prism.volume, abs=FLATNESS * prism.area)
    assert triangles.area(found.triangles).min() > 0
    assert np.linalg.norm(np.diff(found.vertices[found.edges_unique], axis=1), axis=2).max() <= 2.0
