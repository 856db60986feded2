from __future__ import annotations

import io
import os
import struct
import sys
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpbf_dataset.sources import archive as archives
from lpbf_dataset.sources.archive import FolderArchive, open_archive
from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from pathlib import Path


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as stream:
        for name, contents in members.items():
            stream.writestr(name, contents)
    return path


def assert_fails(reason: FailureReason, path: Path, name: str) -> str:
    with pytest.raises(CaseError) as caught:
        open_archive(path).read(name)
    assert caught.value.reason is reason
    assert "\n" not in caught.value.detail
    assert path.name in caught.value.detail
    return caught.value.detail


def patch_directory(path: Path, offset: int, value: bytes) -> None:
    """Overwrite bytes of the first entry of the central directory."""
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)


def test_folder_and_zip_look_the_same(tmp_path):
    members = {"a.txt": b"top", "x/b.txt": b"below", "x/y/c.txt": b"further below"}
    for name, contents in members.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(contents)
    folder, packed = open_archive(tmp_path / "folder"), open_archive(make_zip(tmp_path / "a.zip", members))
    for archive in (folder, packed):
        assert [(name, list(files)) for name, files in archive.walk()] == [
            ("", ["a.txt"]),
            ("x", ["b.txt"]),
            ("x/y", ["c.txt"]),
        ]
        assert list(archive.files("x")) == ["b.txt"]
        assert list(archive.files("nowhere")) == []
        assert {name: archive.read(name) for name in members} == members
        assert archive.size_and_crc32("x/b.txt") == (5, zlib.crc32(b"below"))
    assert_fails(FailureReason.MISSING_FILE, tmp_path / "a.zip", "x/d.txt")
    with pytest.raises(CaseError, match="no such file"):
        folder.read("x/d.txt")


def test_backslashes_and_entries_that_are_no_files_in_a_zip(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"x/": b"", "x\\b.txt": b"below", "__MACOSX/x/._b.txt": b""})
    assert [(name, list(files)) for name, files in open_archive(path).walk()] == [("x", ["b.txt"])]
    assert open_archive(path).read("x/b.txt") == b"below"


def test_an_archive_is_opened_once_per_process_and_state(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"1"})
    assert open_archive(path) is open_archive(path)
    make_zip(path, {"a": b"other"})
    assert open_archive(path).read("a") == b"other"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_share_the_open_file(tmp_path):
    archive = open_archive(make_zip(tmp_path / "a.zip", {"a": b"1"}))
    child = os.fork()
    if child == 0:
        os._exit(0 if open_archive(tmp_path / "a.zip") is not archive else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "contents", [b"", b"no zip", b"PK\x03\x04 begins like one", b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_archive(tmp_path, contents):
    path = tmp_path / "a.zip"
    path.write_bytes(contents)
    with pytest.raises(CaseError, match=r"no such file|not a zip archive") as caught:
        open_archive(path).read("a")
    assert caught.value.reason in {FailureReason.MALFORMED_FILE, FailureReason.MISSING_FILE}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(CaseError, match=r"pipe\.zip: neither a file nor a folder"):
        open_archive(tmp_path / "pipe.zip")


def test_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream, stream.open("a", "w") as member:
        for _ in range(48):
            member.write(bytes(2**20))
    tracemalloc.start()
    detail = assert_fails(FailureReason.UNSAFE_ARCHIVE, path, "a")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert "unpacks from" in detail


def test_file_above_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10)
    path = make_zip(tmp_path / "a.zip", {"a": bytes(11)})
    assert "at most 10 are read" in assert_fails(FailureReason.UNSAFE_ARCHIVE, path, "a")
    (tmp_path / "b").write_bytes(bytes(11))
    assert_fails(FailureReason.UNSAFE_ARCHIVE, tmp_path, "b")


def test_member_larger_than_the_directory_says(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": bytes(30 * 2**20)})
    patch_directory(path, 24, struct.pack("<I", 100))
    tracemalloc.start()
    assert "damaged" in assert_fails(FailureReason.MALFORMED_FILE, path, "a")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_member_smaller_than_the_directory_says(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"short"})
    patch_directory(path, 24, struct.pack("<I", 100))
    with pytest.raises(CaseError, match=r"5 of 100 bytes|damaged"):
        open_archive(path).read("a")


def test_wrong_checksum(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"contents"})
    patch_directory(path, 16, b"\0\0\0\0")
    assert_fails(FailureReason.MALFORMED_FILE, path, "a")


def test_encrypted_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"secret"})
    patch_directory(path, 8, b"\x01\0")
    assert "without a password" in assert_fails(FailureReason.MALFORMED_FILE, path, "a")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_a_bound_on_memory(tmp_path, compression):
    path = make_zip(tmp_path / "a.zip", {"a": b"contents"}, compression)
    assert "only deflate" in assert_fails(FailureReason.MALFORMED_FILE, path, "a")


@pytest.mark.parametrize("name", ["../x", "/x", "C:/x", "a/../../x", "..\\x", "//host/x"])
def test_member_names_that_escape(tmp_path, name):
    archive = open_archive(make_zip(tmp_path / "a.zip", {name: b"x", "b/c": b"fine"}))
    folder = "a" if name.startswith("a/") else ""
    assert archive.unsafe_member(folder) == name
    assert archive.unsafe_member("b") is None


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights")
def test_links_that_escape_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    top = tmp_path / "case"
    top.mkdir()
    (top / "fine").write_bytes(b"fine")
    (top / "link_inside").symlink_to("fine")
    (top / "link_outside").symlink_to("../secret")
    (top / "dangling").symlink_to("nowhere")
    (top / "loop").symlink_to("loop")
    (top / "folder").symlink_to("..")
    os.mkfifo(top / "pipe")
    archive = FolderArchive(top)
    assert archive.read("link_inside") == b"fine"
    for name in ("link_outside", "folder/secret", "../secret", "/etc/hostname"):
        with pytest.raises(CaseError) as caught:
            archive.read(name)
        assert caught.value.reason is FailureReason.UNSAFE_ARCHIVE
    for name in ("dangling", "loop", "pipe", "nul\0byte", "folder"):
        with pytest.raises(CaseError):
            archive.read(name)
    assert [folder for folder, _ in archive.walk()] == [""]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.data())
def test_damaged_archives_raise_nothing_else(tmp_path, data):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x/a", bytes(range(256)) * 4)
        packed.writestr("x/ü", b"some text " * 10)
    damaged = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.zip"
    path.write_bytes(damaged)
    try:
        archive = archives.ZipArchive(path)
    except CaseError:
        return
    for folder, names in archive.walk():
        for name in names:
            with suppress(CaseError):
                archive.read(f"{folder}/{name}" if folder else name)
