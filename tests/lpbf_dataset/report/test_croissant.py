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


def describe(curation, sha256: str = "0" * 64, **more: str) -> dict:
    return croissant_metadata(
        curation,
        url="https://example.org/lpbf",
        version="1.2.0",
        published=dt.date(2026, 1, 31),
        creator="Some laboratory",
        sha256={"catalog.parquet": sha256, **more},
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
    records = describe(curation)["recordSet"][0]
    types = {field["name"]: field["dataType"] for field in records["field"]}
    assert list(types) == list(curation.catalog.columns)
    assert types["case_id"] == "sc:Text"
    for name, statistic in STATISTICS.items():
        assert types[name] == ("sc:Float" if statistic.dtype == "float64" else "sc:Integer")


def test_arrays_are_told(curation, publication):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=publication / "croissant.json")
    records = {record["variables/name"]: record for record in dataset.records("variables")}
    assert records.keys() == {variable.name for variable in curation.variables}
    assert records["displacement"]["variables/dims"] == "node, 3"
    assert records["displacement"]["variables/units"] == "mm"


@pytest.fixture(scope="module")
def described(with_histories, tmp_path_factory):
    """Return the description of a published store that holds steps, as mlcroissant reads it."""
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = tmp_path_factory.mktemp("publication")
    tables = {
        "catalog.parquet": with_histories.catalog[["case_id"]].head(3),
        "steps.parquet": with_histories.histories.steps,
    }
    hashes = {}
    for name, table in tables.items():
        table.to_parquet(folder / name)
        hashes[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    text = json.dumps(describe(with_histories, hashes["catalog.parquet"], **hashes), allow_nan=False)
    (folder / "croissant.json").write_text(text, encoding="utf-8")
    return mlcroissant.Dataset(jsonld=folder / "croissant.json")


class TestWithHistories:
    def test_mlcroissant_accepts_it(self, described):
        assert not described.metadata.ctx.issues.errors
        assert not described.metadata.ctx.issues.warnings
        assert "12 steps of 2 of 3 cases" in described.metadata.description

    def test_records_are_the_steps(self, described, with_histories):
        records = list(described.records("steps"))
        steps = with_histories.histories.steps
        assert [record["steps/case_id"].decode() for record in records] == steps["case_id"].tolist()
        assert [record["steps/step_kind"].decode() for record in records] == steps["step_kind"].tolist()
        assert records[3]["steps/step_time"] == 30.0
        assert records[3].keys() == {f"steps/{name}" for name in steps}

    def test_arrays_of_histories_are_told(self, described):
        records = {record["variables/name"]: record for record in described.records("variables")}
        assert records["history_displacement"]["variables/dims"] == "step_node, 3"
        assert records["history_cells"]["variables/dims"] == "mesh_cell, 8"
        assert "history_temperature" not in records


def test_the_same_twice(curation):
    assert json.dumps(describe(curation)) == json.dumps(describe(curation))
