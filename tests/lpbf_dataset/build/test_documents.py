from __future__ import annotations

import base64
import hashlib
import json
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("with_report")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


@pytest.fixture
def found(case):
    return [
        *(case(f"case{i}", length=1 + i, stress=100.0 + i, design_id=f"design{i}") for i in range(6)),
        case("stressed", stress=2500.0),
        case("<script>alert(1)</script>", error=CaseError(FailureReason.NO_CASE_FILE, "x & y")),
    ]


def test_a_store_explains_itself(build, found, target):
    build(found, BuildOptions(fields="all"))
    report = (target / "report.html").read_text()
    assert "max_von_mises_stress" in report
    assert "&lt;script&gt;alert(1)" in report
    assert "<script>alert(1)" not in report
    card = (target / "README.md").read_text()
    assert "6 simulated prints of 6 designs" in card
    assert f"lpbf-toolkit {lpbf.__version__}" in card
    assert "no_case_file (1)" in card.replace("\\", "")
    assert len(pd.read_parquet(target / "catalog.parquet")) == 8
    assert verify_store(target, deep=True) == []


def test_croissant(build, found, target):
    build(found)
    metadata = json.loads((target / "croissant.json").read_text())
    catalog = next(file for file in metadata["distribution"] if file["@id"] == "catalog.parquet")
    assert catalog["sha256"] == hashlib.sha256((target / "catalog.parquet").read_bytes()).hexdigest()
    croissant = pytest.importorskip("mlcroissant")
    dataset = croissant.Dataset(jsonld=target / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    records = list(dataset.records("cases"))
    assert len(records) == 8
    assert {record["cases/status"] for record in records} == {b"kept", b"rejected", b"failed"}


def test_they_are_the_same_each_time(build, found, target, tmp_path, files):
    build(found, thumbnail=lambda _: PNG)
    build(found, thumbnail=lambda _: PNG, output=tmp_path / "again.zarr")
    assert files(target) == files(tmp_path / "again.zarr")


def test_extreme_cases_are_drawn(build, found, target):
    drawn = []

    def draw(case):
        drawn.append(case.case_id)
        return PNG

    build(found, thumbnail=draw)
    assert {"case0", "case5"} <= set(drawn)
    assert len(drawn) == len(set(drawn))
    pictures = re.findall(r"data:image/png;base64,([\w+/=]+)", (target / "report.html").read_text())
    assert [base64.b64decode(picture) for picture in pictures] == [PNG] * len(drawn)


def test_without_pictures(build, case, target):
    build([case("only")])
    assert "data:image/png" not in (target / "report.html").read_text()


def test_the_documents_of_a_store_with_histories(build, case, target):
    build([case("a", damaged=2), case("b", length=2)], BuildOptions(steps="all", rules="none"))
    card = (target / "README.md").read_text().replace("\\", "")
    assert "12 steps of 2 cases" in card
    assert "- `a`, step 2 (deposited): truncated_file: a.dis.ens ends early" in card
    report = (target / "report.html").read_text()
    assert "The states after 12 steps, of 2 of 2 cases" in report
    assert "Missing steps: 1" in report
    steps = pd.read_parquet(target / "steps.parquet")
    pd.testing.assert_frame_equal(steps, lpbf.open_dataset(target).step_frame(), check_dtype=False)
    assert pq.read_schema(target / "steps.parquet").field("step_time").metadata[b"units"] == b"s"
    assert verify_store(target, deep=True) == []
    croissant = pytest.importorskip("mlcroissant")
    records = list(croissant.Dataset(jsonld=target / "croissant.json").records("steps"))
    assert [record["steps/step_fault"] for record in records if record["steps/step_fault"]] == [
        b"truncated_file: a.dis.ens ends early"
    ]


def test_a_store_of_final_states_says_so(build, case, target):
    build([case("a")], BuildOptions(rules="none"))
    assert "the store holds final states alone" in (target / "README.md").read_text()
    assert "The store holds final states alone" in (target / "report.html").read_text()
    assert not (target / "steps.parquet").exists()
