"""Cases of earlier stores: at the target, and as sources of their own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, StoreSource
from lpbf_dataset.build.catalog import summary
from lpbf_dataset.engine import open_engine
from lpbf_dataset.sources.base import CaseError, FailureReason, SourceError
from lpbf_dataset.store.verify import verify_store

LOOSER = "max_von_mises_stress: 3000\n"
STRICTER = "max_von_mises_stress: 150\n"


@pytest.fixture
def rules(tmp_path):
    """Return options with bounds on the stress, from a file."""

    def make(text):
        path = tmp_path / f"rules{len(text)}.yaml"
        path.write_text(text)
        return BuildOptions(rules=str(path))

    return make


@pytest.fixture
def found(logged):
    """Three cases to keep, one of which a stricter rule rejects, one that is rejected and one that fails."""
    failure = CaseError(FailureReason.TRUNCATED_FILE, "x.geo ends early")
    return [
        logged("a", length=2),
        logged("b", length=5, design_id="other"),
        logged("c", length=9, stress=200.0),
        logged("stressed", stress=2500.0),
        logged("broken", error=failure),
        logged("a", location="a second one"),
    ]


@pytest.fixture
def old(build, found, tmp_path, reads):
    """Return a store of `found`."""
    path = tmp_path / "old.zarr"
    build(found, output=path)
    reads()
    return path


def statuses(catalog):
    return dict(zip(catalog["case_id"] + "@" + catalog["location"], catalog["status"], strict=True))


class TestInPlace:
    def test_more_cases_are_added_as_if_from_scratch(
        self, build, found, logged, reads, target, files, tmp_path
    ):
        more = [*found, logged("d", length=3), logged("0", length=4)]
        build(found)
        reads()
        build(more)
        assert sorted(reads()) == ["0", "broken", "d"]
        build(more, output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")
        assert verify_store(target, deep=True) == []

    def test_fewer_cases_too(self, build, found, reads, target, files, tmp_path):
        build(found)
        reads()
        build(found[1:3])
        assert reads() == []
        build(found[1:3], output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    def test_stricter_rules_read_nothing(self, build, found, rules, reads, target):
        build(found)
        reads()
        build(found[:-2], rules(STRICTER))
        assert reads() == []
        assert lpbf.open_dataset(target).case_ids == ("a", "b")

    def test_what_looser_rules_keep_is_read_again(self, build, found, rules, reads, target, files, tmp_path):
        build(found)
        reads()
        build(found, rules(LOOSER))
        assert sorted(reads()) == ["broken", "stressed"]
        build(found, rules(LOOSER), output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    def test_a_case_of_another_content_is_read_again(self, build, logged, reads, target):
        build([logged("a", stress=100.0)])
        build([logged("a", stress=300.0)])
        assert reads() == ["a", "a"]
        assert lpbf.open_dataset(target)["a"].statistics["max_von_mises_stress"] == 300

    def test_nothing_is_taken_from_a_damaged_store(self, build, found, reads, target, files, caplog):
        build(found)
        before = files(target)
        reads()
        shard = target / "displacement" / "c" / "0" / "0"
        damaged = bytearray(shard.read_bytes())
        damaged[5] ^= 1
        shard.write_bytes(damaged)
        build(found)
        assert len(reads()) == 5
        assert files(target) == before
        assert "displacement/c/0/0 is not as it was written" in caplog.text

    @pytest.mark.parametrize("build_attribute", [None, {"extraction": {"fields": 3}}])
    def test_nothing_is_taken_from_a_store_that_says_nothing(
        self, build_attribute, build, logged, target, reads
    ):
        build([logged("a")])
        root = json.loads((target / "zarr.json").read_text())
        root["attributes"]["build"] = build_attribute
        (target / "zarr.json").write_text(json.dumps(root))
        build([logged("a")])
        assert reads() == ["a", "a"]
        assert lpbf.open_dataset(target).attributes["build"]["seed"] == 0

    def test_a_document_may_be_changed(self, build, found, reads, target):
        build(found)
        reads()
        (target / "README.md").write_text("my notes")
        build(found)
        assert reads() == ["broken"]


class TestStoreSource:
    def test_the_same_rules_give_the_same_bytes(self, build, old, target, files, reads):
        build([], sources=[StoreSource(old)])
        assert reads() == []
        assert files(target) == files(old)

    def test_twice_over(self, build, old, target, files, tmp_path):
        build([], sources=[StoreSource(old)])
        build([], sources=[StoreSource(target)], output=tmp_path / "third.zarr")
        assert files(tmp_path / "third.zarr") == files(old)

    def test_onto_itself(self, build, old, files, rules):
        before = files(old)
        build([], rules(STRICTER), sources=[StoreSource(old)], output=old)
        assert lpbf.open_dataset(old).case_ids == ("a", "b")
        build([], sources=[StoreSource(old)], output=old)
        assert lpbf.open_dataset(old).case_ids == ("a", "b")
        assert files(old) != before

    def test_stricter_rules(self, build, old, found, rules, target, files, tmp_path, reads):
        build([], rules(STRICTER), sources=[StoreSource(old)])
        assert reads() == []
        build(found, rules(STRICTER), output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")
        row = lpbf.open_dataset(target).catalog().query("case_id == 'stressed'").iloc[0]
        assert (row.status, row.rule, row.value) == ("rejected", "max_von_mises_stress <= 150", 2500)

    def test_looser_rules_tell_what_is_not_stored(self, build, old, found, rules, target, tmp_path):
        catalog = build([], rules(LOOSER), sources=[StoreSource(old)]).catalog
        missing = catalog[catalog["case_id"] == "stressed"].iloc[0]
        assert (missing.status, missing.failure) == ("failed", "not_stored")
        assert missing.reason.startswith(
            "not_stored: these rules keep it, but the store it comes from holds no"
        )
        assert missing.reason.endswith("lpbf-build RESULTS... -o STORE")
        assert lpbf.open_dataset(target).case_ids == ("a", "b", "c")
        assert verify_store(target, deep=True) == []
        # All but what became of it is known as if it had been read.
        scratch = build(found, rules(LOOSER), output=tmp_path / "scratch.zarr").catalog
        told = ["status", "reason", "failure", "split"]
        pd.testing.assert_frame_equal(catalog.drop(columns=told), scratch.drop(columns=told))

    def test_what_is_not_stored_is_counted(self, build, old, rules, target, with_report):
        catalog = build([], rules(LOOSER), sources=[StoreSource(old)]).catalog
        remark = "the rules would keep them: build from the results again"
        assert summary(catalog) == [
            "kept 3 of 6 cases, 3 failed",
            "  1 failed: duplicate_case",
            "  1 failed: truncated_file",
            f"  1 failed: not_stored ({remark})",
        ]
        assert "1 of them the rules would keep" in (target / "report.html").read_text()
        assert r"not\_stored (1)" in (target / "README.md").read_text()

    def test_what_was_not_stored_is_judged_anew(self, build, old, rules, target, tmp_path, files):
        """Whatever rules a store was filtered by in between, the first ones give the first store."""
        build([], rules(LOOSER), sources=[StoreSource(old)])
        build([], sources=[StoreSource(target)], output=tmp_path / "again.zarr")
        assert files(tmp_path / "again.zarr") == files(old)

    def test_what_is_not_stored_is_read_where_the_results_are(
        self, build, old, found, rules, target, reads, files
    ):
        build([], rules(LOOSER), sources=[StoreSource(old)])
        build(found, rules(STRICTER))
        assert reads() == ["broken"]
        build([], rules(LOOSER), sources=[StoreSource(old)])
        build(found, rules(LOOSER))
        assert sorted(reads()) == ["broken", "stressed"]
        assert lpbf.open_dataset(target).case_ids == ("a", "b", "c", "stressed")

    def test_splits_are_those_of_the_store(self, old):
        table = lpbf.open_dataset(old).case_table
        assert StoreSource(old).splits == table["split"].to_dict()
        assert set(StoreSource(old).splits) == {"a", "b", "c"}

    def test_a_duplicate_that_sorts_first_hides_nothing(self, build, case, target, tmp_path, files):
        build([case("a", location="z"), case("a", location="b")], output=tmp_path / "old.zarr")
        build([], sources=[StoreSource(tmp_path / "old.zarr")])
        catalog = lpbf.open_dataset(target).catalog()
        assert statuses(catalog) == {"a@b": "failed", "a@z": "kept"}

    def test_raw_cases_beside_it(self, build, old, logged, target, reads, found, files, tmp_path):
        extra = logged("d", length=3)
        build([extra], sources=[StoreSource(old)])
        assert reads() == ["d"]
        build([*found, extra], output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    def test_two_stores_are_merged(self, build, old, found, case, target, files, tmp_path):
        others = [case("e", length=6), case("f", length=7), replace(found[0], location="once more")]
        build(others, output=tmp_path / "others.zarr")
        build([], sources=[StoreSource(old), StoreSource(tmp_path / "others.zarr")])
        assert lpbf.open_dataset(target).case_ids == ("a", "b", "c", "e", "f")
        again = lpbf.open_dataset(target).catalog().query("location == 'once more'").iloc[0]
        assert again.reason == "duplicate_case: also found at memory"
        build([*found, *others], output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    def test_fields_that_all_have(self, build, case, old, target, tmp_path):
        build([case("rich")], BuildOptions(fields="all"), output=tmp_path / "rich.zarr")
        rich = StoreSource(tmp_path / "rich.zarr")
        build([], sources=[rich, StoreSource(old)])
        assert "cauchy_stress" not in lpbf.open_dataset(target).variables
        build([], BuildOptions(fields="all"), sources=[rich, StoreSource(old)])
        assert "cauchy_stress" not in lpbf.open_dataset(target).variables
        build([], BuildOptions(fields="all"), sources=[rich])
        assert "cauchy_stress" in lpbf.open_dataset(target).variables

    def test_one_that_was_built_otherwise_is_refused(self, build, old):
        options = BuildOptions(sdf_surface="stl")
        with pytest.raises(
            SourceError, match=r"old\.zarr holds .* distances to the mesh .* build from the raw"
        ):
            build([], options, sources=[StoreSource(old)])

    def test_one_that_is_damaged_is_refused(self, build, old, target):
        source = StoreSource(old)
        shard = old / "sdf" / "c" / "0"
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.raises(SourceError, match=r"sdf/c/0 is not as it was written; see lpbf-verify"):
            build([], sources=[source])
        (old / "checksums.json").unlink()
        with pytest.raises(SourceError, match="has no checksums"):
            build([], sources=[source])
        assert not target.exists()

    def test_none_is_refused(self, tmp_path):
        with pytest.raises(SourceError, match=r"there is no .*none\.zarr"):
            StoreSource(tmp_path / "none.zarr")

    def test_one_that_was_not_built_is_refused(self, tmp_path, synthetic_case):
        from lpbf_dataset.store.writer import StoreWriter

        with StoreWriter(tmp_path / "written.zarr", ()) as writer:
            writer.append(synthetic_case(1, 1, 1))
            writer.finish({"case_111_0": "train"}, pd.DataFrame({"case_id": ["case_111_0"]}))
        with pytest.raises(SourceError, match="does not say how it was built"):
            StoreSource(tmp_path / "written.zarr")


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(build, found, old, rules, target, files, tmp_path):
    with open_engine(workers=2) as engine:
        build(found, engine=engine)
        assert files(target) == files(old)
        build([], rules(STRICTER), sources=[StoreSource(old)], output=tmp_path / "two.zarr", engine=engine)
    build([], rules(STRICTER), sources=[StoreSource(old)], output=tmp_path / "one.zarr")
    assert files(tmp_path / "two.zarr") == files(tmp_path / "one.zarr")


def test_a_store_that_moved_is_still_a_source(build, old, target, tmp_path):
    shutil.move(old, tmp_path / "moved.zarr")
    build([], sources=[StoreSource(tmp_path / "moved.zarr")])
    assert len(lpbf.open_dataset(target)) == 3
