from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.stl import parse_stl, write_stl


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_agrees_with_trimesh(kind):
    sphere = trimesh.creation.icosphere(2, 3.0)
    data = sphere.export(file_type=kind)
    triangles = parse_stl(data.encode() if isinstance(data, str) else data)
    assert triangles.dtype == np.float32
    np.testing.assert_allclose(triangles, sphere.triangles, atol=1e-6)


def test_a_real_part(step2):
    data = (step2 / "20163_3742f394_3_tivus.stl").read_bytes()
    expected = trimesh.load_mesh(BytesIO(data), file_type="stl", process=False).triangles
    np.testing.assert_array_equal(parse_stl(data), expected.astype(np.float32))


def test_binary_that_begins_with_solid():
    data = trimesh.creation.box().export(file_type="stl")
    np.testing.assert_array_equal(parse_stl(b"solid" + data[5:]), parse_stl(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too few"),
        (b"x" * 83, "too few"),
        (bytes(80) + b"\xff\xff\xff\xff" + bytes(50), "declares 214748364834 bytes and has 134"),
        (b"solid\nvertex 0 0 0\n", "ends before the line 'endsolid'"),
        (bytes(84), "no triangles"),
        (b"solid\nendsolid", "no triangles"),
        (b"solid\nvertex 0 0 0\nvertex 1 0 0\nendsolid", "2 vertices"),
        (b"solid\nvertex 0 0 x\nvertex 1 0 0\nvertex 0 1 0\nendsolid", "could not convert"),
        (b"solid\nvertex 0 0 nan\nvertex 1 0 0\nvertex 0 1 0\nendsolid", "not finite"),
        (b"solid\nvertex 0 0 1e99\nvertex 1 0 0\nvertex 0 1 0\nendsolid", "not finite"),
    ],
)
def test_malformed(data, message):
    with pytest.raises(CaseError, match=message):
        parse_stl(data)


def test_what_is_written_is_read_back(tmp_path):
    sphere = trimesh.creation.icosphere(1)
    # A triangle without an area has no normal either.
    triangles = np.concatenate([sphere.triangles, np.zeros((1, 3, 3))])
    write_stl(tmp_path / "part.stl", triangles)
    np.testing.assert_array_equal(
        parse_stl((tmp_path / "part.stl").read_bytes()), triangles.astype(np.float32)
    )
    assert trimesh.load(tmp_path / "part.stl").volume == pytest.approx(sphere.volume, rel=1e-6)


@given(st.binary(max_size=300), st.sampled_from([b"", b"solid vertex 1 2 3 "]))
def test_arbitrary_bytes_raise_nothing_else(junk, start):
    with suppress(CaseError):
        parse_stl(start + junk)
