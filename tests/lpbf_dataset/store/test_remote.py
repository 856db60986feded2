from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.registry import known_implementations

from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.hub import HubError
from lpbf_dataset.store.remote import (
    ROOT,
    TRANSFERS,
    UPLOAD_MARK,
    check_target,
    fetch,
    is_remote,
    publish,
)

s3fs = pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def s3_server():
    """An S3 server in this process, with the environment that leads to it and one bucket."""
    from fsspec.config import conf, set_conf_env

    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSSPEC_S3_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        before = dict(conf)
        # What a process does at the start with its environment.
        set_conf_env(conf)
        fsspec.filesystem("s3").mkdir("bucket")
        yield
        conf.clear()
        conf.update(before)
    server.stop()


def empty(url):
    """Return a URL below which there is nothing, neither before the test nor after it."""
    yield url
    filesystem, path = fsspec.url_to_fs(url)
    filesystem.invalidate_cache()
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


@pytest.fixture
def url():
    """Where a store may be put, on a file system with folders; fast."""
    yield from empty("memory://bucket/stores/lpbf.zarr")


@pytest.fixture(params=["memory", "s3"])
def any_url(request):
    """The same, and on object storage."""
    if request.param == "s3":
        request.getfixturevalue("s3_server")
    yield from empty(f"{request.param}://bucket/stores/lpbf.zarr")


@pytest.fixture(scope="module")
def s3_url(s3_server, store):
    """A published store that no test changes."""
    url = "s3://bucket/readable.zarr"
    publish(store, url)
    return url


@pytest.fixture
def requests(monkeypatch):
    """Count the requests to S3, by kind, and the most that were under way at the same time."""
    seen = SimpleNamespace(kinds=Counter(), under_way=0, most=0)
    call = s3fs.S3FileSystem._call_s3

    async def counting(self, method, *args, **kwargs):
        seen.kinds[method] += 1
        seen.under_way += 1
        seen.most = max(seen.most, seen.under_way)
        try:
            return await call(self, method, *args, **kwargs)
        finally:
            seen.under_way -= 1

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counting)
    return seen


@pytest.fixture
def other_store(tmp_path, cases, write_store):
    """A store of fewer cases, so of fewer shards."""
    return write_store(
        tmp_path / "other.zarr", [replace(case, case_id=f"new_{case.case_id}") for case in cases[:2]]
    )


def objects(url):
    filesystem, path = fsspec.url_to_fs(url)
    filesystem.invalidate_cache()
    return {name.partition(path)[2].lstrip("/") for name in filesystem.find(path)}


def put_object(url, contents):
    filesystem, path = fsspec.url_to_fs(url)
    if not filesystem.async_impl:
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    filesystem.pipe_file(path, contents)


def files_of(store):
    return {file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file()}


def assert_same_dataset(read, expected):
    assert read.case_ids == expected.case_ids
    for case, same in zip(read, expected, strict=True):
        assert case.statistics.keys() == same.statistics.keys()
        for name, values in same.variables.items():
            np.testing.assert_array_equal(case.variables[name], values)


def test_remote_or_not():
    assert is_remote("s3://bucket/store.zarr")
    assert is_remote("hf://datasets/a/b")
    assert not is_remote("file:///data/store.zarr")
    assert not is_remote("data/store.zarr")


def test_publish_then_read(store, s3_url):
    assert objects(s3_url) == files_of(store)
    assert_same_dataset(open_dataset(s3_url), open_dataset(store))


def test_progress_sees_every_file_but_the_root(store, url):
    seen = []
    publish(store, f"{url}/", progress=lambda names: (seen.append(name) or name for name in names))
    assert set(seen) == files_of(store) - {ROOT}
    assert len(seen) > 2 * TRANSFERS


def test_replacing_leaves_nothing_of_the_earlier_store(store, other_store, any_url):
    publish(store, any_url)
    check_target(any_url)
    publish(other_store, any_url)
    assert objects(any_url) == files_of(other_store)
    assert_same_dataset(open_dataset(any_url), open_dataset(other_store))


@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize("after", [0, 1, 3 * TRANSFERS, None])
def test_interrupted_upload_leaves_no_store_and_can_be_run_again(store, other_store, url, replacing, after):
    if replacing:
        publish(other_store, url)

    def failing(names):
        yield from names[:after]
        raise ConnectionResetError("connection reset")

    with pytest.raises(StoreError, match=rf"cannot upload .*store\.zarr to {url}: connection reset"):
        publish(store, url, failing)
    with pytest.raises(StoreError, match="no Zarr store"):
        open_dataset(url)
    check_target(url)
    publish(store, url)
    assert objects(url) == files_of(store)
    assert_same_dataset(open_dataset(url), open_dataset(store))


def test_interrupted_replacement_on_object_storage(store, other_store, s3_server):
    url = "s3://bucket/interrupted.zarr"
    publish(other_store, url)

    def failing(names):
        yield from names[: 3 * TRANSFERS]
        raise ConnectionResetError("connection reset")

    with pytest.raises(StoreError, match="connection reset"):
        publish(store, url, failing)
    with pytest.raises(StoreError, match="no Zarr store"):
        open_dataset(url)
    publish(other_store, url)
    assert objects(url) == files_of(other_store)


def test_a_reader_of_the_whole_upload_never_sees_half_a_store(store, other_store, url):
    publish(other_store, url)

    def watching(names):
        for name in names:
            with pytest.raises(StoreError, match="no Zarr store"):
                open_dataset(url)
            yield name

    publish(store, url, watching)
    assert len(open_dataset(url)) == 7


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("thesis.tex", b""),
        (ROOT, b""),
        (ROOT, b"[]"),
        (ROOT, b'{"attributes": null}'),
        (ROOT, json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}).encode()),
        ("folder/zarr.json", b"{}"),
        ("", b"a file"),
    ],
)
def test_nothing_else_is_replaced(store, any_url, name, contents):
    put_object(f"{any_url}/{name}".rstrip("/"), contents)
    before = objects(any_url)
    for put in (check_target, lambda target: publish(store, target)):
        with pytest.raises(
            StoreError, match=f"{any_url} exists and is not an LPBF store; choose another name"
        ):
            put(any_url)
    assert objects(any_url) == before


def test_an_object_in_the_name_of_a_folder_is_no_obstacle(store, s3_server):
    filesystem = fsspec.filesystem("s3")
    filesystem.call_s3("put_object", Bucket="bucket", Key="empty/", Body=b"")
    check_target("s3://bucket/empty")
    put_object("s3://bucket/empty/thesis.tex", b"")
    with pytest.raises(StoreError, match="not an LPBF store"):
        check_target("s3://bucket/empty")


def test_the_check_leaves_nothing(any_url):
    check_target(any_url)
    assert objects(any_url) == set()


def test_only_a_whole_store_is_published(tmp_path, url):
    with pytest.raises(StoreError, match=r"there is no .*none\.zarr"):
        publish(tmp_path / "none.zarr", url)
    assert objects(url) == set()


def test_bad_targets_are_reported_in_one_line(s3_server):
    for url, reason in [
        ("gopher://host/lpbf.zarr", "Protocol not known"),
        ("s3://no-such-bucket/lpbf.zarr", "bucket does not exist"),
        ("hf://datasets/name", "expected hf://datasets/OWNER/NAME"),
    ]:
        with pytest.raises((StoreError, HubError), match=reason) as caught:
            check_target(url)
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not fsspec.filesystem("s3").exists("no-such-bucket")


def test_missing_package(monkeypatch):
    monkeypatch.setitem(
        known_implementations,
        "absent",
        {"class": "no_such_package.FileSystem", "err": "Install no_such_package to access it"},
    )
    for use in (check_target, open_dataset):
        with pytest.raises(StoreError, match=r"absent://a/b: .*Install no_such_package"):
            use("absent://a/b")


def test_missing_credentials(s3_server, monkeypatch):
    from fsspec.config import conf

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    # Another instance than that which has found credentials before.
    monkeypatch.setitem(conf, "s3", {**conf["s3"], "version_aware": True})
    for use in (check_target, open_dataset):
        with pytest.raises(StoreError, match=r"s3://bucket/lpbf\.zarr: Unable to locate credentials"):
            use("s3://bucket/lpbf.zarr")


def test_unreachable_server(monkeypatch):
    from fsspec.config import conf

    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "key": "a",
        "secret": "b",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    monkeypatch.setitem(conf, "s3", options)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    for use in (check_target, open_dataset):
        with pytest.raises(StoreError, match=r"s3://bucket/lpbf\.zarr: Could not connect"):
            use("s3://bucket/lpbf.zarr")


def test_a_bug_is_not_disguised(store, url):
    def wrong(names):
        raise TypeError("a mistake of ours")

    with pytest.raises(TypeError, match="a mistake"):
        publish(store, url, wrong)


def test_fetch(store, tmp_path, url):
    publish(store, url)
    fetch(url, tmp_path / "new" / "copy.zarr")
    copy = tmp_path / "new" / "copy.zarr"
    assert files_of(copy) == files_of(store)
    assert all((copy / name).read_bytes() == (store / name).read_bytes() for name in files_of(store))
    assert [entry.name for entry in copy.parent.iterdir()] == ["copy.zarr"]
    with pytest.raises(StoreError, match=r"copy\.zarr exists; choose another name"):
        fetch(url, copy)


def test_fetch_from_object_storage(s3_url, store, tmp_path):
    fetch(s3_url, tmp_path / "copy.zarr")
    assert_same_dataset(open_dataset(tmp_path / "copy.zarr"), open_dataset(store))


def test_interrupted_fetch_leaves_nothing(store, tmp_path, url):
    publish(store, url)

    def failing(names):
        yield from names[:TRANSFERS]
        raise ConnectionResetError("connection reset")

    with pytest.raises(StoreError, match=r"cannot download .*: connection reset"):
        fetch(url, tmp_path / "copy.zarr", failing)
    with pytest.raises(StoreError, match="no Zarr store"):
        fetch(f"{url}/none", tmp_path / "copy.zarr")
    assert list(tmp_path.iterdir()) == []


def test_fetch_of_a_store_that_is_replaced_meanwhile(store, other_store, tmp_path, url):
    publish(store, url)

    def replacing(names):
        yield from names
        publish(other_store, url)

    with pytest.raises(StoreError, match="download"):
        fetch(url, tmp_path / "copy.zarr", replacing)
    assert not (tmp_path / "copy.zarr").exists()


def test_fetch_writes_nowhere_but_the_folder(s3_url, tmp_path):
    hostile = {"Bucket": "bucket", "Key": "readable.zarr/../../outside/file"}
    s3 = fsspec.filesystem("s3")
    s3.call_s3("put_object", **hostile, Body=b"!")
    try:
        with pytest.raises(StoreError, match="leads out of its folder"):
            fetch(s3_url, tmp_path / "deep" / "copy.zarr")
    finally:
        s3.call_s3("delete_object", **hostile)
    assert list(tmp_path.rglob("*")) == [tmp_path / "deep"]


def test_xarray(s3_url, cases):
    labelled = open_dataset(s3_url).to_xarray()
    assert list(labelled.case_id.values) == [case.case_id for case in cases]
    np.testing.assert_array_equal(labelled.points[: cases[0].node_count], cases[0].points)
    xr.testing.assert_identical(labelled, xr.open_zarr(s3_url))


def test_catalog(s3_url, store):
    catalog = open_dataset(s3_url).catalog()
    assert catalog.equals(open_dataset(store).catalog())


def test_requests_at_opening(s3_url, requests):
    """One object for the metadata of all arrays, then one for each column of the case table, at once.

    s3fs asks for the size of an object that it reads as a whole, so it takes two requests.
    """
    dataset = open_dataset(s3_url)
    columns = len(dataset.case_table.columns) + 1
    assert requests.kinds == {"get_object": 1 + columns, "head_object": 1 + columns}
    assert requests.most == columns


def test_requests_for_a_case(s3_url, requests):
    """Two for each variable within one chunk: the index of its shard, and the chunk; all at once."""
    dataset = open_dataset(s3_url)
    _ = dataset.read(0, ("points",))
    requests.kinds.clear()
    requests.most = 0
    _ = dataset.read(0, ("points", "displacement", "temperature"))
    assert requests.kinds["get_object"] == 2 * 3
    assert requests.most == 3


@pytest.mark.slow
def test_data_loader_with_a_spawned_worker(s3_url, cases):
    pytest.importorskip("torch_geometric")
    from torch_geometric.loader import DataLoader

    from lpbf_dataset.torch import MeshDataset

    dataset = open_dataset(s3_url)
    _ = dataset[0]
    loader = DataLoader(
        MeshDataset(dataset.train), batch_size=1, num_workers=1, multiprocessing_context="spawn"
    )
    for batch, case in zip(loader, cases[::3], strict=True):
        assert batch.case_id == [case.case_id]
        np.testing.assert_array_equal(batch.pos, case.points)


def test_a_store_that_vanishes_is_reported(store, url):
    publish(store, url)
    dataset = open_dataset(url)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    with pytest.raises(StoreError, match=f"cannot read {url}"):
        dataset[0]
    with pytest.raises(StoreError, match="no Zarr store"):
        dataset.catalog()


def test_mark_alone_is_an_unfinished_upload(store, url):
    put_object(f"{url}/{UPLOAD_MARK}", b"")
    check_target(url)
    publish(store, url)
    assert UPLOAD_MARK not in objects(url)


def test_readme_travels_with_the_store(store, tmp_path, url):
    copy = shutil.copytree(store, tmp_path / "card.zarr")
    (copy / "README.md").write_text("# A card")
    publish(copy, url)
    assert "README.md" in objects(url)
    publish(store, url)
    assert "README.md" not in objects(url)
