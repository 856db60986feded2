from __future__ import annotations

import errno
import os
import pickle
import shutil
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lpbf_dataset.sources.base import CaseError, FailureReason, SourceError
from lpbf_dataset.sources.ensight import Geometry, Part, write_geometry, write_variable
from lpbf_dataset.sources.netfabb import NetfabbCase, NetfabbSource, write_results
from lpbf_dataset.sources.netfabb.layout import RESULT_NAMES

from .conftest import KINDS, LOG, column_of_cubes, make_steps, write_small_case

if TYPE_CHECKING:
    from pathlib import Path


def only_case(path: Path) -> NetfabbCase:
    (case,) = NetfabbSource(path).cases()
    return case


def assert_same_steps(steps, expected) -> None:
    for step, other in zip(steps, expected, strict=True):
        assert (step.number, step.kind, step.time) == (other.number, other.kind, other.time)
        np.testing.assert_array_equal(step.points, other.points, strict=True)
        np.testing.assert_array_equal(step.cells, other.cells, strict=True)
        assert step.fields.keys() == other.fields.keys()
        for name, values in step.fields.items():
            np.testing.assert_array_equal(values, other.fields[name], strict=True, err_msg=name)


def failure_of(case: NetfabbCase) -> CaseError:
    with pytest.raises(CaseError) as caught:
        case.final_step()
    assert "\n" not in caught.value.detail
    return caught.value


class TestRealRun:
    def test_final_step(self, step2):
        case = only_case(step2)
        assert case.case_id == "step2"
        assert case.design_id == "20163_3742f394"
        step = case.final_step()
        assert (step.number, step.kind) == (8, "removed")
        assert step.points.shape == (3227, 3)
        assert step.cells.shape == (1408, 8)
        assert step.points[:, 2].min() == 0
        assert set(step.fields) == set(RESULT_NAMES)

    def test_every_step_has_its_own_state_and_mesh(self, step2):
        steps = only_case(step2).steps(["displacement"])
        kinds = ["deposited", "dwelt"] * 3 + ["cooled", "removed"]
        assert [step.kind for step in steps] == kinds
        assert [len(step.points) for step in steps] == [1836] * 2 + [3261] * 2 + [3769] * 3 + [3227]
        assert len({step.fields["displacement"].tobytes() for step in steps}) == 8
        assert all(list(step.fields) == ["displacement"] for step in steps)

    def test_von_mises_stress_follows_from_the_tensor(self, step2):
        step = only_case(step2).final_step(["cauchy_stress", "von_mises_stress"])
        xx, yy, zz, xy, xz, yz = step.fields["cauchy_stress"].T.astype(np.float64)
        expected = np.sqrt(
            ((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2) / 2 + 3 * (xy**2 + xz**2 + yz**2)
        )
        np.testing.assert_allclose(step.fields["von_mises_stress"], expected, rtol=1e-5)

    def test_surface(self, step2):
        surface = only_case(step2).surface()
        assert surface.triangles.shape == (942, 3, 3)
        assert surface.name == "20163_3742f394_3_tivus.stl"

    def test_zipped_and_unpacked_are_the_same_case(self, step2, tmp_path, pack):
        zipped = only_case(pack(step2, tmp_path / "a.zip", "SandBox/step2/"))
        unpacked = only_case(step2)
        assert zipped.case_id == unpacked.case_id
        assert zipped.content_hash() == unpacked.content_hash()
        assert_same_steps(zipped.steps(), unpacked.steps())

    def test_case_file_beside_the_results(self, step2, tmp_path):
        # That one names "results/...", with the same contents otherwise.
        folder = shutil.copytree(step2, tmp_path / "step2", copy_function=shutil.copyfile)
        folder.chmod(0o755)
        (folder / "results").chmod(0o755)
        for name in ("step2_mechanical.case", "step2_mechanical_f.case"):
            (folder / "results" / name).unlink()
        assert_same_steps(only_case(folder).steps(), only_case(step2).steps())


class TestLayouts:
    def test_one_unpacked_case(self, small_case):
        case = only_case(small_case)
        assert case.case_id == "case_a"
        assert_same_steps(case.steps(), make_steps())
        assert_same_steps([case.final_step()], make_steps()[-1:])
        assert case.surface().name == "part.stl"

    def test_folder_of_cases_and_zips(self, small_case, tmp_path, pack):
        write_small_case(small_case.parent / "case_b", 1)
        pack(write_small_case(tmp_path / "other" / "c", 2), small_case.parent / "case_c.zip")
        source = NetfabbSource(small_case.parent)
        assert [case.case_id for case in source.cases()] == ["case_a", "case_b", "case_c"]
        for seed, case in enumerate(source.cases()):
            assert_same_steps(case.steps(), make_steps(seed))

    def test_zip_of_many_cases(self, small_case, tmp_path, pack):
        write_small_case(small_case.parent / "case_b", 1)
        source = NetfabbSource(pack(small_case.parent, tmp_path / "a.zip", "SandBox/"))
        assert [case.case_id for case in source.cases()] == ["case_a", "case_b"]
        assert next(source.cases()).location.endswith("a.zip!SandBox/case_a")
        for seed, case in enumerate(source.cases()):
            assert_same_steps(case.steps(), make_steps(seed))

    def test_zip_of_one_case_at_its_top(self, small_case, tmp_path, pack):
        case = only_case(pack(small_case, tmp_path / "21477_babb9c34_4.zip"))
        assert case.case_id == "21477_babb9c34_4"
        assert case.design_id == "21477_babb9c34"
        assert_same_steps(case.steps(), make_steps())

    def test_windows_names_in_the_zip_and_in_the_case_file(self, small_case, tmp_path):
        file = small_case / "results" / "mechanical.case"
        file.write_text(file.read_text().replace("./", ".\\"))
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as stream:
            for member in small_case.rglob("*.*"):
                name = "SandBox\\case_a\\" + str(member.relative_to(small_case)).replace("/", "\\")
                stream.writestr(name, member.read_bytes())
        assert_same_steps(only_case(path).steps(), make_steps())

    def test_prefixed_names(self, small_case):
        for file in [*small_case.glob("results/*"), small_case / "mechanical.out"]:
            file.rename(file.with_name(f"case_a_{file.name}"))
        file = small_case / "results" / "case_a_mechanical.case"
        file.write_text(file.read_text().replace("./", "./case_a_"))
        assert_same_steps(only_case(small_case).steps(), make_steps())

    def test_files_of_other_analyses_are_ignored(self, small_case):
        before = only_case(small_case).content_hash()
        for name in ("mechanical_f.case", "mechanical_mesh_geom.case", "thermal.case", "mechanical0.geo"):
            (small_case / "results" / name).write_text("not of this analysis")
        assert only_case(small_case).content_hash() == before
        assert_same_steps(only_case(small_case).steps(), make_steps())

    def test_templates_above_the_cases_are_no_case(self, small_case):
        (small_case.parent / "mechanical.in").write_text("template")
        assert only_case(small_case.parent).case_id == "case_a"

    @pytest.mark.parametrize("make", ["missing", "text", "empty folder", "zip without a case"])
    def test_no_source_at_all(self, tmp_path, make):
        path = tmp_path / "x"
        if make == "text":
            path.write_text("nothing of the kind")
        elif make == "empty folder":
            path.mkdir()
        elif make == "zip without a case":
            with zipfile.ZipFile(path, "w") as stream:
                stream.writestr("readme.txt", "hello")
        with pytest.raises(SourceError, match="x: ") as caught:
            NetfabbSource(path)
        assert "\n" not in str(caught.value)


class TestFields:
    def test_only_what_is_asked_for_is_read(self, small_case):
        for file in (small_case / "results").glob("*.ens"):
            if ".dis." not in file.name:
                file.unlink()
        step = only_case(small_case).final_step(["displacement"])
        assert list(step.fields) == ["displacement"]

    def test_final_step_reads_no_other_step(self, small_case):
        for number in range(1, 6):
            for file in (small_case / "results").glob(f"mechanical00_{number}.*"):
                file.write_bytes(b"broken")
        for number in range(1, 4):
            (small_case / "results" / f"mechanical_{number}.geo").unlink()
        assert_same_steps([only_case(small_case).final_step()], make_steps()[-1:])

    def test_unknown_field(self, small_case):
        with pytest.raises(ValueError, match="no nodal field stress; there are displacement"):
            only_case(small_case).final_step(["stress"])

    def test_optional_field_the_run_has_not(self, small_case):
        file = small_case / "results" / "mechanical.case"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if "Recoater" not in line))
        assert "recoater_status" not in only_case(small_case).final_step().fields
        with pytest.raises(CaseError, match="no result recoater_status") as caught:
            only_case(small_case).final_step(["recoater_status"])
        assert caught.value.reason is FailureReason.MISSING_FILE


def edit_case_file(folder: Path, old: str, new: str) -> None:
    file = folder / "results" / "mechanical.case"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def drop_last_result(folder: Path) -> None:
    edit_case_file(folder, "number of steps: 6", "number of steps: 5")
    edit_case_file(folder, "           6\n", "")
    edit_case_file(folder, "  6.0000000000000000E+01\n", "")


def truncate(folder: Path, name: str) -> None:
    file = folder / "results" / name
    file.write_bytes(file.read_bytes()[:-10])


def overwrite_with(folder: Path, name: str, value: float) -> None:
    file = folder / "results" / name
    file.write_bytes(file.read_bytes()[:-4] + np.float32(value).tobytes())


def write_tetrahedron(folder: Path) -> None:
    points, _ = column_of_cubes(1)
    part = Part(points, {"tetra4": np.array([[0, 1, 2, 4]], np.int32)})
    write_geometry(folder / "results" / "mechanical_4.geo", Geometry((part,)))


def link_outside(folder: Path) -> None:
    file = folder / "results" / "mechanical00_6.dis.ens"
    file.rename(folder.parent / "secret")
    file.symlink_to(folder.parent / "secret")


def unlink(folder: Path, name: str) -> None:
    (folder / name).unlink()


BREAKAGES = {
    "no case file": (lambda f: unlink(f, "results/mechanical.case"), "NO_CASE_FILE"),
    "no results": (lambda f: shutil.rmtree(f / "results"), "NO_CASE_FILE"),
    "terminated": (
        lambda f: (f / "mechanical.out").write_bytes("Maß\nAnalysis terminated\n".encode("latin-1") + LOG),
        "ANALYSIS_TERMINATED",
    ),
    "unfinished": (lambda f: (f / "mechanical.out").write_bytes(LOG[:-60]), "ANALYSIS_UNFINISHED"),
    "empty log": (lambda f: (f / "mechanical.out").write_bytes(b""), "ANALYSIS_UNFINISHED"),
    "only the estimate finished": (
        lambda f: (f / "mechanical.out").write_bytes(LOG + LOG[:-60]),
        "ANALYSIS_UNFINISHED",
    ),
    "odd number of results": (drop_last_result, "INCONSISTENT_STEPS"),
    "times do not match": (
        lambda f: edit_case_file(f, "  3.0000000000000000E+01\n", "  2.5000000000000000E+01\n"),
        "INCONSISTENT_STEPS",
    ),
    "times go back": (
        lambda f: edit_case_file(f, "  3.0000000000000000E+01\n", "  0.5000000000000000E+01\n"),
        "INCONSISTENT_STEPS",
    ),
    "time is no number": (
        lambda f: edit_case_file(f, "  3.0000000000000000E+01\n", "nan\n"),
        "INCONSISTENT_STEPS",
    ),
    "time is infinite": (
        lambda f: edit_case_file(f, "  6.0000000000000000E+01\n", "inf\n"),
        "INCONSISTENT_STEPS",
    ),
    "one file for two steps": (
        lambda f: edit_case_file(f, "           6\n", "           5\n"),
        "INCONSISTENT_STEPS",
    ),
    "one file for all steps": (lambda f: edit_case_file(f, "00_*.dis", "00_6.dis"), "INCONSISTENT_STEPS"),
    "one geometry": (
        lambda f: edit_case_file(f, "model: 2 ./mechanical_*", "model: x"),
        "INCONSISTENT_STEPS",
    ),
    "case file of another kind": (
        lambda f: edit_case_file(f, "ensight gold", "ensight"),
        "MALFORMED_FILE",
    ),
    "field of another kind": (
        lambda f: edit_case_file(f, "vector per node: 1 Displ", "scalar per node: 1 Displ"),
        "MALFORMED_FILE",
    ),
    "no displacement": (lambda f: edit_case_file(f, ".dis.ens", ".xyz.ens"), "MISSING_FILE"),
    "geometry missing": (lambda f: unlink(f, "results/mechanical_4.geo"), "MISSING_FILE"),
    "field missing": (lambda f: unlink(f, "results/mechanical00_6.svm.ens"), "MISSING_FILE"),
    "geometry truncated": (lambda f: truncate(f, "mechanical_4.geo"), "TRUNCATED_FILE"),
    "field truncated": (lambda f: truncate(f, "mechanical00_6.sig.ens"), "TRUNCATED_FILE"),
    "field empty": (
        lambda f: (f / "results" / "mechanical00_6.sig.ens").write_bytes(b""),
        "TRUNCATED_FILE",
    ),
    "field not a number": (lambda f: overwrite_with(f, "mechanical00_6.tmp.ens", np.nan), "MALFORMED_FILE"),
    "field infinite": (lambda f: overwrite_with(f, "mechanical00_6.tmp.ens", -np.inf), "MALFORMED_FILE"),
    "field of another mesh": (
        lambda f: shutil.copy(f / "results/mechanical00_5.tmp.ens", f / "results/mechanical00_6.tmp.ens"),
        "MALFORMED_FILE|TRUNCATED_FILE",
    ),
    "other cells": (write_tetrahedron, "MALFORMED_FILE"),
    "reference outside": (lambda f: edit_case_file(f, "./mechanical00_", "../../secret_"), "UNSAFE_ARCHIVE"),
    "absolute reference": (lambda f: edit_case_file(f, "./mechanical00_", "/etc/passwd_"), "UNSAFE_ARCHIVE"),
}
if sys.platform != "win32":
    BREAKAGES["link outside"] = (link_outside, "UNSAFE_ARCHIVE")


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_bad_case_has_a_typed_reason_and_stops_no_other(small_case, tmp_path, pack, name):
    breakage, reasons = BREAKAGES[name]
    write_small_case(small_case.parent / "case_b", 1)
    breakage(small_case)
    sources = [small_case.parent]
    if name != "link outside":  # packing follows the link
        sources.append(pack(small_case.parent, tmp_path / "a.zip"))
    for source in sources:
        bad, good = NetfabbSource(source).cases()
        assert bad.case_id == "case_a"
        error = failure_of(bad)
        assert error.reason.name in reasons.split("|")
        assert "case_a" in error.detail
        assert_same_steps(good.steps(), make_steps(1))


def test_log_is_not_required(small_case):
    (small_case / "mechanical.out").unlink()
    assert_same_steps(only_case(small_case).steps(), make_steps())


def test_log_of_two_runs_that_both_ended(small_case):
    (small_case / "mechanical.out").write_bytes("Größe µm\n".encode("latin-1") + LOG + LOG)
    assert_same_steps(only_case(small_case).steps(), make_steps())


def test_a_folder_with_a_part_beside_a_case_is_a_failed_case(small_case):
    (small_case.parent / "case_0").mkdir()
    (small_case.parent / "case_0" / "test.stl").write_bytes(b"")
    failed, _ = NetfabbSource(small_case.parent).cases()
    assert failed.case_id == "case_0"
    assert failure_of(failed).reason is FailureReason.NO_CASE_FILE


def test_a_broken_zip_stops_no_other(small_case):
    (small_case.parent / "case_0.zip").write_bytes(b"PK broken")
    good, bad = NetfabbSource(small_case.parent).cases()
    assert bad.case_id == "case_0"
    assert failure_of(bad).reason is FailureReason.MALFORMED_FILE
    assert_same_steps(good.steps(), make_steps())


def test_an_archive_of_another_kind_beside_cases_is_a_failed_case(small_case):
    (small_case.parent / "case_0.7z").write_bytes(b"7z\xbc\xaf\x27\x1c, corrupt")
    good, bad = NetfabbSource(small_case.parent).cases()
    assert (bad.case_id, bad.source) == ("case_0", "unknown")
    error = failure_of(bad)
    assert error.reason is FailureReason.UNSUPPORTED_FORMAT
    assert error.detail.endswith(
        "case_0.7z: only zip archives are read; unpack it, or pack its contents into a zip"
    )
    assert_same_steps(good.steps(), make_steps())


def test_an_archive_of_another_kind_by_itself_is_no_case(tmp_path):
    (tmp_path / "parts.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="holds no Netfabb case"):
        NetfabbSource(tmp_path)
    with pytest.raises(SourceError, match=r"parts\.tar\.gz: only zip archives are read"):
        NetfabbSource(tmp_path / "parts.tar.gz")


def test_a_source_that_cannot_be_told_is_no_error(small_case, tmp_path, pack, monkeypatch):
    zipped, unpacked = only_case(pack(small_case, tmp_path / "a.zip")), only_case(small_case)
    zipped.path.write_bytes(b"PK broken")
    assert zipped.source == "unknown"

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    assert unpacked.source == "netfabb"
    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    assert unpacked.source == "unknown"


@pytest.mark.parametrize("prefix", ["../evil/", "/evil/", "x/../../evil/", "C:\\evil\\"])
def test_member_names_that_escape_fail_their_case_alone(small_case, tmp_path, pack, prefix):
    archive = pack(small_case, tmp_path / "a.zip", "SandBox/good/")
    pack(small_case, archive, prefix)
    before = {path for path in tmp_path.rglob("*") if "evil" in path.name}
    reasons = {}
    for case in NetfabbSource(archive).cases():
        try:
            case.steps()
        except CaseError as error:
            reasons[case.case_id] = error.reason
    assert reasons == {"evil": FailureReason.UNSAFE_ARCHIVE}
    assert {path for path in tmp_path.rglob("*") if "evil" in path.name} == before


def test_a_member_that_escapes_from_a_case_folder(small_case, tmp_path, pack):
    archive = pack(small_case, tmp_path / "a.zip", "SandBox/case_a/")
    with zipfile.ZipFile(archive, "a") as stream:
        stream.writestr("SandBox/case_a/results/../../../../x", "x")
    assert failure_of(only_case(archive)).reason is FailureReason.UNSAFE_ARCHIVE


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", FailureReason.MALFORMED_FILE),
        (b"solid x", FailureReason.TRUNCATED_FILE),
        (b"\xff" * 100, FailureReason.TRUNCATED_FILE),
    ],
    ids=["empty", "text", "binary"],
)
def test_bad_surface(small_case, contents, reason):
    (small_case / "part.stl").write_bytes(contents)
    with pytest.raises(CaseError, match=r"part\.stl: ") as caught:
        only_case(small_case).surface()
    assert caught.value.reason is reason


def test_no_surface(small_case):
    (small_case / "part.stl").unlink()
    assert only_case(small_case).surface() is None


def test_content_hash_follows_the_files_that_matter(small_case):
    case = only_case(small_case)
    before = case.content_hash()
    (small_case / "notes.txt").write_text("does not matter")
    assert case.content_hash() == before
    overwrite_with(small_case, "mechanical00_2.dis.ens", 7.0)
    assert case.content_hash() != before


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_cases_travel_to_worker_processes(small_case, tmp_path, pack, method):
    if method == "fork" and sys.platform in {"win32", "darwin"}:
        pytest.skip("no safe fork here")
    archive = pack(small_case, tmp_path / "a.zip", "SandBox/case_a/")
    pack(write_small_case(tmp_path / "b", 1), archive, "SandBox/case_b/")
    cases = list(NetfabbSource(archive).cases())
    here = [case.final_step() for case in cases]
    assert pickle.loads(pickle.dumps(cases)) == cases  # noqa: S301
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        there = list(pool.map(methodcaller("final_step"), cases * 4))
    assert_same_steps(there, here * 4)


def test_ascii_results(small_case):
    for number, (kind, step) in enumerate(zip(KINDS, make_steps(), strict=True), start=1):
        geometry = Geometry((Part(step.points, {"hexa8": step.cells}),))
        if kind != "dwelt":
            geometry_number = {1: 1, 3: 2, 5: 3, 6: 4}[number]
            write_geometry(
                small_case / "results" / f"mechanical_{geometry_number}.geo", geometry, encoding="ascii"
            )
        for name, values in step.fields.items():
            file = small_case / "results" / f"mechanical00_{number}.{RESULT_NAMES[name].extension}.ens"
            write_variable(file, name, geometry, {1: values}, encoding="ascii")
    for step, expected in zip(only_case(small_case).steps(), make_steps(), strict=True):
        np.testing.assert_array_equal(step.cells, expected.cells)
        for name, values in step.fields.items():
            np.testing.assert_allclose(values, expected.fields[name], rtol=6e-6)


def test_writing_steps_with_different_fields_is_refused(tmp_path):
    steps = make_steps()
    del steps[3].fields["temperature"]
    with pytest.raises(ValueError, match="step 4 has fields"):
        write_results(tmp_path, steps)
    with pytest.raises(ValueError, match="no steps"):
        write_results(tmp_path, [])
