"""Metrics of each case as a Parquet file, which says what they belong to."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from lpbf_dataset import __version__
from lpbf_dataset.export.files import written_whole
from pipelines.runs import files

if TYPE_CHECKING:
    from pathlib import Path

_KEY = b"lpbf_evaluation"


def evaluation_key(run: Path, fingerprint: str) -> dict[str, str]:
    """Tell what metrics of a run belong to: its checkpoints, the contents of the store, and our version.

    Parameters
    ----------
    run : Path
        The run folder.
    fingerprint : str
        `pipelines.runs.environment.store_fingerprint` of the store.
    """
    digest = hashlib.sha256()
    own = run / files.CHECKPOINTS
    # An ensemble has none of its own.
    folders = [own] if own.is_dir() else run.glob(f"member_*/{files.CHECKPOINTS}")
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        if path.is_file():
            digest.update(str(path.relative_to(run)).encode(errors="surrogateescape"))
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return {"checkpoints": digest.hexdigest(), "store": fingerprint, "lpbf-toolkit": __version__}


def write_case_metrics(path: Path, scores: pd.DataFrame, key: dict[str, str] | None = None) -> None:
    """Write metrics whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    scores : DataFrame
        As `pipelines.scoring.evaluation.case_scores` makes them.
    key : dict of str to str, optional
        What they belong to.
    """
    table = pa.Table.from_pandas(scores, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), **({_KEY: json.dumps(key)} if key else {})}
    with written_whole(path) as partial:
        pq.write_table(table.replace_schema_metadata(metadata), partial)


def read_case_metrics(path: Path, key: dict[str, str]) -> pd.DataFrame:
    """Read metrics back if they belong to `key`; else, or where there is no such file, an empty table."""
    try:
        table = pq.read_table(path)
        if json.loads((table.schema.metadata or {}).get(_KEY, b"null")) == key:
            return table.to_pandas()
    except (OSError, ValueError, pa.ArrowException):
        # Whatever is wrong with it, it is computed again.
        pass
    return pd.DataFrame({"split": []})
