import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lpbf_dataset.parts import FAMILIES, generate_part, generate_parts
from lpbf_dataset.sources.base import parent_design
from lpbf_dataset.sources.part_files import read_part

VOXEL_MM = 0.6


def voxels(mesh, edge):
    """Cells whose centre is inside, by the parity of crossings of the surface above it."""
    low, high = mesh.bounds
    # A hair off the grid, so that no ray runs along an edge.
    starts = low + edge / 2 + 1e-5 * np.array([1.0, 1.7, 2.3])
    x, y, z = (np.arange(start, stop, edge) for start, stop in zip(starts, high, strict=True))
    crossings = np.zeros((len(x), len(y), len(z) + 1), dtype=np.int64)
    for triangle in mesh.triangles:
        i = slice(*np.searchsorted(x, (triangle[:, 0].min(), triangle[:, 0].max())))
        j = slice(*np.searchsorted(y, (triangle[:, 1].min(), triangle[:, 1].max())))
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = triangle
        doubled = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if i.start == i.stop or j.start == j.stop or doubled == 0:
            continue
        px, py = np.meshgrid(x[i], y[j], indexing="ij")
        u = ((px - ax) * (cy - ay) - (cx - ax) * (py - ay)) / doubled
        v = ((bx - ax) * (py - ay) - (px - ax) * (by - ay)) / doubled
        hit_i, hit_j = np.nonzero((u >= 0) & (v >= 0) & (u + v <= 1))
        height = az + u[hit_i, hit_j] * (bz - az) + v[hit_i, hit_j] * (cz - az)
        np.add.at(crossings, (hit_i + i.start, hit_j + j.start, np.searchsorted(z, height)), 1)
    return np.cumsum(crossings, axis=2)[:, :, :-1] % 2 == 1


def fingerprint(part):
    digest = hashlib.sha256(part.mesh.vertices.tobytes())
    digest.update(part.mesh.faces.tobytes())
    return f"{part.name} {digest.hexdigest()}"


def check_stands_closed_in_its_envelope(part):
    mesh = part.mesh
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.body_count == 1
    assert mesh.volume > 0.02 * mesh.extents.prod()
    assert mesh.extents.max() == pytest.approx(60)
    np.testing.assert_allclose(mesh.bounds[:, :2].sum(axis=0), 0, atol=1e-9)
    assert mesh.bounds[0, 2] == 0
    # The families keep to their nominal size, so scaling never thins a wall.
    assert part.parameters["scale"] >= 1 - 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**63))
def test_any_part_of_any_seed_stands_closed_in_its_envelope(index, seed):
    check_stands_closed_in_its_envelope(generate_part(index, seed))


def test_every_kind_of_every_family_stands_closed_in_its_envelope():
    kinds = {family: set() for family in FAMILIES}
    for part in generate_parts(200, seed=1):
        check_stands_closed_in_its_envelope(part)
        kinds[part.family].add(part.parameters.get("kind"))
    expected = {"bracket": 4, "bridge": 4, "flange": 5, "gear": 4, "lattice": 3, "overhang": 5, "ring": 5}
    assert {family: len(found) for family, found in kinds.items()} == expected | {"thin_wall": 5}


@pytest.mark.parametrize("index", range(48))
def test_voxels_hold_together_and_rest_on_the_plate(index):
    mesh = generate_part(index, seed=11).mesh
    solid = voxels(mesh, VOXEL_MM)
    labels, count = ndimage.label(solid)
    sizes = np.bincount(labels.ravel())[1:]
    assert count == 1, f"islands of {sorted(sizes)[:-1]} voxels"
    assert solid[:, :, 0].any()
    assert solid.sum() * VOXEL_MM**3 == pytest.approx(mesh.volume, rel=0.1)


def test_a_part_is_the_same_whatever_the_count_and_alone():
    few, many = list(generate_parts(5, seed=4)), list(itertools.islice(generate_parts(10**6, seed=4), 9))
    alone = [generate_part(k, seed=4) for k in range(9)]
    assert [fingerprint(part) for part in many] == [fingerprint(part) for part in alone]
    assert [fingerprint(part) for part in few] == [fingerprint(part) for part in many[:5]]
    assert few[2].parameters == many[2].parameters


def test_parts_are_equal_bit_for_bit_in_another_process():
    program = (
        "import hashlib\nfrom lpbf_dataset.parts import generate_parts\n"
        "for part in generate_parts(16, seed=9):\n"
        "    digest = hashlib.sha256(part.mesh.vertices.tobytes())\n"
        "    digest.update(part.mesh.faces.tobytes())\n"
        "    print(part.name, digest.hexdigest())\n"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout.splitlines() == [fingerprint(part) for part in generate_parts(16, seed=9)]


def test_seeds_give_different_parts():
    assert len({fingerprint(generate_part(3, seed)).split()[1] for seed in range(5)}) == 5


def test_names_lead_to_the_design_and_one_part_in_three_has_a_sibling():
    parts = list(generate_parts(40, seed=2))
    assert len({part.name for part in parts}) == 40
    assert all(parent_design(part.name) == part.design_id for part in parts)
    assert all(part.name == f"{part.design_id}_{part.name[-1]}" for part in parts)
    designs = [part.design_id for part in parts]
    assert sum(designs.count(design) > 1 for design in designs) == 14
    assert len(set(designs)) == 32


def test_eight_designs_in_a_row_hold_every_family():
    families = {part.design_id: part.family for part in generate_parts(20, seed=6)}
    assert sorted(list(families.values())[:8]) == sorted(FAMILIES)
    assert sorted(list(families.values())[8:16]) == sorted(FAMILIES)


def test_siblings_share_features_and_differ_in_dimensions():
    for _, bodies in itertools.groupby(generate_parts(40, seed=8), key=lambda part: part.design_id):
        parent, *siblings = bodies
        for sibling in siblings:
            assert sibling.parameters.keys() == parent.parameters.keys()
            for name, value in parent.parameters.items():
                if not isinstance(value, float):
                    assert sibling.parameters[name] == value, name
            assert sibling.parameters != parent.parameters


def test_longest_edge_is_drawn_between_the_limits():
    edges = [part.mesh.extents.max() for part in generate_parts(12, seed=0, longest_edge_mm=(20.0, 40.0))]
    assert 20 <= min(edges) < max(edges) <= 40
    assert len({round(edge, 6) for edge in edges}) == 12


def test_written_as_stl_a_part_comes_back_without_a_warning(tmp_path):
    for part in generate_parts(24, seed=5):
        file = tmp_path / f"{part.name}.stl"
        part.mesh.export(file)
        back = read_part(file)
        assert back.warnings == [], part.name
        assert back.design_id == part.design_id
        assert back.mesh.volume == pytest.approx(part.mesh.volume, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": -1}, "must not be negative"),
        ({"index": 0, "seed": -1}, "must not be negative"),
        ({"index": 0, "longest_edge_mm": (30.0, 20.0)}, "the smaller first"),
        ({"index": 0, "longest_edge_mm": (0.0, 20.0)}, "positive"),
        ({"index": 0, "longest_edge_mm": (float("nan"), 20.0)}, "positive"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_part(**arguments)
