from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import suppress

import fsspec
import pytest
import xarray as xr
import zarr

from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.manifest import MANIFEST, StoreFiles, read_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    """Two files, one of them in a folder of a folder."""
    (tmp_path / "points" / "c").mkdir(parents=True)
    (tmp_path / "points" / "c" / "0").write_bytes(b"rows")
    (tmp_path / "zarr.json").write_bytes(b"{}")
    write_manifest(tmp_path)
    return tmp_path


def test_lists_size_and_digest_of_every_file_but_itself(folder):
    manifest = read_manifest(StoreFiles(folder))
    assert list(manifest) == ["points/c/0", "zarr.json"]
    assert manifest["points/c/0"].size == 4
    assert manifest["points/c/0"].sha256 == hashlib.sha256(b"rows").hexdigest()


def test_a_second_manifest_is_the_same_to_the_byte(folder):
    first = (folder / MANIFEST).read_bytes()
    write_manifest(folder)
    assert (folder / MANIFEST).read_bytes() == first


def test_a_folder_without_one(tmp_path):
    assert read_manifest(StoreFiles(tmp_path)) is None


def test_a_manifest_from_elsewhere(folder):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/manifest_bucket/s.zarr", recursive=True)
    try:
        files = StoreFiles("memory://manifest_bucket/s.zarr")
        assert read_manifest(files) == read_manifest(StoreFiles(folder))
        assert files.sizes() == StoreFiles(folder).sizes()
        assert files.sha256("zarr.json") == hashlib.sha256(b"{}").hexdigest()
        assert files.exists("zarr.json")
        assert not files.exists("absent")
    finally:
        memory.rm("/manifest_bucket", recursive=True)


def test_every_flipped_bit_of_the_manifest_shows(folder):
    path = folder / MANIFEST
    intact = path.read_bytes()
    files = StoreFiles(folder)
    expected = read_manifest(files)
    for bit in range(8 * len(intact)):
        damaged = bytearray(intact)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with suppress(StoreError):
            assert read_manifest(files) != expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"version": 1}',
        b'{"algorithm": "md5", "files": {}, "version": 1}',
        b'{"algorithm": "sha256", "files": {}, "version": 2}',
        b'{"algorithm": "sha256", "files": {"a": 1}, "version": 1}',
    ],
)
def test_anything_else_is_said_to_be_no_manifest(folder, content):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(StoreError, match="is not a list of checksums"):
        read_manifest(StoreFiles(folder))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "./a"])
def test_names_that_lead_out_of_the_store_are_refused(folder, name):
    content = json.loads((folder / MANIFEST).read_text())
    content["files"] = {name: {"size": 1, "sha256": "00"}}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n")
    with pytest.raises(StoreError, match="no file of the store"):
        read_manifest(StoreFiles(folder))


def test_other_readers_pass_over_it_without_a_warning(store):
    assert (store / MANIFEST).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [name for name, _ in zarr.open_group(store, mode="r").members()]
        xr.open_zarr(store)
    assert MANIFEST not in names
