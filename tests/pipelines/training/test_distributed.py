"""Two gloo processes train as one does with the same cases in each step."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
MODULE = ("-m", "pipelines.train")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *MODULE)
SMALL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")
# The three validation cases are shared out unevenly.
SPLITS = dict.fromkeys("abcd", "train") | dict.fromkeys("efg", "val")

pytestmark = pytest.mark.slow


def train(*arguments: object, launcher: tuple[str, ...] = MODULE) -> subprocess.CompletedProcess[str]:
    """Run ``lpbf-train`` in processes of one thread each that find one another by the loopback device."""
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def history(run: Path) -> pd.DataFrame:
    with (run / "metrics.csv").open() as file:
        return pd.DataFrame(csv.DictReader(file)).astype(float).drop(columns="seconds")


def assert_same_history(run: Path, expected: Path) -> None:
    pd.testing.assert_frame_equal(history(run), history(expected), rtol=1e-5)


in_two_processes = pytest.mark.parametrize(
    ("launcher", "options"),
    [
        (MODULE, ("--devices=2", "--batch_size=1")),
        (TORCHRUN, ("--batch_size=1",)),
        (MODULE, ("--devices=2", "--batch_size=2", "--shard_nodes=2")),
    ],
    ids=["lightning", "torchrun", "shared nodes"],
)


@pytest.fixture(scope="module")
def shared_store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("distributed") / "s.zarr", SPLITS)


@pytest.fixture(scope="module")
def arguments(shared_store):
    return ("flare", f"--data={shared_store}", "--epochs=3", "--ema_decay=0.5", "--accelerator=cpu", *SMALL)


@pytest.fixture(scope="module")
def of_steps(builds):
    """Return arguments of a training on the steps of builds, each from what the model predicts before it."""
    task = ("--task=next-step", "--pushforward", "--state_noise=0.1")
    options = ("--epochs=2", "--ema_decay=0.5", "--accelerator=cpu", "--examples=0", *SMALL)
    return ("flare", f"--data={builds}", "--targets", "displacement_z", "von_mises_stress", *task, *options)


def train_alone(arguments, tmp_path_factory):
    """Return the run of one process, two cases a step."""
    run = tmp_path_factory.mktemp("alone") / "run"
    done = train(*arguments, "-o", run, "--batch_size=2", "-q")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def alone(arguments, tmp_path_factory):
    return train_alone(arguments, tmp_path_factory)


@pytest.fixture(scope="module")
def steps_alone(of_steps, tmp_path_factory):
    return train_alone(of_steps, tmp_path_factory)


@in_two_processes
def test_the_loss_curve_of_two_processes_is_that_of_one(launcher, options, arguments, alone, tmp_path):
    run = tmp_path / "run"
    done = train(*arguments, "-o", run, *options, launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert_same_history(run, alone)
    # One process alone has said what it does, and scored every case.
    assert done.stdout.count("model    flare") == 1
    assert done.stdout.count("displacement_z [mm]") == 2
    scores = [pd.read_parquet(folder / "case_metrics.parquet") for folder in (run, alone)]
    assert list(scores[0]["case_id"]) == list("abcdefg")
    pd.testing.assert_series_equal(*(score["relative_l2"] for score in scores), rtol=1e-4)


@in_two_processes
def test_two_processes_learn_steps_as_one_does(launcher, options, of_steps, steps_alone, tmp_path):
    run = tmp_path / "run"
    done = train(*of_steps, "-o", run, *options, "-q", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert_same_history(run, steps_alone)
    scores = [pd.read_parquet(folder / "case_metrics.parquet") for folder in (run, steps_alone)]
    pd.testing.assert_series_equal(*(score["relative_l2"] for score in scores), rtol=1e-3)


def test_batches_of_different_numbers_of_cases_weigh_all_cases_alike(arguments, command, tmp_path):
    """Three cases on one process, the fourth on the other."""
    run, expected = tmp_path / "run", tmp_path / "expected"
    done = train(*arguments, "-o", run, "-q", "--devices=2", "--node_budget=96")
    assert done.returncode == 0, done.stderr
    assert command(*arguments, "-o", expected, "-q", "--node_budget=128").code == 0
    assert list(history(run)["step"]) == [1, 2, 3]
    assert_same_history(run, expected)


@pytest.mark.parametrize("launcher", [MODULE, TORCHRUN], ids=["lightning", "torchrun"])
def test_a_mistake_ends_all_processes_with_one_line(launcher, arguments, alone):
    options = ("--devices=2",) if launcher is MODULE else ()
    done = train(*arguments, "-o", alone, *options, launcher=launcher)
    assert done.returncode == (2 if launcher is MODULE else 1)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {alone} exists; go on with it by --resume, or choose another folder by -o"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("flare", "--devices=3", "--shard_nodes=2"),
            "--shard_nodes 2 does not divide the number of devices, 3",
        ),
        (("pointnet", "--devices=2", "--shard_nodes=2"), "pointnet cannot share the nodes of a case; flare"),
        (("flare", "--devices=5"), "5 devices: there are only 4 training cases"),
        (("transolver", "--devices=2", "--shard_nodes=2", "--task=next-step"), "transolver cannot share"),
    ],
)
def test_processes_that_do_not_fit(options, message, command, shared_store, tmp_path):
    outcome = command(*options, f"--data={shared_store}", "-o", tmp_path / "run", "--accelerator=cpu")
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "run").exists()
