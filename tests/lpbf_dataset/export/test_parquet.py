from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq

from lpbf_dataset.export import export_catalog


def test_the_table_is_the_catalog(dataset, tmp_path):
    (path,) = export_catalog(dataset, tmp_path / "out")
    assert path == tmp_path / "out" / "catalog.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(path), dataset.catalog(), check_dtype=False)
    assert pd.read_parquet(path).dtypes[["nodes", "max_z"]].tolist() == ["int64", "float64"]


def test_any_view_gives_the_whole_catalog(dataset, tmp_path):
    (path,) = export_catalog(dataset.test, tmp_path)
    assert len(pd.read_parquet(path)) == 4


def test_statistics_have_units(dataset, tmp_path):
    (path,) = export_catalog(dataset, tmp_path)
    schema = pq.read_schema(path)
    assert schema.field("max_z").metadata[b"units"] == b"mm"
    assert schema.field("max_z").metadata[b"long_name"] == b"height of the part above the plate"
    assert b"units" not in (schema.field("case_id").metadata or {})
