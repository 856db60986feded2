from __future__ import annotations

import math

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.scoring.case_metrics import evaluation_key, read_case_metrics, write_case_metrics

KEY = {"checkpoints": "1", "store": "2"}
SCORES = pd.DataFrame({"case_id": ["a", "b"], "split": ["test", "val"], "relative_l2": [0.5, math.inf]})


@pytest.fixture
def path(tmp_path):
    write_case_metrics(tmp_path / "new" / "case_metrics.parquet", SCORES, KEY)
    return tmp_path / "new" / "case_metrics.parquet"


def test_what_was_written_is_read(path):
    pd.testing.assert_frame_equal(read_case_metrics(path, KEY), SCORES)
    assert [file.name for file in path.parent.iterdir()] == ["case_metrics.parquet"]


def test_any_reader_of_parquet_reads_it(path):
    assert pq.read_table(path).column_names == ["case_id", "split", "relative_l2"]
    pd.testing.assert_frame_equal(pd.read_parquet(path), SCORES)


def test_metrics_of_something_else_are_not_taken(path):
    assert read_case_metrics(path, {**KEY, "store": "3"}).empty
    write_case_metrics(path, SCORES)
    assert read_case_metrics(path, KEY).empty


@pytest.mark.parametrize("contents", [b"", b"PAR1", b"hello" * 100])
def test_a_damaged_file_is_computed_again(path, contents):
    path.write_bytes(contents)
    assert read_case_metrics(path, KEY).empty
    path.unlink()
    assert list(read_case_metrics(path, KEY).columns) == ["split"]


def test_the_key_follows_the_checkpoints(copied):
    key = evaluation_key(copied, "content")
    assert evaluation_key(copied, "content") == key != evaluation_key(copied, "other content")
    (copied / "config.yaml").touch()
    assert evaluation_key(copied, "content") == key
    with (copied / "checkpoints" / "best.ckpt").open("ab") as file:
        file.write(b"more")
    assert evaluation_key(copied, "content") != key
