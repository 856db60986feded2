import csv
import pickle

import numpy as np
import pytest
import trimesh

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.part_files import discover_parts, read_part
from lpbf_dataset.sources.part_files.surface import MAX_FILLED_FRACTION, open_edge_count


def failure(path, **arguments):
    with pytest.raises(CaseError) as caught:
        read_part(path, **arguments)
    assert str(path) in caught.value.detail
    return caught.value


def one_warning(part, text):
    assert len(part.warnings) == 1, part.warnings
    assert text in part.warnings[0]


@pytest.mark.parametrize("folder", ["fusion360", "open"])
def test_every_real_part_is_read_with_its_known_volume(shared_data, folder):
    place = shared_data / "geometry" / folder
    with (place / "MANIFEST.csv").open() as file:
        known = {row["name"]: row for row in csv.DictReader(file)}
    parts = discover_parts(place)
    assert {part.name for part in parts} == set(known)
    warned = set()
    for reference in parts:
        part = reference.read()
        row = known[reference.name]
        assert open_edge_count(part.mesh) == 0
        assert part.mesh.volume == pytest.approx(float(row["volume_mm3"]), rel=1e-4)
        edges = [float(row[f"bbox_{axis}_mm"]) for axis in "xyz"]
        np.testing.assert_allclose(part.mesh.extents, edges, atol=1e-3)
        assert all("intersects itself" in warning for warning in part.warnings)
        if part.warnings:
            warned.add(part.name)
    assert warned == ({"132907_4ed3eae8_0"} if folder == "fusion360" else {"Spiral_lattice_cone_1"})


def test_names_of_gallery_bodies_lead_to_their_design(shared_data):
    parts = discover_parts(shared_data / "geometry" / "fusion360")
    designs = {part.name: part.design_id for part in parts}
    assert designs["35419_aa5ab53d__1588b8de"] == designs["35419_aa5ab53d__158c61dc"] == "35419_aa5ab53d"
    assert designs["21242_6c2af7c2_7"] == "21242_6c2af7c2"


def test_a_missing_triangle_is_filled_with_a_warning(save):
    sphere = trimesh.creation.icosphere(2, radius=10)
    open_sphere = trimesh.Trimesh(sphere.vertices, sphere.faces[1:], process=False)
    part = read_part(save(open_sphere))
    one_warning(part, "filled holes with 1 triangles")
    assert part.mesh.is_watertight
    assert part.mesh.volume == pytest.approx(sphere.volume, rel=1e-6)


def test_a_missing_wall_is_not_invented(box, save, sheet):
    without_lid = trimesh.Trimesh(box.vertices, box.faces[box.face_normals[:, 2] < 0.5], process=False)
    error = failure(save(without_lid))
    assert error.reason == FailureReason.OPEN_SURFACE
    assert "closing it would add" in error.detail
    assert failure(save(sheet)).reason == FailureReason.OPEN_SURFACE
    assert MAX_FILLED_FRACTION < 1 / 6


def test_vertices_that_nearly_coincide_are_merged_with_a_warning(box, save):
    rng = np.random.default_rng(0)
    corners = box.triangles.reshape(-1, 3) + rng.uniform(-2e-6, 2e-6, (36, 3))
    torn = trimesh.Trimesh(corners, np.arange(36).reshape(12, 3), process=False)
    part = read_part(save(torn))
    one_warning(part, "merged")
    assert part.mesh.is_watertight
    assert part.mesh.volume == pytest.approx(1000, rel=1e-4)


def test_doubled_triangles_are_dropped_with_a_warning(box, save):
    doubled = trimesh.Trimesh(box.vertices, np.concatenate([box.faces, box.faces[:1]]), process=False)
    part = read_part(save(doubled))
    one_warning(part, "dropped 1 triangles")
    assert part.mesh.is_watertight


def test_an_inverted_surface_is_turned_with_a_warning(box, save):
    box.invert()
    part = read_part(save(box))
    one_warning(part, "turned the surface inside out")
    assert part.mesh.volume == pytest.approx(1000)


def test_mixed_winding_is_made_consistent_with_a_warning(save):
    sphere = trimesh.creation.icosphere(2, radius=10)
    faces = sphere.faces.copy()
    faces[::3] = faces[::3, ::-1]
    part = read_part(save(trimesh.Trimesh(sphere.vertices, faces, process=False)))
    one_warning(part, "wound against their neighbours")
    assert part.mesh.volume == pytest.approx(sphere.volume, rel=1e-6)


def test_several_bodies_are_kept_with_a_warning(box, save):
    two = trimesh.util.concatenate([box, box.copy().apply_translation((30, 0, 0))])
    part = read_part(save(two))
    one_warning(part, "2 bodies")
    assert part.mesh.volume == pytest.approx(2000)


def test_one_inverted_body_of_two_is_turned(box, save):
    other = box.copy().apply_translation((30, 0, 0)).apply_scale(0.9)
    other.invert()
    part = read_part(save(trimesh.util.concatenate([box, other])))
    assert any("turned 1 of its bodies" in warning for warning in part.warnings)
    assert part.mesh.volume == pytest.approx(1000 * (1 + 0.9**3))


def test_a_closed_cavity_stays_a_cavity(save):
    shell, cavity = trimesh.creation.box((20, 20, 20)), trimesh.creation.box((10, 10, 10))
    cavity.invert()
    part = read_part(save(trimesh.util.concatenate([shell, cavity])))
    assert part.warnings == []
    assert part.mesh.volume == pytest.approx(7000)


def test_overlapping_bodies_are_fused_with_a_warning(box, save):
    pytest.importorskip("manifold3d", reason="needs the extra 'solver'")
    two = trimesh.util.concatenate([box, box.copy().apply_translation((7, 3, 1))])
    part = read_part(save(two))
    assert part.mesh.body_count == 1
    assert part.mesh.volume == pytest.approx(2000 - 13 * 7 * 4)
    assert "overlapping bodies were fused" in part.warnings[-1]


def test_a_surface_that_crosses_itself_is_kept_with_a_warning(save):
    # A closed bar bent back through itself.
    path = np.array([(0, 0), (30, 0), (30, 20), (10, 20), (10, -20)], dtype=float)
    side = np.array([(-1, 1), (-1, 1), (-1, -1), (1, -1), (1, -1)], dtype=float)
    left, right = path + side, path - side
    rings = [[(*a, 0), (*b, 0), (*b, 4), (*a, 4)] for a, b in zip(left, right, strict=True)]
    vertices = np.reshape(rings, (-1, 3)).astype(float)
    faces = []
    for k in range(len(path) - 1):
        for c in range(4):
            a, b = 4 * k + c, 4 * k + (c + 1) % 4
            faces += [(a, b, a + 4), (b, b + 4, a + 4)]
    last = 4 * (len(path) - 1)
    faces += [(0, 2, 1), (0, 3, 2), (last, last + 1, last + 2), (last, last + 2, last + 3)]
    crossing = trimesh.Trimesh(vertices, faces, process=False)
    part = read_part(save(crossing))
    assert "intersects itself" in part.warnings[-1]
    assert part.mesh.is_watertight


def test_bodies_that_share_an_edge_are_closed_all_the_same(box, save):
    touching = trimesh.util.concatenate([box, box.copy().apply_translation((20, 10, 0))])
    part = read_part(save(touching))
    assert part.mesh.volume == pytest.approx(2000)
    assert any("more than two triangles" in warning for warning in part.warnings)


@pytest.mark.parametrize(
    ("factor", "name"),
    [(1e-3, "metres"), (1e3, "micrometres"), (60e-3 / 20, "metres"), (60e3 / 20, "micrometres")],
)
def test_sizes_off_by_a_thousand_are_corrected_with_a_warning(box, save, factor, name):
    part = read_part(save(box.copy().apply_scale(factor)))
    one_warning(part, name)
    expected = 20 * factor * (1e3 if name == "metres" else 1e-3)
    assert part.mesh.extents.max() == pytest.approx(expected, rel=1e-5)


def test_a_stated_unit_is_not_second_guessed(box, save):
    file = save(box)
    assert read_part(file, unit="inch").mesh.extents.max() == pytest.approx(508)
    assert read_part(file, unit="micrometre").mesh.extents.max() == pytest.approx(0.02)
    assert read_part(file, unit="inch").warnings == []
    with pytest.raises(ValueError, match="furlong"):
        read_part(file, unit="furlong")


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_sizes_of_no_unit_fail(box, save, size):
    assert failure(save(box.copy().apply_scale(size))).reason == FailureReason.IMPLAUSIBLE_SIZE


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy", "ignore::RuntimeWarning:trimesh")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_fail(box, save, value):
    box = trimesh.Trimesh(box.vertices, box.faces, process=False)
    box.vertices[3, 1] = value
    assert failure(save(box)).reason == FailureReason.MALFORMED_FILE


def test_parts_without_volume_fail(box, save, sheet):
    flat = trimesh.Trimesh(box.vertices * (1, 1, 0), box.faces, process=False)
    assert failure(save(flat)).reason == FailureReason.ZERO_VOLUME
    back_to_back = trimesh.Trimesh(
        sheet.vertices, np.concatenate([sheet.faces, sheet.faces[:, ::-1]]), process=False
    )
    assert failure(save(back_to_back)).reason == FailureReason.ZERO_VOLUME
    point = trimesh.Trimesh(np.zeros((3, 3)), [(0, 1, 2)], process=False)
    assert failure(save(point)).reason == FailureReason.ZERO_VOLUME


def test_no_triangles_fail(save):
    empty = trimesh.Trimesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=int), process=False)
    assert failure(save(empty)).reason == FailureReason.EMPTY_GEOMETRY


def test_dust_of_bodies_is_refused(save):
    cube = trimesh.creation.box((1, 1, 1))
    places = np.stack(np.meshgrid(*[np.arange(11) * 3.0] * 3), axis=-1).reshape(-1, 1, 3)
    vertices = (cube.vertices + places).reshape(-1, 3)
    faces = (cube.faces + len(cube.vertices) * np.arange(len(places))[:, None, None]).reshape(-1, 3)
    dust = trimesh.Trimesh(vertices, faces, process=False)
    assert failure(save(dust)).reason == FailureReason.TOO_MANY_BODIES


def test_a_surface_of_loose_triangles_is_refused(save):
    soup = np.random.default_rng(0).uniform(0, 50, (12_000, 3))
    loose = trimesh.Trimesh(soup, np.arange(12_000).reshape(-1, 3), process=False)
    assert failure(save(loose)).reason == FailureReason.OPEN_SURFACE


def test_failures_cross_a_process_boundary(tmp_path):
    error = failure(tmp_path / "none.stl")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
