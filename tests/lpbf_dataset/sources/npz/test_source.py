from __future__ import annotations

import logging
import os
import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources import archive as archives
from lpbf_dataset.sources.base import CaseError, FailureReason, SourceError
from lpbf_dataset.sources.npz import NpzCase, NpzSource

if TYPE_CHECKING:
    from pathlib import Path

CASE_NAME = "21477_babb9c34_4"


@pytest.fixture
def release(tmp_path, make_npz) -> Path:
    """Return a release of two cases."""
    for split, number, name in (("train", 3, CASE_NAME), ("test", 0, "55199_4d57661f_0")):
        metadata = np.array([f'{{"metadata": {{"case_name": "{name}"}}}}'], dtype=object)
        make_npz(tmp_path / "LPBF" / split / f"case{number:05d}_{name}.npz", _metadata=metadata)
    return tmp_path / "LPBF"


def with_member(path: Path, name: str, contents: bytes) -> Path:
    """Add a member to a zip archive."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr(name, contents)
    return path


def assert_fails(path: Path, reason: FailureReason) -> str:
    with pytest.raises(CaseError) as caught:
        NpzCase(path).final_step()
    assert caught.value.reason is reason
    assert path.name in caught.value.detail
    return caught.value.detail


def test_the_release(release):
    source = NpzSource(release)
    assert len(source) == 2
    first, second = source.cases()
    assert (first.case_id, first.design_id, first.official_split) == (CASE_NAME, "21477_babb9c34", "train")
    assert (second.case_id, second.design_id, second.official_split) == (
        "55199_4d57661f_0",
        "55199_4d57661f",
        "test",
    )
    assert first.source == "npz"
    assert first.location == str(release / "train" / f"case00003_{CASE_NAME}.npz")
    assert first.surface() is None


def test_a_case_as_the_schema_has_it(tmp_path, make_npz):
    path = make_npz(tmp_path / "a.npz")
    published = np.load(path, allow_pickle=True)
    case = NpzCase(path)
    assert case.field_names() == ("displacement", "von_mises_stress", "temperature")
    (step,) = case.steps()
    assert (step.number, step.kind) == (1, "removed")
    assert (step.points.dtype, step.cells.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(step.points, published["pos"])
    np.testing.assert_array_equal(step.cells, published["elems"])
    np.testing.assert_array_equal(step.fields["displacement"], published["disp"])
    np.testing.assert_array_equal(step.fields["von_mises_stress"], published["vmstr"][:, 0])
    np.testing.assert_array_equal(step.fields["temperature"], published["temp"][:, 0])
    assert {values.dtype for values in step.fields.values()} == {np.dtype(np.float32)}


def test_fields_are_read_as_asked_for(tmp_path, make_npz):
    path = make_npz(tmp_path / "a.npz", vmstr=None, cauchy_stress=np.zeros((8, 6)))
    case = NpzCase(path)
    assert case.field_names() == ("displacement", "temperature", "cauchy_stress")
    assert set(case.final_step(["temperature"]).fields) == {"temperature"}
    assert case.final_step().fields["cauchy_stress"].shape == (8, 6)
    with pytest.raises(CaseError, match=r"vmstr\.npy: no such file"):
        case.final_step(["von_mises_stress"])
    with pytest.raises(ValueError, match="no nodal field colour"):
        case.final_step(["colour"])


def test_other_types_and_layouts_are_converted(tmp_path, make_npz):
    plain = NpzCase(make_npz(tmp_path / "a.npz")).final_step()
    published = np.load(tmp_path / "a.npz", allow_pickle=True)
    changed = make_npz(
        tmp_path / "b.npz",
        pos=np.asfortranarray(published["pos"].astype(">f8")),
        elems=published["elems"].astype(np.uint64),
        vmstr=published["vmstr"][:, 0],
        edge_index=None,
    )
    step = NpzCase(changed).final_step()
    np.testing.assert_array_equal(step.points, plain.points)
    assert step.points.flags.c_contiguous
    assert step.points.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(step.cells, plain.cells)
    np.testing.assert_array_equal(step.fields["von_mises_stress"], plain.fields["von_mises_stress"])


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"pos": np.zeros((8, 2))}, "pos.npy: has shape (8, 2)"),
        ({"pos": np.zeros((0, 3))}, "has no nodes"),
        ({"pos": np.full((8, 3), np.nan)}, "pos.npy: 24 values are not finite"),
        ({"pos": np.full((8, 3), 1e300)}, "pos.npy: 24 values are not finite"),
        ({"temp": np.zeros(7)}, "temp.npy: 7 values for 8 nodes"),
        ({"disp": np.array([["a"] * 3] * 8)}, "disp.npy: holds <U1, not numbers"),
        ({"disp": np.array([[None] * 3] * 8)}, "disp.npy: holds object, not numbers"),
        ({"elems": np.zeros((0, 8), int)}, "elems.npy: has no cells"),
        ({"elems": np.zeros((1, 8))}, "elems.npy: holds float64, not integers"),
        ({"elems": np.arange(1, 9)[None]}, "elems.npy: names nodes 1 to 8 of 8, counted from 0"),
        ({"elems": np.arange(-1, 7)[None]}, "elems.npy: names nodes -1 to 6 of 8"),
        ({"elems": np.full((1, 8), 2**63, np.uint64)}, "elems.npy: names nodes"),
    ],
)
def test_unusable_arrays_are_named(tmp_path, make_npz, changes, remark):
    path = make_npz(tmp_path / "a.npz", **changes)
    assert remark in assert_fails(path, FailureReason.MALFORMED_FILE)


@pytest.mark.parametrize("name", ["pos", "elems"])
def test_missing_arrays_are_named(tmp_path, make_npz, name):
    path = make_npz(tmp_path / "a.npz", **{name: None})
    assert f"{name}.npy: no such file" in assert_fails(path, FailureReason.MISSING_FILE)


def test_files_that_are_no_archives(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "not a zip archive" in assert_fails(path, FailureReason.MALFORMED_FILE)
    with pytest.raises(CaseError):
        NpzCase(path).content_hash()
    path.unlink()
    assert_fails(path, FailureReason.MISSING_FILE)


def test_a_zip_bomb_is_not_unpacked(tmp_path, make_npz, to_npy, monkeypatch):
    path = with_member(make_npz(tmp_path / "a.npz", pos=None), "pos.npy", to_npy(np.zeros((100_000, 3))))
    monkeypatch.setattr(archives, "RATIO_EXEMPT_BYTES", 1000)
    assert "unpacks from" in assert_fails(path, FailureReason.UNSAFE_ARCHIVE)


class TouchesAFile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_runs_nothing_and_costs_the_case(tmp_path, make_npz):
    witness = tmp_path / "witness"
    evil = {"case_name": "evil", "hook": TouchesAFile(witness)}
    path = make_npz(tmp_path / "case00007_good.npz", _metadata=np.array(evil, dtype=object))
    case = NpzCase(path)
    assert case.case_id == "good"
    assert case.official_split is None
    remark = assert_fails(path, FailureReason.UNSAFE_ARCHIVE)
    assert "_metadata.npy: unpickling it would call posix.mkdir; nothing was called" in remark
    assert not witness.exists()
    np.load(path, allow_pickle=True)["_metadata"]
    assert witness.exists(), "the file should have been a working attack"


@pytest.mark.parametrize("contents", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_unreadable_metadata_cost_only_the_name(tmp_path, make_npz, contents, caplog):
    path = with_member(make_npz(tmp_path / "case00007_a_b.npz", _metadata=None), "_metadata.npy", contents)
    case = NpzCase(path)
    with caplog.at_level(logging.WARNING, logger="lpbf_dataset"):
        assert case.case_id == "a_b"
        case.final_step()
    (record,) = caplog.records
    assert "called a_b after its file" in record.getMessage()
    assert "_metadata.npy" in record.getMessage()


def test_no_metadata_at_all(tmp_path, make_npz, caplog):
    case = NpzCase(make_npz(tmp_path / "x.npz", _metadata=None))
    with caplog.at_level(logging.WARNING, logger="lpbf_dataset"):
        assert (case.case_id, case.design_id) == ("x", "x")
    assert not caplog.records


@pytest.mark.parametrize(
    ("stem", "name"),
    [("case00012_a_1", "a_1"), ("case00012_", "case00012_"), ("case123_a", "case123_a"), ("a", "a")],
)
def test_names_of_files(tmp_path, make_npz, stem, name):
    assert NpzCase(make_npz(tmp_path / f"{stem}.npz", _metadata=None)).case_id == name


def test_the_design_in_the_file_name_is_used(tmp_path, make_npz):
    metadata = np.array([{"case_name": "body"}], dtype=object)
    case = NpzCase(make_npz(tmp_path / f"case00000_{CASE_NAME}.npz", _metadata=metadata))
    assert (case.case_id, case.design_id) == ("body", "21477_babb9c34")


def test_cases_travel(release):
    for case in NpzSource(release).cases():
        before = case.case_id
        again = pickle.loads(pickle.dumps(case))  # noqa: S301
        assert again == case
        assert again.case_id == before
        np.testing.assert_array_equal(again.final_step().points, case.final_step().points)


def test_the_hash_follows_the_contents(tmp_path, make_npz):
    one, same = make_npz(tmp_path / "a.npz"), make_npz(tmp_path / "b.npz")
    other = make_npz(tmp_path / "c.npz", temp=np.zeros(8))
    assert NpzCase(one).content_hash() == NpzCase(same).content_hash() != NpzCase(other).content_hash()


def test_what_a_source_finds(tmp_path, make_npz):
    for name in ("b.npz", "a.npz", ".hidden.npz", "val/c.npz", "other/d.npz"):
        make_npz(tmp_path / name)
    (tmp_path / "folder.npz").mkdir()
    found = [(case.path.name, case.official_split) for case in NpzSource(tmp_path).cases()]
    assert found == [("a.npz", None), ("b.npz", None), ("c.npz", "val")]
    assert [case.path.name for case in NpzSource(tmp_path / "b.npz").cases()] == ["b.npz"]


def test_links_are_followed_as_in_a_download_cache(tmp_path, make_npz):
    blob = make_npz(tmp_path / "blobs" / "0123abcd.npz").rename(tmp_path / "blobs" / "0123abcd")
    link = tmp_path / "snapshot" / "train" / "case00000_a.npz"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    (case,) = NpzSource(tmp_path / "snapshot").cases()
    assert (case.path, case.official_split) == (link, "train")
    assert len(case.final_step().points) == 8


def test_places_without_cases(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        NpzSource(tmp_path / "absent")
    with pytest.raises(SourceError, match=r"holds no \.npz file"):
        NpzSource(tmp_path)
    (tmp_path / "a.zip").touch()
    with pytest.raises(SourceError, match=r"holds no \.npz file"):
        NpzSource(tmp_path / "a.zip")


def test_a_release_becomes_a_store_with_its_split(release, tmp_path):
    source = NpzSource(release)
    official = {case.case_id: case.official_split for case in source.cases()}
    options = BuildOptions(split="official", rules="none")
    catalog = build_store([source], tmp_path / "s.zarr", options, official=official).catalog
    assert list(catalog["status"]) == ["kept", "kept"]


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_give_a_case_or_a_case_error(tmp_path, make_npz, flips):
    whole = tmp_path / "whole.npz"
    if not whole.exists():
        make_npz(whole)
    contents = bytearray(whole.read_bytes())
    for place, value in flips:
        contents[int(place * len(contents))] = value
    path = tmp_path / "flipped.npz"
    path.write_bytes(contents)
    case = NpzCase(path)
    assert case.case_id
    try:
        step = case.final_step()
    except CaseError as error:
        assert "flipped.npz" in error.detail  # noqa: PT017
    else:
        assert len(step.points)
