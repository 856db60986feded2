"""What goes wrong with cases, processes and disks, and what is left of a build then."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import time
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, build_store, extraction, pipeline
from lpbf_dataset.engine import open_engine
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.store import assemble, replacement
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.verify import verify_store


def beside(target):
    """Names of what lies beside a store."""
    return sorted(path.name for path in target.parent.iterdir() if path != target)


@dataclass(frozen=True)
class Poison:
    """Takes the place of a method: what it does is done when a case is read."""

    action: str

    def __call__(self, fields=None):
        match self.action:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(1000)
            case "interrupt":
                raise KeyboardInterrupt
            case "disk":
                raise OSError(errno.EIO, "Input/output error")
            case "bug":
                raise ZeroDivisionError


@pytest.fixture
def poisoned(case):
    """Return a function that makes a case that cannot be read in a special way."""

    def make(action, method="final_step"):
        bad = case("bad")
        object.__setattr__(bad, method, Poison(action))
        return bad

    return make


class TestCases:
    @pytest.mark.parametrize("method", ["final_step", "surface", "content_hash"])
    def test_a_file_that_cannot_be_read_costs_its_case(self, build, case, poisoned, method):
        row = build([case("good"), poisoned("disk", method)]).catalog.iloc[0]
        assert row.reason == "missing_file: memory cannot be read: Input/output error"

    def test_a_bug_is_not_taken_for_a_bad_case(self, build, case, poisoned, target):
        with pytest.raises(ZeroDivisionError):
            build([case("good"), poisoned("bug")])
        assert not target.exists()

    def test_a_value_error_of_our_own_is_a_bug_too(self, build, case, monkeypatch):
        def broken(*_):
            raise ValueError("operands could not be broadcast together")

        monkeypatch.setattr("lpbf_dataset.build.reading.case_statistics", broken)
        with pytest.raises(ValueError, match="broadcast"):
            build([case("good")])

    def test_a_bad_value_costs_its_case(self, build, case):
        values = {
            ("displacement", np.nan): "malformed_file: case '0', variable 'displacement': 1 of 24",
            ("temperature", np.inf): "malformed_file: case '1', variable 'temperature': 1 of 8",
            ("points", np.nan): "invalid_mesh: ",
            ("cells", 99): "invalid_mesh: cell 0 names node 99, but the mesh has nodes 0 to 7",
            ("cells", -1): "invalid_mesh: cell 0 names node -1",
            ("cells", 7): "invalid_mesh: ",
        }
        found = [case("good")]
        for index, (name, value) in enumerate(values):
            bad = case(str(index))
            step = bad.final_step()
            {"points": step.points, "cells": step.cells, **step.fields}[name].flat[0] = value
            object.__setattr__(bad, "final_step", lambda _, step=step: step)
            found.append(bad)
        catalog = build(found, BuildOptions(rules="none")).catalog
        assert list(catalog["status"]) == ["failed"] * len(values) + ["kept"]
        for reason, start in zip(catalog["reason"], values.values(), strict=False):
            assert reason.startswith(start)

    def test_a_field_of_another_length_costs_its_case(self, build, case):
        bad = case("bad")
        step = bad.final_step()
        step.fields["displacement"] = step.fields["displacement"][:5]
        object.__setattr__(bad, "final_step", lambda fields: step)
        reason = build([bad, case("good")]).catalog["reason"].iloc[0]
        assert reason.endswith("variable 'displacement': has 5 rows, but the case has 8 nodes")

    def test_a_shape_that_is_no_number_never_reaches_the_splits(self, build, case, monkeypatch):
        monkeypatch.setattr(extraction, "shape_descriptor", lambda *_: np.full(3, np.nan))
        catalog = build([case("thin")], dry_run=True).catalog
        assert catalog["reason"].iloc[0].startswith("invalid_mesh: the part is so thin, small or large")

    def test_names_that_are_not_text_are_listed(self, build, case, target):
        undecodable = os.fsdecode(b"part\xff")
        found = [
            case("good", location=undecodable, source=f"solver {undecodable}", design_id=undecodable),
            case(undecodable),
        ]
        catalog = build(found).catalog
        assert list(catalog["case_id"]) == ["good", r"part\udcff"]
        assert catalog["reason"].iloc[1] == "malformed_file: the name is not UTF-8; rename the case"
        stored = lpbf.open_dataset(target)
        assert stored["good"].design_id == r"part\udcff"
        assert stored.catalog()["location"].iloc[0] == r"part\udcff"

    def test_odd_names_are_names_all_the_same(self, build, case, target):
        names = ["Düse 部品", "a/b", "../../escape", "line\nbreak", ".", "\x00"]
        build([case(name) for name in names])
        assert lpbf.open_dataset(target).case_ids == tuple(sorted(names))
        assert beside(target) == []

    def test_a_case_without_a_name_fails(self, build, case):
        catalog = build([case(""), case("good")]).catalog
        assert catalog["reason"].iloc[0].startswith("malformed_file: a case without a case_id")


class TestArchives:
    @pytest.fixture
    def folder(self, step2, tmp_path):
        """Return a folder of archives: one whole, one cut off, one of another kind, one that is none."""
        folder = tmp_path / "archives"
        folder.mkdir()
        with zipfile.ZipFile(folder / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(step2.rglob("*")):
                archive.write(file, file.relative_to(step2))
        whole = (folder / "whole.zip").read_bytes()
        (folder / "cut.zip").write_bytes(whole[: len(whole) // 2])
        (folder / "text.zip").write_text("no archive")
        (folder / "corrupt.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + whole[:100])
        return folder

    def test_damaged_ones_cost_their_cases(self, folder, target):
        catalog = build_store([NetfabbSource(folder)], target, BuildOptions()).catalog
        rows = catalog[["case_id", "source", "status", "failure"]].to_numpy().tolist()
        assert rows == [
            ["corrupt", "unknown", "failed", "unsupported_format"],
            ["cut", "unknown", "failed", "malformed_file"],
            ["text", "unknown", "failed", "malformed_file"],
            ["whole", "netfabb", "kept", ""],
        ]
        assert lpbf.open_dataset(target).catalog()["status"].tolist() == [*["failed"] * 3, "kept"]

    def test_a_flipped_byte_costs_its_case(self, folder, target):
        path = folder / "whole.zip"
        with zipfile.ZipFile(path) as archive:
            member = max(
                archive.infolist(), key=lambda info: info.compress_size * info.filename.endswith("geo")
            )
        damaged = bytearray(path.read_bytes())
        damaged[member.header_offset + 200] ^= 0xFF
        path.write_bytes(damaged)
        catalog = build_store([NetfabbSource(folder)], target, BuildOptions(), dry_run=True).catalog
        assert set(catalog["status"]) <= {"failed", "kept"}

    def test_one_that_vanishes_costs_its_cases(self, folder, target, build, case):
        source = NetfabbSource(folder)
        shutil.rmtree(folder)
        catalog = build([case("good")], sources=[source]).catalog
        assert dict(catalog["status"].value_counts()) == {"failed": 4, "kept": 1}


def refuse(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def build_with_small_files(sources, target, limit, outcome):
    """Build in a process that may write no file above a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        build_store(sources, target, BuildOptions())
    except StoreError as error:
        outcome.send(str(error))
    else:
        outcome.send("")


class TestDisk:
    @pytest.mark.parametrize(
        ("place", "work_is_kept"),
        [
            ("lpbf_dataset.store.case_rows.save_file", False),
            ("zarr.storage._local._atomic_write", True),
            ("lpbf_dataset.build.pipeline.write_manifest", True),
            ("pathlib.Path.rename", True),
        ],
    )
    def test_one_that_is_full_costs_no_work(
        self, place, work_is_kept, build, case, logged, target, files, reads, monkeypatch
    ):
        build([case("earlier")])
        before, found = files(target), [logged("a"), logged("b")]
        with monkeypatch.context() as patch:
            patch.setattr(place, refuse)
            with pytest.raises(StoreError, match="No space left on device") as caught:
                build(found)
        assert "\n" not in str(caught.value)
        assert files(target) == before
        assert beside(target) == ([".s.zarr.cases"] if work_is_kept else [])
        reads()
        build(found)
        assert reads() == ([] if work_is_kept else ["a", "b"])
        assert beside(target) == []

    @pytest.mark.parametrize("limit", [500, 30_000])
    def test_the_same_of_a_real_limit(
        self, limit, forkserver, build, source, case, target, files, with_report
    ):
        build([case("earlier")])
        before = files(target)
        found = [case(f"case{i}", length=20 + i) for i in range(12)]
        receiver, sender = forkserver.Pipe(duplex=False)
        process = forkserver.Process(
            target=build_with_small_files, args=([source(found)], target, limit, sender)
        )
        process.start()
        message = receiver.recv()
        process.join()
        assert message.startswith("cannot write")
        assert "File too large" in message
        assert "\n" not in message
        assert files(target) == before
        assert build(found).catalog["status"].eq("kept").all()
        assert beside(target) == []

    def test_a_target_in_a_file_is_refused(self, build, case, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match=r"cannot write a store at .*: File exists"):
            build([case("a")], output=tmp_path / "file" / "s.zarr")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_may_not_be_written_is_refused(self, build, case, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(StoreError, match="Permission denied"):
            build([case("a")], output=tmp_path / "s.zarr")
        tmp_path.chmod(0o700)


@pytest.fixture(scope="module")
def engine():
    with open_engine(workers=2) as engine:
        yield engine


class TestProcesses:
    def test_two_builds_of_one_store(self, build, case, target, monkeypatch):
        messages = []

        def meanwhile(*arguments, **more):
            with pytest.raises(StoreError, match="another process is writing") as caught:
                build([case("second")])
            messages.append(str(caught.value))
            return assembled(*arguments, **more)

        assembled = assemble.assemble
        monkeypatch.setattr(pipeline, "assemble", meanwhile)
        build([case("first")])
        assert len(messages) == 1
        assert "\n" not in messages[0]
        assert lpbf.open_dataset(target).case_ids == ("first",)
        assert beside(target) == []

    def test_an_interruption_keeps_the_work(self, build, logged, poisoned, target, reads, files):
        with pytest.raises(KeyboardInterrupt):
            build([logged("a"), poisoned("interrupt")])
        assert not target.exists()
        assert beside(target) == [".s.zarr.cases"]
        build([logged("a")])
        assert reads() == ["a"]
        assert beside(target) == []

    @pytest.mark.slow
    def test_a_worker_that_dies_fails_its_case_alone(self, engine, build, case, poisoned, target):
        catalog = build([poisoned("die"), case("good"), case("fine")], engine=engine).catalog
        assert list(catalog["failure"]) == ["worker_died", "", ""]
        assert lpbf.open_dataset(target).case_ids == ("fine", "good")
        assert beside(target) == []

    @pytest.mark.slow
    def test_a_case_that_hangs_fails_alone(self, build, case, poisoned, target):
        with open_engine(workers=1, timeout=100.0) as engine:
            build([case("good")], engine=engine)
            # Only now, as the worker has all imported.
            engine._timeout = 1.5
            catalog = build([case("good"), case("fine"), poisoned("hang")], engine=engine).catalog
        assert list(catalog["failure"]) == ["timed_out", "", ""]
        # Its worker was still starting again when the shards were due, which are written all the same.
        assert verify_store(target, deep=True) == []
        assert lpbf.open_dataset(target).case_ids == ("fine", "good")

    @pytest.mark.slow
    def test_a_full_disk_in_a_worker_is_one_line_too(self, engine, build, case, target, monkeypatch):
        monkeypatch.setattr(replacement.Replacement, "create_spool", lambda self: self.spool.touch())
        with pytest.raises(StoreError, match=r"cannot write .*cases/.*Not a directory"):
            build([case("a")], engine=engine)
        assert not target.exists()
