from __future__ import annotations

import errno
import os
import shutil
import sys
import zipfile

import fsspec
import numpy as np
import pytest
import xarray as xr
import yaml
from fsspec.config import conf

import lpbf_dataset as lpbf
from lpbf_dataset.hub import HubRepo
from lpbf_dataset.sources.base import SourceError
from lpbf_dataset.store.remote import publish
from lpbf_dataset.store.verify import verify_store
from pipelines import build, info, verify
from pipelines.sources import find_sources


def exit_code(main, *arguments) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


@pytest.fixture(autouse=True)
def _no_figures(request, monkeypatch):
    """Leave out the report, whose figures take a second, except where it is what is tested."""
    if "with_report" not in request.fixturenames:
        monkeypatch.setattr("lpbf_dataset.build.documents.report_html", lambda *_: "<!DOCTYPE html>\n")
        monkeypatch.setattr(build, "thumbnail_or_none", lambda: None)


@pytest.fixture
def with_report():
    """Write the whole report."""


@pytest.fixture(scope="module")
def folder(step2, tmp_path_factory):
    """Return a folder of eight copies of the real case, of four designs."""
    folder = tmp_path_factory.mktemp("cases")
    for index in range(8):
        case = folder / f"2016{index // 2}_3742f394_{index}"
        shutil.copytree(step2, case, copy_function=os.link)
    return folder


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    """Return a store of `folder` that no test changes."""
    store = tmp_path_factory.mktemp("built") / "s.zarr"
    assert exit_code(build.main, folder, "-o", store, "-q") == 0
    return store


@pytest.fixture
def files():
    """Return a function that reads every file of a folder."""

    def read(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


def one_line(capsys) -> str:
    """Return what was said on standard error, if that is one line for an error."""
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def archive(shared_data, tmp_path_factory):
    """Return a zip of two cases: step2 as it is, and one whose preparation failed."""
    path = tmp_path_factory.mktemp("archive") / "published.zip"
    case = shared_data / "netfabb" / "step2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(case.rglob("*")):
            if file.is_file():
                archive.write(file, f"SandBox/step2/{file.relative_to(case).as_posix()}")
        archive.writestr("SandBox/21477_babb9c34_4/thermal.in", "*TITLE\n")
    return path


def test_a_folder_of_cases_becomes_a_store(step2, tmp_path, capsys):
    store = tmp_path / "out" / "s.zarr"
    assert exit_code(build.main, step2.parent, "-o", store) == 0
    assert "kept 1 of 1 cases, 0 failed" in capsys.readouterr().out
    opened = xr.open_zarr(store)
    assert dict(opened["displacement"].sizes) == {"node": 3227, "xyz": 3}
    assert opened["displacement"].attrs["units"] == "mm"

    assert exit_code(info.main, store) == 0
    summary = capsys.readouterr().out
    assert "cases: 1 (1 train, 0 val, 0 test)" in summary
    assert "von_mises_stress" in summary


def test_a_failed_case_is_listed_and_the_others_are_kept(archive, tmp_path, capsys):
    store = tmp_path / "s.zarr"
    assert exit_code(build.main, archive, "-o", store, "-q") == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "failed: 21477_babb9c34_4" in streams.err
    assert "no_case_file" in streams.err
    assert lpbf.open_dataset(store).case_ids == ("step2",)


def test_a_zip_gives_the_same_store_as_its_unpacked_folder(archive, step2, tmp_path):
    zipped, unpacked = tmp_path / "zipped.zarr", tmp_path / "unpacked.zarr"
    exit_code(build.main, archive, "-o", zipped, "-q")
    exit_code(build.main, step2, "-o", unpacked, "-q")
    of_zip, of_folder = lpbf.open_dataset(zipped), lpbf.open_dataset(unpacked)
    for name in of_folder.variables:
        assert (getattr(of_zip[0], name) == getattr(of_folder[0], name)).all()
    hashes = [store.catalog().set_index("case_id")["content_hash"]["step2"] for store in (of_zip, of_folder)]
    assert hashes[0] == hashes[1]


def test_options_come_from_a_file_too(step2, tmp_path, capsys):
    assert exit_code(build.main, step2, "-o", tmp_path / "s.zarr", "--seed", "7", "--print_config") == 0
    config = tmp_path / "build.yaml"
    config.write_text(capsys.readouterr().out)
    assert exit_code(build.main, "--config", config) == 0
    store = lpbf.open_dataset(tmp_path / "s.zarr")
    assert store.attributes["build"]["seed"] == 7
    assert store.case_ids == ("step2",)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "nowhere"), (b"not a zip", "nowhere"), ("folder", "nowhere")],
    ids=["absent", "not an archive", "no case inside"],
)
def test_a_bad_source_is_one_line_and_nothing_is_written(content, message, tmp_path, capsys):
    source = tmp_path / "nowhere"
    if content == "folder":
        source.mkdir()
    elif content is not None:
        source.write_bytes(content)
    assert exit_code(build.main, source, "-o", tmp_path / "s.zarr") == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "s.zarr").exists()


def test_only_a_store_is_replaced(step2, tmp_path, capsys):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.tex").write_text("Introduction")
    assert exit_code(build.main, step2, "-o", precious) == 2
    assert "not an LPBF store" in capsys.readouterr().err
    assert (precious / "chapter1.tex").read_text() == "Introduction"


def test_a_store_with_history_is_told_from_one_without(step2, built, tmp_path, capsys):
    store = tmp_path / "s.zarr"
    assert exit_code(build.main, step2, "-o", store, "-q", "--steps", "all", "--rules", "none") == 0
    assert exit_code(info.main, store) == 0
    described = capsys.readouterr().out
    assert "history: 8 steps of 1 of 1 case (mean 8, most 8 a case): 3 deposited, 3 dwelt" in described
    assert "history_displacement" in described
    assert exit_code(info.main, built) == 0
    described = capsys.readouterr().out
    assert "history: none" in described
    assert "history_displacement" not in described
    # What is not there cannot be taken over.
    assert exit_code(build.main, built, "-o", tmp_path / "t.zarr", "-q", "--steps", "all") == 2
    assert "but wanted are" in capsys.readouterr().err


class TestRoundedHistory:
    def test_the_bound_is_told(self, step2, tmp_path, capsys):
        store = tmp_path / "s.zarr"
        arguments = ("--steps", "all", "--round-history", 10, "--rules", "none")
        assert exit_code(build.main, step2, "-o", store, "-q", *arguments) == 0
        told = "rounded to 10 of 23 bits, relative error at most 2^-11 (about 0.00049)"
        assert exit_code(info.main, store) == 0
        described = capsys.readouterr().out
        assert "history: 8 steps of 1 of 1 case (" in described
        assert f"; fields {told}\n" in described
        assert told in (store / "README.md").read_text()
        assert lpbf.open_dataset(store).attributes["build"]["round_history"] == 10
        assert exit_code(verify.main, store, "--deep", "-q") == 0
        # What is gone cannot be had.
        assert exit_code(build.main, store, "-o", tmp_path / "t.zarr", "-q", "--steps", "all") == 2
        assert "is rounded to 10 bits" in one_line(capsys)

    @pytest.mark.parametrize("arguments", [("--round_history", 10), ("--round_history", 0, "--steps", "all")])
    def test_bad_usage_is_one_line_before_anything_is_done(self, tmp_path, arguments, capsys, monkeypatch):
        monkeypatch.setattr(build, "run_simulations", lambda *_, **__: pytest.fail("simulated"))
        assert exit_code(build.main, "-o", tmp_path / "s.zarr", "--count", 1, *arguments) == 2
        assert "round_history" in one_line(capsys)


def test_no_store_to_describe(tmp_path, capsys):
    assert exit_code(info.main, tmp_path / "absent.zarr") == 2
    assert "absent.zarr" in capsys.readouterr().err
    shutil.copytree(tmp_path, tmp_path / "folder")
    assert exit_code(info.main, tmp_path / "folder") == 2


def test_unknown_option_is_bad_usage(capsys):
    assert exit_code(build.main, "--colour", "red") == 2
    assert "lpbf-build" in capsys.readouterr().err


def test_features_are_filled_into_a_store_that_lacks_them(tmp_path, make_store, capsys):
    store = make_store(tmp_path / "s.zarr")
    assert "sdf" not in lpbf.open_dataset(store).variables
    assert exit_code(build.main, "--recompute", "sdf", store) == 0
    assert "axis_distance" in capsys.readouterr().out
    opened = lpbf.open_dataset(store)
    assert opened[0].on_surface.all()
    np.testing.assert_array_equal(opened["b"].axis_distance[0], [0, 0, 0, 7, 1, 1])


@pytest.mark.parametrize("arguments", [["-o", "other.zarr", "s.zarr"], [], ["a.zarr", "b.zarr"], ["no.zarr"]])
def test_recompute_wants_one_store_in_place(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code(build.main, "--recompute", "sdf", *arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_build_without_a_target_is_refused(step2, capsys):
    assert exit_code(build.main, step2) == 2
    assert "-o STORE" in capsys.readouterr().err


def test_recomputed_distances_are_those_to_the_mesh(step2, tmp_path):
    store = tmp_path / "s.zarr"
    assert exit_code(build.main, step2, "-o", store, "-q", "--sdf-surface", "stl") == 0
    to_part = lpbf.open_dataset(store)[0].sdf
    assert exit_code(build.main, "--recompute", "sdf", store, "-q") == 0
    configuration = lpbf.open_dataset(store).attributes["build"]
    assert configuration["extraction"]["sdf_surface"] == configuration["sdf_surface"] == "mesh"
    # Nothing of it serves where distances to the part are wanted.
    assert exit_code(build.main, step2, "-o", store, "-q", "--sdf-surface", "stl") == 0
    np.testing.assert_array_equal(lpbf.open_dataset(store)[0].sdf, to_part)


def test_the_store_is_sound_and_alone(built):
    assert verify_store(built, deep=True) == []
    assert [path.name for path in built.parent.iterdir()] == ["s.zarr"]


def test_leakage_is_warned_of(folder, tmp_path, capsys):
    arguments = (folder, "-o", tmp_path / "s.zarr", "--split", "random", "--seed", "1")
    assert exit_code(build.main, *arguments) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "have a body of the same design in training" in warnings[0]
    assert "near-duplicate by shape" in warnings[1]
    assert exit_code(build.main, *arguments, "-q") == 0
    assert capsys.readouterr().err == ""


def test_a_dry_run_tells_and_writes_nothing(step2, tmp_path, capsys):
    assert exit_code(build.main, step2, "-o", tmp_path / "s.zarr", "--dry-run") == 0
    assert "s.zarr (dry run): kept 1 of 1 cases, 0 failed" in capsys.readouterr().out
    assert not (tmp_path / "s.zarr").exists()


def test_a_file_of_splits(folder, built, tmp_path, capsys):
    listed = tmp_path / "split.yaml"
    names = sorted(path.name for path in folder.iterdir())
    listed.write_text(f"test: ['{names[0]}']\ntrain: ['{names[1]}']\n")
    arguments = (built, "-o", tmp_path / "s.zarr", "--split-file", listed)
    assert exit_code(build.main, *arguments, "--split", "official") == 0
    assert lpbf.open_dataset(tmp_path / "s.zarr").test.case_ids == (names[0],)
    assert "warning: 6 cases are in no split of the list" in capsys.readouterr().err
    assert exit_code(build.main, *arguments) == 2
    assert "the split 'official' only" in one_line(capsys)


class TestEarlierStores:
    @pytest.fixture
    def rules(self, tmp_path):
        """Return a function that makes the file of a rule on the stress."""

        def make(maximum):
            path = tmp_path / "rules.yaml"
            path.write_text(f"max_von_mises_stress: {maximum}\n")
            return path

        return make

    @pytest.fixture
    def two_cases(self, step2, tmp_path):
        """Return a folder of the real case, and of the same with a tenth more stress."""
        folder = tmp_path / "cases"
        for name in ("real", "loud"):
            shutil.copytree(step2, folder / name)
        *_, last = sorted((folder / "loud" / "results").glob("*.svm.ens"))
        contents = last.read_bytes()
        # Three lines of 80 characters and the number of the part, then the values.
        louder = 1.1 * np.frombuffer(contents, "<f4", offset=244)
        last.write_bytes(contents[:244] + louder.astype("<f4").tobytes())
        return folder

    def test_other_rules_read_no_archive(self, two_cases, rules, tmp_path, capsys):
        old, new = tmp_path / "old.zarr", tmp_path / "new.zarr"
        assert exit_code(build.main, two_cases, "-o", old) == 0
        assert "kept 2 of 2 cases" in capsys.readouterr().out
        shutil.rmtree(two_cases)
        assert exit_code(build.main, old, "-o", new, "--rules", rules(1700)) == 0
        assert "kept 1 of 2 cases, 0 failed\n  1 rejected by max_von" in capsys.readouterr().out
        assert exit_code(build.main, new, "-o", tmp_path / "third.zarr", "--rules", rules(1600), "-q") == 2
        assert "kept 0 of 2 cases" in one_line(capsys)

    def test_what_is_not_stored_is_listed(self, two_cases, rules, tmp_path, capsys):
        old, new = tmp_path / "old.zarr", tmp_path / "new.zarr"
        assert exit_code(build.main, two_cases, "-o", old, "--rules", rules(1700), "-q") == 0
        assert capsys.readouterr().err == ""
        assert exit_code(build.main, old, "-o", new) == 1
        streams = capsys.readouterr()
        assert f"failed: loud at {two_cases / 'loud'}: not_stored: these rules keep it" in streams.err
        assert "kept 1 of 2 cases, 1 failed\n  1 failed: not_stored (the rules would keep them" in streams.out
        assert lpbf.open_dataset(new).case_ids == ("real",)
        assert (
            lpbf.open_dataset(new).catalog().set_index("case_id").loc["loud", "max_von_mises_stress"] > 1700
        )

    def test_the_splits_of_a_store_are_those_of_the_next(self, built, tmp_path, capsys):
        first, second, third = (tmp_path / f"{name}.zarr" for name in ("first", "second", "third"))
        assert exit_code(build.main, built, "-o", first, "-q", "--split", "random", "--seed", "1") == 0
        drawn = lpbf.open_dataset(first).case_table["split"]
        assert (drawn != lpbf.open_dataset(built).case_table["split"]).any()
        assert exit_code(build.main, first, "-o", second, "-q", "--split", "official") == 0
        assert lpbf.open_dataset(second).case_table["split"].equals(drawn)
        # Of two that name a case the first counts.
        assert exit_code(build.main, second, built, "-o", third, "-q", "--split", "official") == 1
        assert lpbf.open_dataset(third).case_table["split"].equals(drawn)

    def test_a_file_of_splits_counts_more_than_those_of_a_store(self, built, tmp_path):
        store, listed = tmp_path / "s.zarr", tmp_path / "split.yaml"
        names = lpbf.open_dataset(built).case_ids
        listed.write_text(yaml.safe_dump({"test": list(names[:-1]), "train": [names[-1]]}))
        arguments = ("--split", "official", "--split-file", listed)
        assert exit_code(build.main, built, "-o", store, "-q", *arguments) == 0
        assert lpbf.open_dataset(store).train.case_ids == names[-1:]

    def test_one_that_was_built_otherwise_is_one_line(self, built, tmp_path, capsys):
        assert exit_code(build.main, built, "-o", tmp_path / "s.zarr", "--sdf-surface", "stl") == 2
        assert "build from the raw results" in one_line(capsys)

    def test_one_that_was_being_replaced_when_its_process_was_killed(self, built, tmp_path):
        store = tmp_path / "s.zarr"
        shutil.copytree(built, tmp_path / ".s.zarr.replaced")
        assert exit_code(build.main, store, "-o", store, "-q", "--seed", "5") == 0
        assert lpbf.open_dataset(store).attributes["build"]["seed"] == 5
        assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_a_full_disk_is_one_line(step2, tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lpbf_dataset.build.pipeline.write_manifest", refuse)
    assert exit_code(build.main, step2, "-o", tmp_path / "s.zarr", "-q") == 2
    assert "No space left on device" in one_line(capsys)


def test_an_interruption_is_no_traceback(step2, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lpbf_dataset.build.pipeline.write_manifest", interrupt)
    assert exit_code(build.main, step2, "-o", tmp_path / "s.zarr", "-q") == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".s.zarr.cases"]


class TestReport:
    def test_pictures_where_something_can_draw(self, step2, tmp_path, with_report):
        pytest.importorskip("pyvista")
        assert exit_code(build.main, step2, "-o", tmp_path / "s.zarr", "-q") == 0
        report = (tmp_path / "s.zarr" / "report.html").read_text()
        assert "data:image/png;base64,iVBOR" in report

    def test_none_without_the_extra(self, step2, tmp_path, with_report, monkeypatch):
        for module in [name for name in sys.modules if name.startswith(("viz", "pyvista"))]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "pyvista", None)
        assert exit_code(build.main, step2, "-o", tmp_path / "s.zarr", "-q") == 0
        report = (tmp_path / "s.zarr" / "report.html").read_text()
        assert "data:image/png" not in report
        assert "max_von_mises_stress" in report


class TestRemote:
    @pytest.fixture
    def url(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield "memory://bucket/s.zarr"
        filesystem = fsspec.filesystem("memory")
        if filesystem.exists("/bucket"):
            filesystem.rm("/bucket", recursive=True)

    def test_only_what_was_here_is_left(self, built, url, tmp_path):
        mine = tmp_path / "s.zarr"
        mine.mkdir()
        assert exit_code(build.main, built, "-o", url, "-q") == 0
        assert len(lpbf.open_dataset(url)) == 8
        assert list(tmp_path.iterdir()) == [mine]
        assert list(mine.iterdir()) == []

    def test_a_dry_run_uploads_nothing(self, step2, url):
        assert exit_code(build.main, step2, "-o", url, "-q", "--dry-run") == 0
        assert not fsspec.filesystem("memory").find("/bucket")

    def test_a_store_at_a_url_is_a_source(self, built, url, tmp_path, files):
        publish(built, url)
        assert exit_code(build.main, built, "-o", "of_path.zarr", "-q") == 0
        assert exit_code(build.main, url, "-o", "of_url.zarr", "-q") == 0
        assert files(tmp_path / "of_url.zarr") == files(tmp_path / "of_path.zarr")
        copies = tmp_path / "of_url.downloads"
        assert [copy.name for copy in copies.iterdir()] == ["memory--bucket--s.zarr"]

    def test_it_is_downloaded_again_when_it_is_another(self, built, url, tmp_path, monkeypatch):
        arguments = (url, "-o", "new.zarr", "-q", "--split", "official")
        publish(built, url)
        assert exit_code(build.main, *arguments) == 0
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.sources.fetch", self.refuse)
            assert exit_code(build.main, *arguments) == 0
        assert exit_code(build.main, built, "-o", url, "-q", "--seed", "9", "--split", "random") == 0
        assert exit_code(build.main, *arguments) == 0
        splits = [
            lpbf.open_dataset(store).case_table["split"] for store in (url, tmp_path / "new.zarr", built)
        ]
        assert splits[0].equals(splits[1])
        assert not splits[0].equals(splits[2])

    def test_nothing_at_a_url_is_one_line(self, url, tmp_path, capsys):
        assert exit_code(build.main, url, "-o", "new.zarr", "-q") == 2
        assert f"there is no Zarr store at {url}" in one_line(capsys)
        assert exit_code(build.main, "nowhere://s.zarr", "-o", "new.zarr", "-q") == 2
        assert "cannot open nowhere://s.zarr: Protocol not known: nowhere" in one_line(capsys)
        assert list(tmp_path.iterdir()) == []

    def test_a_store_on_the_hub_is_told_from_a_release(self, built, url, tmp_path, monkeypatch):
        monkeypatch.setattr(HubRepo, "url", f"{url}/")
        monkeypatch.setattr("pipelines.sources.resolve_source", lambda *_: tmp_path / "release")
        with pytest.raises(SourceError, match="release: no such file"):
            find_sources(["hf://someone/parts"], tmp_path / "downloads")
        publish(built, url)
        (source,) = find_sources(["hf://someone/parts"], tmp_path / "downloads", quiet=True).results
        assert len(list(source.cases())) == 8

    def test_an_upload_that_fails_goes_on(self, built, url, tmp_path, capsys, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(type(fsspec.filesystem("memory")), "put_file", self.refuse)
            assert exit_code(build.main, built, "-o", url, "-q") == 2
        assert "cannot upload s.zarr.upload to memory://bucket/s.zarr" in one_line(capsys)
        assert len(lpbf.open_dataset(tmp_path / "s.zarr.upload")) == 8
        assert exit_code(build.main, built, "-o", url, "-q") == 0
        assert len(lpbf.open_dataset(url)) == 8
        assert list(tmp_path.iterdir()) == []

    @staticmethod
    def refuse(*_, **__):
        raise OSError("the network is down")

    @pytest.mark.slow
    def test_object_storage(self, built, tmp_path, monkeypatch):
        pytest.importorskip("s3fs")
        moto = pytest.importorskip("moto.server")
        server = moto.ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(
            conf, "s3", {"endpoint_url": f"http://{host}:{port}", "key": "key", "secret": "secret"}
        )
        fsspec.filesystem("s3").mkdir("of-the-command")
        assert exit_code(build.main, built, "-o", "s3://of-the-command/stores/s.zarr", "-q") == 0
        assert len(lpbf.open_dataset("s3://of-the-command/stores/s.zarr")) == 8
        assert list(tmp_path.iterdir()) == []
        assert exit_code(build.main, "s3://of-the-command/stores/s.zarr", "-o", "copy.zarr", "-q") == 0
        copied, expected = lpbf.open_dataset("copy.zarr"), lpbf.open_dataset(built)
        assert copied.case_table.equals(expected.case_table)
        np.testing.assert_array_equal(copied[-1].displacement, expected[-1].displacement)
        server.stop()
