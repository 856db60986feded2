from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildError, BuildOptions, build_store
from lpbf_dataset.sources.base import CaseError, FailureReason, Step

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])


@dataclass
class FakeCase:
    """One cell whose stress is chosen by the test."""

    case_id: str
    stress: float = 100.0
    design_id: str = "design"
    location: str = "memory"
    source: str = "fake"
    error: CaseError | None = None
    without: tuple[str, ...] = ()

    def content_hash(self) -> str:
        return f"hash of {self.case_id}"

    def final_step(self, fields=None) -> Step:
        if self.error:
            raise self.error
        everything = {
            "displacement": np.full((8, 3), 0.1, dtype=np.float32),
            "von_mises_stress": np.full(8, self.stress, dtype=np.float32),
            "temperature": np.full(8, 25, dtype=np.float32),
            "cauchy_stress": np.zeros((8, 6), dtype=np.float32),
            "elastic_strain": np.zeros((8, 6), dtype=np.float32),
        }
        chosen = {
            name: everything[name]
            for name in everything
            if name not in self.without and (fields is None or name in fields)
        }
        cells = np.arange(8, dtype=np.int32)[None]
        return Step(8, "removed", 1.0, CORNERS.astype(np.float32), cells, chosen)

    def field_names(self) -> list[str]:
        return list(self.final_step().fields)

    def steps(self, fields=None) -> list[Step]:
        return [self.final_step(fields)]

    def surface(self) -> None:
        return None


@dataclass
class FakeSource:
    found: list[FakeCase] = field(default_factory=list)

    def cases(self):
        return iter(self.found)


def test_each_case_found_is_accounted_for(tmp_path):
    broken = CaseError(FailureReason.TRUNCATED_FILE, "x.geo ends early")
    source = FakeSource(
        [
            FakeCase("good"),
            FakeCase("broken", error=broken),
            FakeCase("stressed", stress=2500.0),
            FakeCase("good", location="elsewhere"),
        ]
    )
    catalog = build_store([source], tmp_path / "s.zarr", BuildOptions())
    assert list(catalog["status"]) == ["kept", "failed", "rejected", "failed"]
    assert list(catalog["reason"]) == [
        "",
        "truncated_file: x.geo ends early",
        "max_von_mises_stress <= 2000",
        "duplicate_case: also found at memory",
    ]
    stored = lpbf.open_dataset(tmp_path / "s.zarr")
    assert list(stored.case_ids) == ["good"]
    in_store = stored.catalog()
    assert list(in_store["status"]) == list(catalog["status"])
    assert in_store["max_von_mises_stress"].iloc[2] == 2500.0
    assert in_store["content_hash"].iloc[0] == "hash of good"


def test_without_rules_every_readable_case_is_kept(tmp_path):
    source = FakeSource([FakeCase("good"), FakeCase("stressed", stress=2500.0)])
    build_store([source], tmp_path / "s.zarr", BuildOptions(rules="none"))
    assert set(lpbf.open_dataset(tmp_path / "s.zarr").case_ids) == {"good", "stressed"}


def test_nothing_to_keep_leaves_the_old_store(tmp_path):
    target = tmp_path / "s.zarr"
    build_store([FakeSource([FakeCase("good")])], target, BuildOptions())
    with pytest.raises(BuildError, match="0 failed and 1 rejected, first bad"):
        build_store([FakeSource([FakeCase("bad", stress=1e4)])], target, BuildOptions())
    assert list(lpbf.open_dataset(target).case_ids) == ["good"]
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_an_empty_source_is_said_to_be_empty(tmp_path):
    with pytest.raises(BuildError, match="the sources hold no case"):
        build_store([FakeSource()], tmp_path / "s.zarr", BuildOptions())


def test_a_case_without_a_basic_field_fails_alone(tmp_path):
    source = FakeSource([FakeCase("good"), FakeCase("cold", without=("temperature",))])
    catalog = build_store([source], tmp_path / "s.zarr", BuildOptions())
    assert list(catalog["status"]) == ["kept", "failed"]
    assert catalog["reason"].iloc[1] == "missing_file: memory has no temperature"


def test_all_fields_are_those_that_every_case_has(tmp_path):
    broken = CaseError(FailureReason.NO_CASE_FILE, "nothing there")
    rich, poor = FakeCase("rich"), FakeCase("poor", without=("elastic_strain",))
    source = FakeSource([rich, poor, FakeCase("broken", error=broken)])
    build_store([source], tmp_path / "s.zarr", BuildOptions(fields="all"))
    variables = lpbf.open_dataset(tmp_path / "s.zarr").variables
    assert "cauchy_stress" in variables
    assert "elastic_strain" not in variables


def test_attributes_record_how_it_was_built(tmp_path):
    build_store([FakeSource([FakeCase("good")])], tmp_path / "s.zarr", BuildOptions(seed=3))
    attributes = lpbf.open_dataset(tmp_path / "s.zarr").attributes
    assert attributes["build"]["seed"] == 3
    assert "nodes <= 50000" in attributes["build"]["rules"]
    assert attributes["source_hashes"].keys() == {"fake"}
    assert attributes["licence"].startswith("not stated")


def test_terms_follow_the_designs_unless_given(tmp_path):
    source = FakeSource([FakeCase("20163_3742f394_3", design_id="20163_3742f394")])
    build_store([source], tmp_path / "told.zarr", BuildOptions())
    assert "Fusion 360" in lpbf.open_dataset(tmp_path / "told.zarr").attributes["licence"]
    build_store([source], tmp_path / "given.zarr", BuildOptions(licence="CC0", citation="me"))
    assert lpbf.open_dataset(tmp_path / "given.zarr").attributes["licence"] == "CC0"


def test_the_official_split_is_followed(tmp_path):
    source = FakeSource([FakeCase(name) for name in ("a", "b", "c")])
    official = {"a": "test", "b": "train", "elsewhere": "test"}
    build_store([source], tmp_path / "s.zarr", BuildOptions(split="official"), official=official)
    table = lpbf.open_dataset(tmp_path / "s.zarr").case_table
    assert table["split"].to_dict() == {"a": "test", "b": "train", "c": "train"}


def test_without_an_official_split_it_cannot_be_followed(tmp_path):
    with pytest.raises(BuildError, match="no official split"):
        build_store([FakeSource([FakeCase("a")])], tmp_path / "s.zarr", BuildOptions(split="official"))


def test_siblings_are_split_together(tmp_path):
    cases = [FakeCase(f"case{i}", design_id=f"design{i // 4}") for i in range(40)]
    build_store([FakeSource(cases)], tmp_path / "s.zarr", BuildOptions())
    table = lpbf.open_dataset(tmp_path / "s.zarr").case_table
    assert (table.groupby("design_id")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "val", "test"}


def test_real_run(step2, tmp_path):
    from lpbf_dataset.sources.netfabb import NetfabbSource

    build_store([NetfabbSource(step2.parent)], tmp_path / "s.zarr", BuildOptions(fields="all"))
    case = lpbf.open_dataset(tmp_path / "s.zarr")["step2"]
    assert (case.node_count, case.cell_count) == (3227, 1408)
    assert case.design_id == "20163_3742f394"
    # The solver's own log: mesh volume, and the RMS displacement after its rigid motion fit.
    assert case.statistics["volume"] == pytest.approx(1608.95, abs=0.01)
    assert case.statistics["watertight"] == 1
    assert case.statistics["max_von_mises_stress"] == pytest.approx(1670.512, abs=1e-2)
    assert case.statistics["max_z"] == pytest.approx(8.8)
