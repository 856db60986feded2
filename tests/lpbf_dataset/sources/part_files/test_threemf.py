import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import trimesh

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.part_files import formats, read_part, threemf

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"


def mesh_xml(mesh, identifier=1):
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in mesh.vertices)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces)
    return (
        f'<object id="{identifier}" type="model"><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{triangles}</triangles></mesh></object>"
    )


def model_xml(resources, build, unit='unit="millimeter"', prolog=""):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<model {unit} xmlns="{CORE}" xmlns:p="{PRODUCTION}">'
        f"<resources>{resources}</resources><build>{build}</build></model>"
    )


def write(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(f"3D/{name}.model", text)
    return path


def failure(path):
    with pytest.raises(CaseError) as caught:
        read_part(path)
    assert str(path) in caught.value.detail
    return caught.value


def test_a_box(box, tmp_path):
    file = write(tmp_path / "part.3mf", **{"3dmodel": model_xml(mesh_xml(box), '<item objectid="1"/>')})
    part = read_part(file)
    assert part.warnings == []
    np.testing.assert_allclose(part.mesh.bounds, box.bounds)


@pytest.mark.parametrize(
    ("unit", "length"), [("micron", 1e-3), ("centimeter", 10), ("inch", 25.4), ("foot", 304.8)]
)
def test_the_stated_unit_counts(box, tmp_path, unit, length):
    sized = box.copy().apply_scale(1 / length)
    file = write(
        tmp_path / "part.3mf",
        **{"3dmodel": model_xml(mesh_xml(sized), '<item objectid="1"/>', unit=f'unit="{unit}"')},
    )
    part = read_part(file)
    np.testing.assert_allclose(part.mesh.extents, box.extents)
    assert part.warnings == []


def test_transforms_of_components_and_items_are_applied_in_turn(box, tmp_path):
    # Twice the box, moved along x; the assembly is turned by 90 degrees about z and moved up.
    resources = mesh_xml(box, 1) + (
        '<object id="2" type="model"><components>'
        '<component objectid="1" transform="2 0 0 0 2 0 0 0 2 100 0 0"/>'
        '<component objectid="1"/></components></object>'
    )
    build = '<item objectid="2" transform="0 1 0 -1 0 0 0 0 1 0 0 7"/>'
    part = read_part(write(tmp_path / "part.3mf", **{"3dmodel": model_xml(resources, build)}))
    large = box.copy().apply_scale(2).apply_translation((100, 0, 0))
    expected = trimesh.util.concatenate([large, box])
    expected.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (0, 0, 1)))
    expected.apply_translation((0, 0, 7))
    np.testing.assert_allclose(part.mesh.bounds, expected.bounds, atol=1e-9)
    assert part.mesh.volume == pytest.approx(9000)


def test_objects_in_other_models_of_the_archive(box, tmp_path):
    component = '<component p:path="/3D/body.model" objectid="4"/>'
    root = model_xml(f'<object id="1"><components>{component}</components></object>', '<item objectid="1"/>')
    file = write(tmp_path / "part.3mf", **{"3dmodel": root, "body": model_xml(mesh_xml(box, 4), "")})
    assert read_part(file).mesh.volume == pytest.approx(1000)


def test_objects_that_are_not_built_are_left_out(box, tmp_path):
    resources = mesh_xml(box, 1) + mesh_xml(box.copy().apply_translation((90, 0, 0)), 2)
    file = write(tmp_path / "part.3mf", **{"3dmodel": model_xml(resources, '<item objectid="1"/>')})
    assert read_part(file).mesh.volume == pytest.approx(1000)


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_FILE_BYTES", 4 * 2**20)
    padded = model_xml(" " * (64 * 2**20), "")
    file = write(tmp_path / "part.3mf", **{"3dmodel": padded})
    assert file.stat().st_size < 2**20
    del padded
    tracemalloc.start()
    assert failure(file).reason == FailureReason.TOO_LARGE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_components_that_multiply_are_refused(box, tmp_path, monkeypatch):
    monkeypatch.setattr(threemf, "MAX_TRIANGLES", 10_000)
    doubled = ""
    for k in range(1, 14):
        twice = 2 * f'<component objectid="{k}"/>'
        doubled += f'<object id="{k + 1}"><components>{twice}</components></object>'
    file = write(
        tmp_path / "part.3mf", **{"3dmodel": model_xml(mesh_xml(box) + doubled, '<item objectid="14"/>')}
    )
    assert failure(file).reason == FailureReason.TOO_LARGE


def test_components_that_contain_themselves_are_refused(tmp_path):
    resources = '<object id="1"><components><component objectid="1"/></components></object>'
    file = write(tmp_path / "part.3mf", **{"3dmodel": model_xml(resources, '<item objectid="1"/>')})
    assert failure(file).reason == FailureReason.TOO_LARGE


def test_entities_are_refused(box, tmp_path):
    prolog = '<!DOCTYPE model [<!ENTITY a SYSTEM "file:///etc/passwd"><!ENTITY b "&a;&a;&a;">]>'
    file = write(tmp_path / "part.3mf", **{"3dmodel": model_xml(mesh_xml(box), "", prolog=prolog)})
    assert "document type" in failure(file).detail


@pytest.mark.parametrize(
    ("resources", "build", "reason"),
    [
        ("", "", FailureReason.EMPTY_GEOMETRY),
        ("", '<item objectid="5"/>', FailureReason.MALFORMED_FILE),
        ('<object id="1"><mesh/></object>', '<item objectid="1"/>', FailureReason.EMPTY_GEOMETRY),
        (
            '<object id="1"><triangle v1="0" v2="1" v3="2"/></object>',
            '<item objectid="1"/>',
            FailureReason.MALFORMED_FILE,
        ),
        ('<object id="1"><vertex x="0" y="a" z="0"/></object>', "", FailureReason.MALFORMED_FILE),
        ('<object id="1"><vertex x="0"/></object>', "", FailureReason.MALFORMED_FILE),
        ("<object>", "", FailureReason.MALFORMED_FILE),
    ],
)
def test_malformed_models(tmp_path, resources, build, reason):
    assert failure(write(tmp_path / "part.3mf", **{"3dmodel": model_xml(resources, build)})).reason == reason


def test_archives_without_a_model_or_with_an_odd_unit(box, tmp_path):
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    file = tmp_path / "part.3mf"
    file.write_bytes(buffer.getvalue())
    assert threemf.ROOT_MODEL in failure(file).detail
    write(file, **{"3dmodel": model_xml(mesh_xml(box), '<item objectid="1"/>', unit='unit="cubit"')})
    assert "cubit" in failure(file).detail
