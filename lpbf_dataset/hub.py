"""Data sets on the Hugging Face Hub: the published release in, stores out; needs the ``hub`` extra.

Reading a store from the Hub takes nothing from here: ``open_dataset("hf://datasets/OWNER/NAME")``.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.store.filesystem import is_bug, one_line
from lpbf_dataset.store.reader import is_store_root, open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from types import ModuleType

    from huggingface_hub import HfApi

PUBLISHED_REPO = "vedantpuri/LPBF_FLARE"
"""Dataset repository of the published NPZ release (arXiv 2508.12594)."""

# The cases, the index that names their splits, and the terms.
_RELEASE_FILES = ("*.npz", "*.parquet", "README.md", "LICENSE*")

_ROOT = "zarr.json"
_MADE_BY_THE_HUB = frozenset({".gitattributes", "README.md"})

_URL = re.compile(
    r"hf://(?:datasets/)?(?P<repo_id>(?!(?:datasets|models|spaces|buckets)/)[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>[^/\s]+))?/?"
)


class HubError(ValueError):
    """The Hub cannot be used: one line that names the repository and what to do."""


@dataclass(frozen=True)
class HubRepo:
    """A dataset repository.

    Parameters
    ----------
    repo_id : str
        ``OWNER/NAME``.
    revision : str, optional
        Branch, tag or commit; None for the main branch.
    """

    repo_id: str
    revision: str | None = None

    @property
    def url(self) -> str:
        """What `open_dataset` takes."""
        return f"hf://datasets/{self.repo_id}" + (f"@{self.revision}" if self.revision else "")


def is_hub_url(text: str) -> bool:
    """Tell the URL of something on the Hub from others and from paths."""
    return text.startswith("hf://")


def parse_hub_url(url: str) -> HubRepo:
    """Take ``hf://datasets/OWNER/NAME[@REVISION]`` apart; ``datasets/`` may be left out.

    Raises
    ------
    HubError
        If the URL is not that of a whole repository.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise HubError(f"{url} is not a dataset repository: expected hf://datasets/OWNER/NAME[@REVISION]")
    return HubRepo(match["repo_id"], match["revision"])


def resolve_source(source: str, cache_folder: str | PathLike[str]) -> Path:
    """Return the local folder of a source, downloading it if it is on the Hub.

    Parameters
    ----------
    source : str
        Path, or ``hf://datasets/OWNER/NAME[@REVISION]`` of a release of NPZ files.
    cache_folder : path
        Keeps downloads, one folder per repository and revision; a later call fetches what changed.

    Raises
    ------
    HubError
        If it cannot be downloaded.
    """
    if not is_hub_url(source):
        return Path(source)
    repo = parse_hub_url(source)
    name = "--".join([*repo.repo_id.split("/"), *([repo.revision] if repo.revision else [])])
    return fetch_published(Path(cache_folder) / name, repo.repo_id, repo.revision)


def fetch_published(
    folder: str | PathLike[str], repo_id: str = PUBLISHED_REPO, revision: str | None = None
) -> Path:
    """Download a release of cases in NPZ files, or what of it is not there yet.

    Parameters
    ----------
    folder : path
        Where to put it.
    repo_id : str
        Dataset repository, ``OWNER/NAME``.
    revision : str, optional
        Branch, tag or commit; the main branch by default.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    HubError
        If huggingface_hub is not installed, the Hub cannot be reached, there is no such repository
        or revision for this account, or it holds no NPZ file.
    """
    folder = Path(folder)
    hub = _huggingface_hub()
    with _reporting(f"cannot download {HubRepo(repo_id, revision).url}"):
        hub.snapshot_download(
            repo_id,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns=list(_RELEASE_FILES),
        )
    if next(folder.rglob("*.npz"), None) is None:
        raise HubError(f"{HubRepo(repo_id, revision).url} holds no NPZ file; is it the right repository?")
    return folder


def check_hub_target(url: str) -> None:
    """Check that somebody is signed in who could push a store to a URL.

    Raises
    ------
    HubError
        If not, or the URL is not that of a whole dataset repository.
    """
    repo = parse_hub_url(url)
    api: HfApi = _huggingface_hub().HfApi()
    with _reporting(f"cannot push to {repo.url}"):
        api.whoami()


def push_store(
    store: str | PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str = "Store of the LPBF toolkit",
) -> str:
    """Upload a local store as the root of a dataset repository, in place of the store that may be there.

    The Hub may take the files in several commits.  The root of the store goes into the last one, and
    that of an earlier store is removed in the first, so that no commit holds half a store.

    Parameters
    ----------
    store : path
        A whole store; its ``README.md`` becomes the dataset card.
    repo_id : str
        ``OWNER/NAME``; made if there is none.
    private : bool
        Whether a repository that is made is private.
    revision : str, optional
        Branch to push to, made if there is none; the main branch by default.
    message : str
        Message of the commits.

    Returns
    -------
    str
        URL for `open_dataset`.

    Raises
    ------
    StoreError
        If `store` is not a store.
    HubError
        If nobody is signed in, the Hub cannot be reached, or the repository holds something else.
    """
    store = Path(store)
    open_dataset(store)
    repo = HubRepo(repo_id, revision)
    api: HfApi = _huggingface_hub().HfApi()
    with _reporting(f"cannot push {store} to {repo.url}"):
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, repo_type="dataset", exist_ok=True)
        replaces = _holds_store(api, repo, store)
        upload = partial(
            api.upload_folder,
            repo_id=repo_id,
            repo_type="dataset",
            revision=revision,
            folder_path=store,
            commit_message=message,
        )
        upload(ignore_patterns=[_ROOT], delete_patterns=["*"] if replaces else None)
        upload(allow_patterns=[_ROOT])
    return repo.url


def _holds_store(api: HfApi, repo: HubRepo, store: Path) -> bool:
    """Tell whether a repository holds a store already; refuse one that holds anything else.

    What an interrupted push of the same store has left is neither.
    """
    names = set(api.list_repo_files(repo.repo_id, repo_type="dataset", revision=repo.revision))
    if _ROOT in names:
        file = api.hf_hub_download(repo.repo_id, _ROOT, repo_type="dataset", revision=repo.revision)
        if is_store_root(Path(file).read_bytes()):
            return True
    others = [name for name in names - _MADE_BY_THE_HUB if not (store / name).is_file()]
    if _ROOT in names or others:
        raise HubError(f"{repo.url} holds something that is not an LPBF store; choose another name")
    return False


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise HubError("the Hugging Face Hub needs a package: pip install 'lpbf-toolkit[hub]'") from error
    return huggingface_hub


@contextmanager
def _reporting(doing: str) -> Iterator[None]:
    """Turn what huggingface_hub and the HTTP library below it raise into a `HubError` of one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, HubError) or is_bug(error):
            raise
        raise HubError(f"{doing}: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    from huggingface_hub import errors

    sign_in = "sign in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return f"its owner grants access on request; ask for it on its page, then {sign_in}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no such dataset repository that this account may use; correct the name, or {sign_in}"
        )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"nobody is signed in; {sign_in}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such branch, tag or commit"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return f"the Hub cannot be reached: {one_line(error)}"
    return one_line(error)
