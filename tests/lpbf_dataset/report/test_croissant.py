from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lpbf_dataset.report import croissant_metadata
from lpbf_dataset.schema import STATISTICS


def describe(curation, sha256: str = "0" * 64) -> dict:
    return croissant_metadata(
        curation,
        url="https://example.org/lpbf",
        version="1.2.0",
        published=dt.date(2026, 1, 31),
        creator="Some laboratory",
        catalog_sha256=sha256,
    )


@pytest.fixture(scope="module")
def publication(curation, tmp_path_factory) -> Path:
    """Return a folder with a catalog and its description, as one would publish it."""
    folder = tmp_path_factory.mktemp("publication")
    is_text = curation.catalog["case_id"].map(lambda name: name.isprintable())
    catalog = folder / "catalog.parquet"
    curation.catalog[is_text].to_parquet(catalog)
    metadata = describe(curation, hashlib.sha256(catalog.read_bytes()).hexdigest())
    (folder / "croissant.json").write_text(json.dumps(metadata, allow_nan=False), encoding="utf-8")
    return folder


def test_mlcroissant_accepts_it(publication):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=publication / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert dataset.metadata.version == "1.2.0"


def test_the_command_accepts_it(publication):
    pytest.importorskip("mlcroissant")
    command = Path(sysconfig.get_path("scripts")) / "mlcroissant"
    result = subprocess.run(
        [sys.executable, command, "validate", "--jsonld", publication / "croissant.json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert not re.search("error|warning", result.stderr, flags=re.IGNORECASE)


def test_records_read_through_it_are_the_catalog(curation, publication):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=publication / "croissant.json")
    records = {record["cases/case_id"]: record for record in dataset.records("cases")}
    row = curation.catalog[curation.catalog["status"] == "kept"].iloc[-1]
    record = records[row["case_id"].encode()]
    assert record["cases/status"] == b"kept"
    assert record["cases/nodes"] == row["nodes"]
    assert record["cases/max_z"] == pytest.approx(row["max_z"])


def test_every_column_is_a_field_of_its_type(curation):
    (records,) = describe(curation)["recordSet"]
    types = {field["name"]: field["dataType"] for field in records["field"]}
    assert list(types) == list(curation.catalog.columns)
    assert types["case_id"] == "sc:Text"
    for name, statistic in STATISTICS.items():
        assert types[name] == ("sc:Float" if statistic.dtype == "float64" else "sc:Integer")


def test_the_same_twice(curation):
    assert json.dumps(describe(curation)) == json.dumps(describe(curation))
