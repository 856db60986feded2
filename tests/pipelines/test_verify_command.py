from __future__ import annotations

import json
import shutil

import pytest

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.store.manifest import MANIFEST
from pipelines import verify


@pytest.fixture(scope="module")
def sound(step2, tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "s.zarr"
    build_store([NetfabbSource(step2)], path, BuildOptions())
    return path


@pytest.fixture
def store(sound, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(sound, tmp_path / "s.zarr")


@pytest.fixture
def command(capsys):
    """``lpbf-verify`` in this process: exit code, standard output and error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            verify.main([str(argument) for argument in arguments])
        return (stopped.value.code or 0, *capsys.readouterr())

    return run


def test_a_sound_store(sound, command):
    assert command(sound) == (0, f"{sound}: no problem found; --deep checks every value, too\n", "")
    code, out, err = command(sound, "--deep")
    assert (code, out) == (0, f"{sound}: no problem found\n")
    assert "files: 100%" in err
    assert "cases: 100%" in err
    assert command(sound, "--deep", "-q") == (0, "", "")


def test_a_problem_is_one_line_with_its_code_place_and_remedy(store, command):
    (store / "points" / "c" / "0" / "0").unlink()
    code, out, err = command(store)
    assert (code, err) == (1, "")
    first, second, last = out.splitlines()
    assert first.startswith("missing_file: points/c/0/0: file of ")
    assert first.endswith("bytes is missing; copy the store again, or build it again")
    assert second.startswith("missing_chunk: points/c/0/0: ")
    assert last == f"{store}: 2 problems found"


def test_many_problems_of_a_kind_are_counted(store, command):
    for index in range(12):
        (store / f"note_{index}").write_text("")
    lines = command(store)[1].splitlines()
    assert len(lines) == 12
    assert lines[10] == "unexpected_file: 2 more; -v shows all"
    assert len(command(store, "-v")[1].splitlines()) == 13


def test_json(store, command):
    path = store / "displacement" / "c" / "0" / "0"
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    code, out, _ = command(store, "--deep", "--json", "-q")
    result = json.loads(out)
    assert code == 1
    assert (result["store"], result["deep"], result["ok"]) == (str(store), True, False)
    assert result["counts"]["checksum_mismatch"] == 1
    (problem,) = (p for p in result["problems"] if p["code"] == "checksum_mismatch")
    assert problem["where"] == "displacement/c/0/0"
    assert problem["level"] == "error"
    assert set(problem) == {"code", "level", "where", "message", "remedy"}


def test_a_store_of_an_earlier_version_passes_with_a_warning(store, command):
    (store / MANIFEST).unlink()
    code, out, _ = command(store)
    assert code == 0
    assert out.startswith(f"warning: no_manifest: {MANIFEST}: ")
    assert "no problem found" in out
    code, out, _ = command(store, "--json")
    assert json.loads(out)["ok"]


@pytest.mark.parametrize("kind", ["absent", "folder", "file"])
def test_what_is_no_store(tmp_path, command, kind):
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
    if kind == "file":
        path.write_text("solid")
    code, out, err = command(path)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "thing" in err


def test_an_unknown_option_is_bad_usage(sound, command):
    assert command(sound, "--colour")[0] == 2
