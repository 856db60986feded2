"""Builds that were killed: what the next one reads again, and that its store is the same to the byte."""

from __future__ import annotations

import importlib
import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lpbf_dataset.build import BuildOptions, build_store, documents
from lpbf_dataset.engine import open_engine
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.store.replacement import restore
from lpbf_dataset.store.verify import verify_store

CASES = 20


def run(sources, target, workers, kill_at=None, with_report=True):
    """Build a store; if asked to, kill this process when a function is called for the n-th time."""
    if not with_report:
        documents.report_html = lambda *_: "<!DOCTYPE html>\n"
    if kill_at:
        install_bomb(*kill_at)
    with open_engine(workers) as engine:
        build_store(sources, target, BuildOptions(), engine)


def install_bomb(owner, name, calls):
    module, _, cls = owner.partition(":")
    holder = importlib.import_module(module)
    holder = getattr(holder, cls) if cls else holder
    function, count = getattr(holder, name), 0

    def explode(*args, **kwargs):
        nonlocal count
        count += 1
        if count == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(holder, name, explode)


@pytest.fixture
def start(forkserver):
    """Return a function that starts `run` in a process of its own."""
    started = []

    def begin(*arguments):
        process = forkserver.Process(target=run, args=arguments)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join()


def mixed(make):
    """Twenty cases, among them one that is rejected, one that fails and a duplicate."""
    failure = CaseError(FailureReason.TRUNCATED_FILE, "x.geo ends early")
    cases = [
        make(f"case{i:02}", length=1 + i % 7, stress=100.0 + i, design_id=f"design{i // 2}")
        for i in range(CASES - 3)
    ]
    cases += [make("stressed", stress=2500.0), make("broken", error=failure)]
    return [*cases, replace(cases[0], location="elsewhere")]


@pytest.fixture
def found(logged):
    return mixed(logged)


@pytest.fixture
def sources(source, found):
    return [source(found)]


@pytest.fixture(scope="module")
def expected(fakes, tmp_path_factory):
    """Return a store that was built without interruption, as everywhere here without figures."""
    target = tmp_path_factory.mktemp("expected") / "s.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "report_html", lambda *_: "<!DOCTYPE html>\n")
        build_store([fakes.FakeSource(mixed(fakes.FakeCase))], target, BuildOptions())
    return target


@pytest.fixture(scope="module")
def expected_with_report(fakes, tmp_path_factory):
    """Return the same with the whole report."""
    target = tmp_path_factory.mktemp("expected") / "s.zarr"
    build_store([fakes.FakeSource(mixed(fakes.FakeCase))], target, BuildOptions())
    return target


def check_finished(target, expected, files):
    assert files(target) == files(expected)
    assert [path.name for path in target.parent.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize(
    ("owner", "name", "calls", "read_before"),
    [
        ("lpbf_dataset.build.extraction", "spool_case", 7, 7),
        ("lpbf_dataset.store.assemble", "write_shard", 4, CASES - 1),
        ("lpbf_dataset.build.documents", "report_html", 1, CASES - 1),
        ("lpbf_dataset.store.replacement:Replacement", "commit", 1, CASES - 1),
        ("lpbf_dataset.store.replacement:Replacement", "clear_spool", 1, CASES - 1),
    ],
)
def test_a_build_killed_at_a_certain_point_goes_on(
    owner, name, calls, read_before, start, sources, target, expected, files, reads
):
    process = start(sources, target, 1, (owner, name, calls), False)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert target.exists() == (name == "clear_spool")
    assert len(reads()) == read_before
    run(sources, target, 1)
    # The seventh case is read again, as its file was not yet written, and the one that fails always.
    assert len(reads()) == (CASES - 1 - 6 if name == "spool_case" else 1)
    check_finished(target, expected, files)


def test_the_earlier_store_survives_the_moment_between_two_renames(
    start, build, case, sources, target, expected, files
):
    build([case("earlier")])
    earlier = files(target)
    process = start(sources, target, 1, ("pathlib:Path", "rename", 2), False)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not target.exists()
    restore(target)
    assert files(target) == earlier
    run(sources, target, 1)
    check_finished(target, expected, files)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills", "longest"), [(1, 8, 2.5), (2, 2, 8.0)])
def test_a_build_killed_at_any_moment_goes_on(
    workers, kills, longest, start, sources, target, expected_with_report, files, reads, with_report
):
    chosen = random.Random(workers)  # noqa: S311
    for _ in range(kills):
        process = start(sources, target, workers)
        process.join(chosen.uniform(0, longest))
        process.kill()
        process.join()
        assert not target.exists() or files(target) == files(expected_with_report)
    run(sources, target, 1)
    check_finished(target, expected_with_report, files)
    assert verify_store(target, deep=True) == []
    # A killed worker loses the case it is at; the one that fails is looked into each time.
    assert len(reads()) <= CASES - 1 + kills * (workers + 1)


def test_what_changed_is_read_again_and_nothing_else(build, found, target, reads, files, tmp_path):
    build(found)
    reads()
    changed = [replace(case, stress=777.0) if case.case_id == "case03" else case for case in found]
    build(changed)
    assert sorted(reads()) == ["broken", "case03"]
    build(changed, output=tmp_path / "scratch.zarr")
    assert files(target) == files(tmp_path / "scratch.zarr")


def test_what_changed_after_a_kill_is_read_again(
    start, sources, found, build, target, reads, files, tmp_path
):
    start(sources, target, 1, ("lpbf_dataset.store.assemble", "write_shard", 1), False).join()
    reads()
    changed = [replace(case, stress=777.0) if case.case_id == "case03" else case for case in found]
    build(changed)
    assert sorted(reads()) == ["broken", "case03"]
    build(changed, output=tmp_path / "scratch.zarr")
    check_finished(target, tmp_path / "scratch.zarr", files)


@pytest.mark.parametrize("options", [BuildOptions(fields="all"), BuildOptions(sdf_surface="stl")])
def test_other_arrays_are_made_anew(options, logged, build, box_part, reads):
    found = [logged(name, part=box_part, length=2) for name in "abc"]
    build(found)
    reads()
    build(found, options)
    assert sorted(reads()) == ["a", "b", "c"]


@pytest.mark.parametrize("options", [BuildOptions(split="random"), BuildOptions()])
def test_another_split_reads_nothing(options, found, build, reads):
    found = [case for case in found if case.case_id != "broken"]
    build(found)
    reads()
    build(found, options)
    assert reads() == []


def test_what_a_killed_build_left_is_cleared_away(build, case, target):
    build([case("a")])
    for role in ("partial", "scratch", "cases"):
        (target.parent / f".s.zarr.{role}").mkdir()
        (target.parent / f".s.zarr.{role}" / "remnant").touch()
    Path(target.parent / ".s.zarr.lock").touch()
    build([case("a"), case("b")])
    assert [path.name for path in target.parent.iterdir()] == ["s.zarr"]


def test_a_spooled_file_that_is_no_longer_whole_is_made_anew(start, sources, target, expected, files, reads):
    start(sources, target, 1, ("lpbf_dataset.store.assemble", "write_shard", 1), False).join()
    reads()
    first, second, *_ = sorted((target.parent / ".s.zarr.cases").glob("*.safetensors"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:100])
    run(sources, target, 1)
    assert len(reads()) == 3
    check_finished(target, expected, files)
