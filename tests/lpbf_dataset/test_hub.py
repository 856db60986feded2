from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pytest

from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.hub import (
    HubError,
    HubRepo,
    check_hub_target,
    fetch_published,
    is_hub_url,
    parse_hub_url,
    push_store,
    resolve_source,
)
from lpbf_dataset.schema import field_names
from lpbf_dataset.store.remote import check_target, publish
from lpbf_dataset.store.writer import StoreWriter

hub = pytest.importorskip("huggingface_hub")
from huggingface_hub import errors  # noqa: E402

REPO = "someone/parts"


class FakeHub:
    """Dataset repositories in memory, behind the signatures of the real client."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[set[str]] = []
        self.fail_at_commit = -1
        self.api = create_autospec(hub.HfApi, instance=True)
        self.api.create_repo.side_effect = self.create_repo
        self.api.list_repo_files.side_effect = lambda repo_id, **_: list(self.repos[repo_id])
        self.api.upload_folder.side_effect = self.upload_folder

    def create_repo(self, repo_id, *, repo_type, private, exist_ok):
        assert repo_type == "dataset"
        assert exist_ok
        self.repos.setdefault(repo_id, {".gitattributes": b""})
        self.private.setdefault(repo_id, private)

    def upload_folder(self, *, repo_id, repo_type, folder_path, revision, commit_message, **patterns):
        assert repo_type == "dataset"
        assert commit_message
        from huggingface_hub.utils import filter_repo_objects

        if len(self.commits) == self.fail_at_commit:
            raise ConnectionResetError("connection reset")
        repo = self.repos[repo_id]
        delete = patterns.pop("delete_patterns", None)
        files = [
            file.relative_to(folder_path).as_posix() for file in folder_path.rglob("*") if file.is_file()
        ]
        added = set(filter_repo_objects(files, **patterns))
        for name in list(filter_repo_objects(repo, allow_patterns=delete)) if delete else ():
            if name not in added | {".gitattributes"}:
                del repo[name]
        repo.update({name: (folder_path / name).read_bytes() for name in added})
        self.commits.append(set(repo))


@pytest.fixture
def fake(monkeypatch, tmp_path):
    fake = FakeHub()

    def download(repo_id, filename, **_):
        file = tmp_path / "downloaded" / filename
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(fake.repos[repo_id][filename])
        return str(file)

    fake.api.hf_hub_download.side_effect = download
    monkeypatch.setattr(hub, "HfApi", lambda: fake.api)
    return fake


@pytest.fixture
def snapshot(monkeypatch):
    """The download of a release, replaced by one of two files."""
    download = create_autospec(hub.snapshot_download)

    def write(repo_id, *, local_dir, **_):
        (local_dir / "data").mkdir(parents=True)
        (local_dir / "data" / "case.npz").write_bytes(b"")
        return str(local_dir)

    download.side_effect = write
    monkeypatch.setattr(hub, "snapshot_download", download)
    return download


@pytest.fixture
def store(tmp_path, synthetic_case):
    return write_store(tmp_path / "lpbf.zarr", [synthetic_case(2, 1, 1), synthetic_case(1, 1, 1)])


def write_store(path, cases):
    with StoreWriter(path, field_names(include_optional=False)) as writer:
        for case in cases:
            writer.append(case)
        writer.finish({case.case_id: "train" for case in cases}, pd.DataFrame())
    (path / "README.md").write_text("# The card")
    return path


def files_of(store):
    return {file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file()}


def error_of_the_hub(kind):
    import importlib

    # The HTTP library below differs between versions of huggingface_hub.
    http = importlib.import_module(errors.HfHubHTTPError.__mro__[1].__module__.partition(".")[0])
    request = http.Request("GET", "https://huggingface.co/api/datasets/someone/parts")
    response = http.Response(404, request=request)
    return kind("404 Client Error.\n\nNot Found for url: https://huggingface.co", response=response)


@pytest.mark.parametrize(
    ("url", "repo"),
    [
        ("hf://datasets/someone/parts", HubRepo(REPO)),
        ("hf://datasets/someone/parts/", HubRepo(REPO)),
        ("hf://someone/parts", HubRepo(REPO)),
        ("hf://datasets/someone/parts@v1.0", HubRepo(REPO, "v1.0")),
    ],
)
def test_urls(url, repo):
    assert is_hub_url(url)
    assert parse_hub_url(url) == repo
    assert parse_hub_url(repo.url) == repo


@pytest.mark.parametrize(
    "url",
    [
        "hf://",
        "hf://datasets/parts",
        "hf://datasets/a/b/store.zarr",
        "hf://spaces/a/b",
        "hf://a/b@",
        "hf://a/b c",
    ],
)
def test_urls_of_anything_else(url):
    with pytest.raises(HubError, match="expected hf://datasets/OWNER/NAME"):
        parse_hub_url(url)


def test_local_sources_are_left_alone(tmp_path):
    assert resolve_source("results/archive.zip", tmp_path) == Path("results/archive.zip")
    assert not list(tmp_path.iterdir())


def test_a_source_on_the_hub_is_downloaded(tmp_path, snapshot):
    folder = resolve_source("hf://vedantpuri/LPBF_FLARE", tmp_path)
    assert folder == tmp_path / "vedantpuri--LPBF_FLARE"
    assert (folder / "data" / "case.npz").exists()
    ((repo_id,), options) = snapshot.call_args
    assert repo_id == "vedantpuri/LPBF_FLARE"
    assert options["repo_type"] == "dataset"
    assert options["revision"] is None
    other = resolve_source("hf://datasets/vedantpuri/LPBF_FLARE@v2", tmp_path)
    assert other != folder
    assert snapshot.call_args[1]["revision"] == "v2"


def test_only_the_files_of_a_release_are_downloaded(tmp_path, snapshot):
    from huggingface_hub.utils import filter_repo_objects

    assert fetch_published(tmp_path / "release") == tmp_path / "release"
    names = ["README.md", "LICENSE", "LPBF_FLARE.py", "data/train-0.parquet", "a/b.npz", "c.npz", "video.mp4"]
    patterns = snapshot.call_args[1]["allow_patterns"]
    assert [*filter_repo_objects(names, allow_patterns=patterns)] == [
        name for name in names if name not in {"LPBF_FLARE.py", "video.mp4"}
    ]


def test_a_release_without_cases(tmp_path, snapshot):
    snapshot.side_effect = lambda *_, local_dir, **__: local_dir.mkdir()
    with pytest.raises(HubError, match="hf://datasets/someone/parts holds no NPZ file"):
        fetch_published(tmp_path / "release", REPO)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (errors.RepositoryNotFoundError, "correct the name, or sign in with `hf auth login`"),
        (errors.GatedRepoError, "grants access on request"),
        (errors.RevisionNotFoundError, "no such branch, tag or commit"),
        (errors.HfHubHTTPError, "404 Client Error"),
    ],
)
def test_refusals_of_the_hub(tmp_path, snapshot, kind, reason):
    snapshot.side_effect = error_of_the_hub(kind)
    with pytest.raises(HubError, match=f"cannot download hf://datasets/someone/parts: .*{reason}") as caught:
        fetch_published(tmp_path / "release", REPO)
    assert "\n" not in str(caught.value)


def test_a_bug_is_not_disguised(tmp_path, snapshot):
    snapshot.side_effect = TypeError("a mistake of ours")
    with pytest.raises(TypeError):
        fetch_published(tmp_path / "release")


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for use in (lambda: fetch_published(tmp_path), lambda: check_hub_target("hf://datasets/a/b")):
        with pytest.raises(HubError, match=r"pip install 'lpbf-toolkit\[hub\]'"):
            use()


def test_offline_with_the_real_library(tmp_path):
    script = """
import sys
from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.hub import HubError, fetch_published
from lpbf_dataset.store.remote import check_target
for use in (fetch_published, lambda _: check_target("hf://datasets/a/b"), lambda _: open_dataset("hf://datasets/a/b")):
    try:
        use(sys.argv[1])
    except (HubError, StoreError) as error:
        print(error)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_none"}
    command = [sys.executable, "-c", script, str(tmp_path / "release")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    fetched, pushed, opened = run.stdout.splitlines()
    assert fetched.startswith(
        "cannot download hf://datasets/vedantpuri/LPBF_FLARE: the Hub cannot be reached"
    )
    assert pushed.startswith("cannot push to hf://datasets/a/b: the Hub cannot be reached")
    assert opened.startswith("cannot open hf://datasets/a/b: ")


def test_push_puts_the_root_last(fake, store):
    assert push_store(store, REPO) == f"hf://datasets/{REPO}"
    assert [("zarr.json" in commit) for commit in fake.commits] == [False, True]
    assert set(fake.repos[REPO]) == files_of(store) | {".gitattributes"}
    assert fake.repos[REPO]["zarr.json"] == (store / "zarr.json").read_bytes()
    assert fake.repos[REPO]["README.md"] == b"# The card"
    assert fake.private[REPO]
    fake.api.create_branch.assert_not_called()


def test_push_to_a_branch(fake, store):
    assert push_store(store, REPO, private=False, revision="v2") == f"hf://datasets/{REPO}@v2"
    fake.api.create_branch.assert_called_once_with(REPO, branch="v2", repo_type="dataset", exist_ok=True)
    assert {call.kwargs["revision"] for call in fake.api.upload_folder.call_args_list} == {"v2"}
    assert not fake.private[REPO]


def test_push_in_place_of_an_earlier_store(fake, store, tmp_path, synthetic_case):
    push_store(store, REPO)
    fake.repos[REPO]["points/c/9/0"] = b"of an earlier, larger store"
    other = write_store(tmp_path / "other.zarr", [synthetic_case(1, 1, 1)])
    push_store(other, REPO)
    assert ["zarr.json" in commit for commit in fake.commits] == [False, True, False, True]
    assert set(fake.repos[REPO]) == files_of(other) | {".gitattributes"}


def test_an_interrupted_push_can_be_run_again(fake, store):
    fake.fail_at_commit = 1
    with pytest.raises(
        HubError, match=r"cannot push .*lpbf\.zarr to hf://datasets/someone/parts: connection reset"
    ):
        push_store(store, REPO)
    assert "zarr.json" not in fake.repos[REPO]
    fake.fail_at_commit = -1
    push_store(store, REPO)
    assert set(fake.repos[REPO]) == files_of(store) | {".gitattributes"}


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("model.safetensors", b""),
        ("zarr.json", json.dumps({"attributes": {}}).encode()),
        ("zarr.json", b"{"),
        ("other.zarr/zarr.json", b"{}"),
    ],
)
def test_nothing_else_is_replaced(fake, store, name, contents):
    fake.repos[REPO] = {"README.md": b"", name: contents}
    with pytest.raises(HubError, match="someone/parts holds something that is not an LPBF store"):
        push_store(store, REPO)
    assert fake.repos[REPO][name] == contents
    fake.api.upload_folder.assert_not_called()


def test_only_a_whole_store_is_pushed(fake, store, tmp_path):
    broken = shutil.copytree(store, tmp_path / "broken.zarr")
    shutil.rmtree(broken / "node_offset")
    for path in (tmp_path / "none.zarr", broken):
        with pytest.raises(StoreError):
            push_store(path, REPO)
    fake.api.create_repo.assert_not_called()


def test_nobody_signed_in(fake, store):
    fake.api.whoami.side_effect = errors.LocalTokenNotFoundError("Token is required")
    with pytest.raises(
        HubError, match="cannot push to hf://datasets/someone/parts: nobody is signed in; sign in"
    ):
        check_target("hf://datasets/someone/parts")
    fake.api.whoami.side_effect = None
    check_target("hf://datasets/someone/parts")


def test_publish_to_the_hub(fake, store):
    publish(store, "hf://datasets/someone/parts@v3")
    assert "zarr.json" in fake.repos[REPO]
    assert fake.api.upload_folder.call_args.kwargs["revision"] == "v3"


def test_open_through_the_file_system_of_the_hub(store, monkeypatch):
    def cat_file(self, path, start=None, end=None, **_):
        return (store / path.removeprefix("datasets/someone/parts/")).read_bytes()[start:end]

    monkeypatch.setattr(hub.HfFileSystem, "cat_file", cat_file)
    dataset = open_dataset("hf://datasets/someone/parts")
    np.testing.assert_array_equal(dataset[1].points, open_dataset(store)[1].points)
