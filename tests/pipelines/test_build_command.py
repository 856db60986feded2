from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
import xarray as xr

import lpbf_dataset as lpbf
from pipelines import build, info


def exit_code(main, *arguments) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


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
    assert lpbf.open_dataset(tmp_path / "s.zarr").attributes["build"]["seed"] == 7


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
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "s.zarr").exists()


def test_only_a_store_is_replaced(step2, tmp_path, capsys):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.tex").write_text("Introduction")
    assert exit_code(build.main, step2, "-o", precious) == 2
    assert "not an LPBF store" in capsys.readouterr().err
    assert (precious / "chapter1.tex").read_text() == "Introduction"


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
