from __future__ import annotations

import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildError, BuildOptions, build_store
from lpbf_dataset.curation.splits import SplitError
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.store.verify import verify_store


def test_without_rules_every_readable_case_is_kept(build, case, target):
    build([case("good"), case("stressed", stress=2500.0)], BuildOptions(rules="none"))
    assert lpbf.open_dataset(target).case_ids == ("good", "stressed")


def test_the_store_is_all_that_a_build_leaves(build, case, target):
    build([case("good"), case("stressed", stress=2500.0)])
    assert [path.name for path in target.parent.iterdir()] == ["s.zarr"]
    assert verify_store(target, deep=True) == []


def test_nothing_to_keep_leaves_the_old_store(build, case, target, files):
    build([case("good")])
    before = files(target)
    with pytest.raises(BuildError, match="kept 0 of 1 cases, 0 failed, first bad") as caught:
        build([case("bad", stress=1e4)])
    assert "\n" not in str(caught.value)
    assert files(target) == before


def test_an_empty_source_is_said_to_be_empty(build, target):
    with pytest.raises(BuildError, match="the sources hold no case"):
        build([])
    assert list(target.parent.iterdir()) == []


def test_a_case_without_a_basic_field_fails_alone(build, case):
    catalog = build([case("good"), case("warm", without=("temperature",))]).catalog
    assert list(catalog["status"]) == ["kept", "failed"]
    assert catalog["reason"].iloc[1] == "missing_file: memory has no temperature"


def test_all_fields_are_those_that_every_case_has(build, case, target):
    broken = CaseError(FailureReason.NO_CASE_FILE, "nothing there")
    found = [case("rich"), case("poor", without=("elastic_strain",)), case("broken", error=broken)]
    build(found, BuildOptions(fields="all"))
    variables = lpbf.open_dataset(target).variables
    assert "cauchy_stress" in variables
    assert "elastic_strain" not in variables
    assert "`cauchy_stress`" in (target / "README.md").read_text()


def test_attributes_record_how_it_was_built(build, case, target):
    build([case("good")], BuildOptions(seed=3))
    attributes = lpbf.open_dataset(target).attributes
    assert attributes["build"]["seed"] == 3
    assert "nodes <= 50000" in attributes["build"]["rules"]
    assert attributes["source_hashes"].keys() == {"fake"}
    assert attributes["licence"].startswith("not stated")
    assert attributes["leakage"]["evaluated"] == 0


def test_terms_follow_the_designs_unless_given(build, case, target):
    found = [case("20163_3742f394_3", design_id="20163_3742f394")]
    build(found)
    assert "Fusion 360" in lpbf.open_dataset(target).attributes["licence"]
    build(found, BuildOptions(licence="CC0", citation="me"))
    attributes = lpbf.open_dataset(target).attributes
    assert (attributes["licence"], attributes["citation"]) == ("CC0", "me")


def test_terms_are_those_of_what_is_in_the_store(build, case, target):
    found = [case("bracket_000001_1", design_id="bracket_000001"), case("theirs", stress=1e4)]
    build(found)
    assert lpbf.open_dataset(target).attributes["licence"] == "MIT"


class TestSplits:
    def test_siblings_stay_together(self, build, case, target):
        build([case(f"case{i}", design_id=f"design{i // 4}") for i in range(40)])
        table = lpbf.open_dataset(target).case_table
        assert (table.groupby("design_id")["split"].nunique() == 1).all()
        assert set(table["split"]) == {"train", "val", "test"}

    def test_leakage_is_warned_of(self, build, case):
        found = [case(f"case{i}", design_id=f"design{i // 2}", length=1 + i) for i in range(20)]
        siblings, *_ = build(found, BuildOptions(split="random")).warnings
        assert "body of the same design in training" in siblings

    def test_a_list_is_followed(self, build, case, target):
        official = {"a": "test", "b": "train", "elsewhere": "test"}
        result = build(
            [case(name, length=length) for name, length in zip("abc", (1, 4, 9), strict=True)],
            BuildOptions(split="official"),
            official=official,
        )
        table = lpbf.open_dataset(target).case_table
        assert table["split"].to_dict() == {"a": "test", "b": "train", "c": "train"}
        assert result.warnings[-1] == "1 cases are in no split of the list, so in train, first c"

    def test_a_file_is_followed(self, build, case, target, tmp_path):
        (tmp_path / "split.csv").write_text("case_id,split\na,val\nb,train\n")
        options = BuildOptions(split="official", split_file=str(tmp_path / "split.csv"))
        build([case("a"), case("b")], options, official={"a": "train", "b": "test"})
        assert lpbf.open_dataset(target).case_table["split"].to_dict() == {"a": "val", "b": "train"}

    def test_without_a_list_it_cannot_be_followed(self, build, logged, reads):
        with pytest.raises(BuildError, match="no official split"):
            build([logged("a")], BuildOptions(split="official"))
        assert reads() == []

    def test_a_file_that_would_not_be_followed_is_refused(self, build, case, tmp_path):
        with pytest.raises(BuildError, match="'official' only, not by 'design'"):
            build([case("a")], BuildOptions(split_file=str(tmp_path / "split.csv")))

    def test_a_list_of_other_cases_costs_no_work(self, build, logged, reads):
        with pytest.raises(SplitError, match="no official split"):
            build([logged("a")], BuildOptions(split="official"), official={"b": "test"})
        build([logged("a")])
        assert reads() == ["a"]


class TestDryRun:
    def test_it_tells_and_writes_no_store(self, build, logged, target, reads):
        found = [logged("good"), logged("stressed", stress=2500.0)]
        catalog = build(found, dry_run=True).catalog
        assert list(catalog["status"]) == ["kept", "rejected"]
        assert not target.exists()
        assert sorted(reads()) == ["good", "stressed"]
        build(found)
        assert reads() == []
        assert [path.name for path in target.parent.iterdir()] == ["s.zarr"]

    def test_nothing_to_keep_is_told_too(self, build, case):
        assert list(build([case("bad", stress=1e4)], dry_run=True).catalog["status"]) == ["rejected"]


def test_every_outcome_passes_the_progress(build, case):
    seen = []

    def progress(outcomes, count):
        for outcome in outcomes:
            seen.append((outcome[0].case_id, count))
            yield outcome

    build([case("a"), case("b"), case("b")], progress=progress)
    assert sorted(seen) == [("a", 3), ("b", 3), ("b", 3)]


def test_real_run(step2, target):
    build_store([NetfabbSource(step2.parent)], target, BuildOptions(fields="all"))
    case = lpbf.open_dataset(target)["step2"]
    assert (case.node_count, case.cell_count) == (3227, 1408)
    assert case.design_id == "20163_3742f394"
    # The solver's own log: mesh volume, and the RMS displacement after its rigid motion fit.
    assert case.statistics["volume"] == pytest.approx(1608.95, abs=0.01)
    assert case.statistics["watertight"] == 1
    assert case.statistics["max_von_mises_stress"] == pytest.approx(1670.512, abs=1e-2)
    assert case.statistics["max_z"] == pytest.approx(8.8)
    assert verify_store(target, deep=True) == []
