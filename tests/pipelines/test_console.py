from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass

import pytest
from jsonargparse import ArgumentParser, Namespace

from lpbf_dataset.sources.base import SourceError
from lpbf_dataset.store.layout import StoreError
from pipelines import console


@dataclass(frozen=True)
class Oven:
    """An oven.

    Parameters
    ----------
    temperature : float
        degC.
    gas : str
        Filling.
    """

    temperature: float = 20.0
    gas: str = "air"


def outcome(error, capsys):
    def run(arguments):
        raise error

    with pytest.raises(SystemExit) as stopped:
        console.run_command(run, [])
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        console.UserError("bad x"),
        StoreError("bad x"),
        SourceError("bad x"),
        PermissionError(13, "bad x"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(error, capsys):
    code, err = outcome(error, capsys)
    assert code == 2
    assert err.startswith("error: ")
    assert "bad x" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug"), UnicodeError("bug")])
def test_a_bug_keeps_its_traceback(error):
    def run(arguments):
        raise error

    with pytest.raises(type(error)):
        console.run_command(run, [])


def test_interruption(capsys):
    assert outcome(KeyboardInterrupt(), capsys) == (130, "interrupted\n")


@pytest.mark.parametrize("code", [0, 1])
def test_the_code_of_the_command_is_the_exit_code(code):
    with pytest.raises(SystemExit) as stopped:
        console.run_command(lambda arguments: code, [])
    assert stopped.value.code == code


def test_arguments_are_handed_over():
    seen = []
    with pytest.raises(SystemExit):
        console.run_command(lambda arguments: seen.append(arguments) or 0, ["a"])
    assert seen == [["a"]]


def test_a_reader_that_goes_away_is_no_error():
    program = (
        "from pipelines.console import run_command\n"
        "def run(arguments):\n"
        "    for line in range(100_000):\n"
        "        print(line)\n"
        "    return 0\n"
        "run_command(run)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == console.EXIT_BROKEN_PIPE
    process.stderr.close()


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        (["--layer-thickness", "0.03"], ["--layer_thickness", "0.03"]),
        (["--scale-to=-1", "a-part.stl"], ["--scale_to=-1", "a-part.stl"]),
        (["--model.num-heads=2", "-o", "out-dir"], ["--model.num_heads=2", "-o", "out-dir"]),
        (["--config=my-file.yaml", "--", "-x"], ["--config=my-file.yaml", "--", "-x"]),
    ],
)
def test_options_may_be_typed_with_hyphens(typed, spelled):
    assert console.with_underscores(typed) == spelled


@pytest.mark.parametrize(
    ("quiet", "verbose", "shown"),
    [
        (False, False, {"lpbf_dataset.a WARNING", "other WARNING"}),
        (True, False, {"other WARNING"}),
        (
            False,
            True,
            {f"lpbf_dataset.a {level}" for level in ("DEBUG", "WARNING")}
            | {"other WARNING", "distributed.a INFO"},
        ),
    ],
)
def test_log_records_are_shown_as_asked_for(quiet, verbose, shown, capsys):
    console.set_verbosity(Namespace(quiet=quiet, verbose=verbose))
    logging.getLogger("distributed").setLevel(logging.INFO)  # as Dask does
    for name, level in (
        ("lpbf_dataset.a", "DEBUG"),
        ("lpbf_dataset.a", "WARNING"),
        ("other", "DEBUG"),
        ("other", "WARNING"),
        ("distributed.a", "INFO"),
    ):
        logging.getLogger(name).log(getattr(logging, level), "%s %s", name, level)
    assert {line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()} == shown


@pytest.mark.parametrize(
    ("skipped", "arguments", "oven"),
    [
        (set(), ["--shelf=3"], Oven()),
        (set(), ["--shelf=3", "--temperature=90", "--gas=argon"], Oven(90.0, "argon")),
        ({"gas"}, ["--shelf=3", "--temperature=90"], Oven(90.0)),
    ],
)
def test_options_become_a_dataclass(skipped, arguments, oven):
    parser = ArgumentParser()
    parser.add_argument("--shelf", type=int)
    parser.add_class_arguments(Oven, skip=skipped)
    parser.add_class_arguments(Oven, "second")
    options = parser.parse_args([*arguments, "--second.gas=helium"])
    assert console.from_options(Oven, options) == oven
    assert console.from_options(Oven, options.second) == Oven(gas="helium")


@pytest.mark.parametrize(
    ("command", "blocked", "arguments", "extra"),
    [
        ("train", "torch", ["flare", "--data", "s", "-o", "r"], "train"),
        ("view", "pyvista", ["s.zarr", "--screenshot", "a.png"], "viz"),
        ("build", "manifold3d", ["-o", "out.zarr"], "solver"),
    ],
)
def test_a_missing_package_names_its_extra(command, blocked, arguments, extra, tmp_path):
    (tmp_path / "s.zarr").mkdir()
    program = (
        f"import sys; sys.modules[{blocked!r}] = None\n"
        f"from pipelines import {command}\n"
        f"{command}.main({arguments!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'lpbf-toolkit[{extra}]'")


def test_netfabb_results_need_no_optional_package(step2, tmp_path):
    blocked = ["torch", "pyvista", "vtk", "distributed", "networkx", "manifold3d", "lightning"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        f"from pipelines import build; build.main([{str(step2)!r}, '-o', 's.zarr', '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
