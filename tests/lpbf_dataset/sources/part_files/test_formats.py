import contextlib
import sys
import tracemalloc

import numpy as np
import pytest
import trimesh

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.part_files import formats, read_part

CUBE_OBJ = """mtllib /etc/passwd
usemtl steel
v 0 0 0
v 10 0 0
v 10 10 0
v 0 10 0
v 0 0 10
v 10 0 10
v 10 10 10
v 0 10 10
g face 1
f 4 3 2 1
f 5 6 7 8
g face 2
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""


def step_box(size):
    """STEP file (ISO 10303-21) of a cube, as a faceted solid, lengths in mm."""
    entities = []

    def add(text):
        entities.append(f"#{len(entities) + 1}={text};")
        return f"#{len(entities)}"

    def triple(kind, values):
        return add(f"{kind}('',({','.join(str(float(value)) for value in values)}))")

    context = add("APPLICATION_CONTEXT('mechanical design')")
    product_context = add(f"PRODUCT_CONTEXT('',{context},'mechanical')")
    product = add(f"PRODUCT('box','box','',({product_context}))")
    formation = add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    design_context = add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{context},'design')")
    definition = add(f"PRODUCT_DEFINITION('design','',{formation},{design_context})")
    shape = add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    length = add("(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.))")
    angle = add("(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))")
    solid_angle = add("(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
    accuracy = add(
        f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-07),{length},'distance_accuracy_value','')"
    )
    units = add(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3)GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({accuracy}))"
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid_angle}))REPRESENTATION_CONTEXT('',''))"
    )
    corners = [triple("CARTESIAN_POINT", [size * (k >> axis & 1) for axis in range(3)]) for k in range(8)]
    faces = []
    for loop, normal, along in [
        ((0, 2, 3, 1), (0, 0, -1), (1, 0, 0)),
        ((4, 5, 7, 6), (0, 0, 1), (1, 0, 0)),
        ((0, 1, 5, 4), (0, -1, 0), (1, 0, 0)),
        ((2, 6, 7, 3), (0, 1, 0), (1, 0, 0)),
        ((0, 4, 6, 2), (-1, 0, 0), (0, 1, 0)),
        ((1, 3, 7, 5), (1, 0, 0), (0, 1, 0)),
    ]:
        polyline = add("POLY_LOOP('',(" + ",".join(corners[k] for k in loop) + "))")
        bound = add(f"FACE_OUTER_BOUND('',{polyline},.T.)")
        axes = f"{corners[loop[0]]},{triple('DIRECTION', normal)},{triple('DIRECTION', along)}"
        placement = add(f"AXIS2_PLACEMENT_3D('',{axes})")
        plane = add(f"PLANE('',{placement})")
        faces.append(add(f"FACE_SURFACE('',({bound}),{plane},.T.)"))
    shell = add(f"CLOSED_SHELL('',({','.join(faces)}))")
    brep = add(f"FACETED_BREP('',{shell})")
    representation = add(f"FACETED_BREP_SHAPE_REPRESENTATION('',({brep}),{units})")
    add(f"SHAPE_DEFINITION_REPRESENTATION({shape},{representation})")
    header = (
        "FILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\n"
        "FILE_SCHEMA(('AUTOMOTIVE_DESIGN'));"
    )
    return (
        f"ISO-10303-21;\nHEADER;\n{header}\nENDSEC;\nDATA;\n"
        + "\n".join(entities)
        + "\nENDSEC;\nEND-ISO-10303-21;\n"
    )


def failure(path):
    with pytest.raises(CaseError) as caught:
        read_part(path)
    assert str(path) in caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("name", ["part.stl", "part.STL", "part.ply", "part.obj"])
def test_mesh_formats_hold_the_same_box(box, tmp_path, name):
    file = tmp_path / name
    box.export(file)
    part = read_part(file)
    assert part.name == "part"
    assert part.warnings == []
    assert part.mesh.is_watertight
    np.testing.assert_allclose(part.mesh.bounds, box.bounds)


@pytest.mark.parametrize(
    "encode",
    [trimesh.exchange.stl.export_stl_ascii, lambda mesh: trimesh.exchange.ply.export_ply(mesh, "ascii")],
)
def test_ascii_formats(box, tmp_path, encode):
    text = encode(box)
    file = tmp_path / ("part.stl" if isinstance(text, str) else "part.ply")
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    assert read_part(file).mesh.volume == pytest.approx(1000)


def test_several_ascii_solids_are_one_part(box, tmp_path):
    text = trimesh.exchange.stl.export_stl_ascii
    file = tmp_path / "part.stl"
    file.write_text(text(box) + "\n" + text(box.copy().apply_translation((40, 0, 0))))
    part = read_part(file)
    assert part.mesh.volume == pytest.approx(2000)
    assert any("2 bodies" in warning for warning in part.warnings)


def test_obj_quads_are_read_and_its_material_file_is_not(tmp_path):
    file = tmp_path / "part.obj"
    file.write_text(CUBE_OBJ)
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
    part = read_part(file)
    assert part.mesh.volume == pytest.approx(1000)
    assert "/etc/passwd" not in map(str, opened)
    assert str(file) in map(str, opened)


def test_binary_stl_may_begin_like_a_text(box, save):
    file = save(box)
    contents = file.read_bytes()
    file.write_bytes(b"solid box".ljust(80) + contents[80:])
    assert read_part(file).mesh.volume == pytest.approx(1000)


def test_surplus_bytes_are_reported(box, save):
    file = save(box)
    file.write_bytes(file.read_bytes() + b"\0" * 7)
    assert read_part(file).warnings == ["ignored 7 bytes after the last triangle"]


@pytest.mark.parametrize("keep", [0, 50, 84, 300])
def test_stl_cut_short(box, save, keep):
    file = save(box)
    file.write_bytes(file.read_bytes()[:keep])
    expected = FailureReason.MALFORMED_FILE if keep < 84 else FailureReason.TRUNCATED_FILE
    assert failure(file).reason == expected


def test_ascii_stl_cut_short(box, tmp_path):
    file = tmp_path / "part.stl"
    file.write_text(trimesh.exchange.stl.export_stl_ascii(box)[:-40])
    assert failure(file).reason == FailureReason.TRUNCATED_FILE


PLY = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
PLY_FACES = "element face {}\nproperty list uchar int vertex_indices\nend_header\n"


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("count", [10**12, 2**64, -1])
def test_ply_with_giant_counts_takes_no_memory(tmp_path, encoding, count):
    file = tmp_path / "part.ply"
    file.write_text(PLY.format(encoding, count) + PLY_FACES.format(count) + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    tracemalloc.start()
    failure(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_ply_with_a_giant_list_takes_no_memory(tmp_path):
    header = (PLY.format("binary_little_endian", 1) + PLY_FACES.format(1)).replace("uchar", "uint")
    file = tmp_path / "part.ply"
    file.write_bytes(header.encode() + b"\0" * 12 + b"\xff" * 4 + b"\0" * 40)
    assert failure(file).reason == FailureReason.MALFORMED_FILE


def test_text_of_empty_lines_is_refused(tmp_path):
    for name, start in (("part.obj", ""), ("part.ply", PLY.format("ascii", 9) + PLY_FACES.format(9))):
        file = tmp_path / name
        file.write_text(start + "\n" * 100_000)
        assert "empty lines" in failure(file).detail


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("part.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"),
        ("part.obj", "v 0 0 0\nv 1 x 0\nv 0 1 0\nf 1 2 3\n"),
        ("part.obj", "nothing here\n"),
        ("part.obj", ""),
        ("part.ply", "no ply"),
        ("part.ply", "ply\n"),
        ("part.ply", "ply\nformat ascii 1.0\nend_header\n"),
        ("part.ply", PLY.format("ascii", 3) + PLY_FACES.format(1) + "0 0 0\n1 0 zero\n0 1 0\n3 0 1 2\n"),
        ("part.ply", PLY.format("ascii", 3) + PLY_FACES.format(1) + "0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n"),
        ("part.stl", "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 x\nendloop\nendfacet\nendsolid\n"),
        ("part.stl", "solid a\nendsolid a\n"),
        ("part.stl", "hello"),
    ],
)
def test_nonsense_fails_for_this_part_alone(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert failure(file).reason in {FailureReason.MALFORMED_FILE, FailureReason.EMPTY_GEOMETRY}


@pytest.mark.parametrize("suffix", [".stl", ".obj", ".ply", ".3mf"])
def test_random_bytes_fail_with_a_typed_reason(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for size in (0, 1, 83, 84, 200, 5000):
        file = tmp_path / f"part{suffix}"
        file.write_bytes(rng.bytes(size))
        failure(file)


def test_mutated_files_fail_with_a_typed_reason_or_are_read(box, tmp_path):
    rng = np.random.default_rng(1)
    for suffix in ("stl", "ply", "obj"):
        contents = box.export(file_type=suffix)
        contents = contents.encode() if isinstance(contents, str) else contents
        for _ in range(60):
            mutated = bytearray(contents)
            for place in rng.integers(len(mutated), size=3):
                mutated[place] = rng.integers(256)
            file = tmp_path / f"part.{suffix}"
            file.write_bytes(mutated)
            with contextlib.suppress(CaseError):
                read_part(file)


def test_files_beyond_the_limit_are_refused(box, save, monkeypatch):
    file = save(box)
    monkeypatch.setattr(formats, "MAX_FILE_BYTES", 100)
    assert failure(file).reason == FailureReason.TOO_LARGE


def test_text_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "part.obj"
    file.write_text(CUBE_OBJ)
    monkeypatch.setattr(formats, "MAX_TEXT_BYTES", 100)
    assert "binary" in failure(file).detail


def test_missing_and_foreign_files(tmp_path):
    assert failure(tmp_path / "none.stl").reason == FailureReason.MISSING_FILE
    foreign = tmp_path / "part.dxf"
    foreign.touch()
    assert failure(foreign).reason == FailureReason.UNSUPPORTED_FORMAT


def test_step_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cascadio", None)
    file = tmp_path / "part.step"
    file.write_text(step_box(20.0))
    error = failure(file)
    assert error.reason == FailureReason.UNSUPPORTED_FORMAT
    assert "extra 'step'" in error.detail


def test_step_is_read_in_millimetres(tmp_path):
    pytest.importorskip("cascadio", reason="needs the extra 'step'")
    for suffix in ("step", "STP"):
        file = tmp_path / f"part.{suffix}"
        file.write_text(step_box(20.0))
        part = read_part(file)
        np.testing.assert_allclose(part.mesh.extents, 20, rtol=1e-6)
        assert part.warnings == []
    file.write_text("no STEP")
    assert failure(file).reason == FailureReason.MALFORMED_FILE
