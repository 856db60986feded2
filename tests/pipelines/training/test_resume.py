"""Training that is killed goes on as if nothing had happened; damaged checkpoints are passed over."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import lpbf_dataset as lpbf
from pipelines.runs.checkpoint import (
    AtomicCheckpointIO,
    Description,
    RunError,
    load_checkpoint,
    newest_checkpoint,
)
from pipelines.runs.scaling import Scaling
from pipelines.training.data import Samples, training_loader
from pipelines.training.epoch_mean import EpochMean
from pipelines.training.module import Surrogate

ROOT = Path(__file__).parents[3]
SMALL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_slices=4")


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start ``lpbf-train`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.train", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def history(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


def kill_after_a_while(process: subprocess.Popen[str], checkpoint: Path, seconds: float) -> None:
    """Kill a training some time after it has written its first checkpoint."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
    while process.poll() is None:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
            break
        time.sleep(0.01)
    time.sleep(seconds)
    assert process.poll() is None, "it was over before it was killed"
    process.kill()
    process.communicate(timeout=60)


def assert_same_state(got: object, expected: object) -> None:
    """Nested dicts and lists, tensors bit by bit; what clocks gave may differ."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(got, expected)
    elif isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for name in expected.keys() - {"seconds"}:
            assert_same_state(got[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same_state(one, other)
    else:
        assert got == expected


FLARE = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def interrupt(monkeypatch, epoch, batch, error):
    """Raise an error before a step, once."""
    step = Surrogate.training_step

    def training_step(self, data, index):
        if self.current_epoch == epoch and index == batch:
            monkeypatch.setattr(Surrogate, "training_step", step)
            raise error
        return step(self, data, index)

    monkeypatch.setattr(Surrogate, "training_step", training_step)


@pytest.mark.parametrize(
    ("epoch", "batch", "options"),
    [
        (2, 1, ()),
        (2, 1, ("--checkpoint_minutes=1e9",)),
        (2, 0, ("--batch_size=2",)),
        (1, 3, ("--accumulate=2",)),
        (1, 2, ("--accumulate=2", "--max_steps=6")),
        (2, 0, ("--max_steps=11",)),
        (2, 2, ("--max_steps=11", "--schedule=cosine", "--optimizer=muon")),
    ],
)
def test_an_interrupted_training_equals_an_uninterrupted_one(
    epoch, batch, options, command, make_store, tmp_path, monkeypatch
):
    store = make_store(tmp_path / "s.zarr", dict.fromkeys("abcd", "train") | {"e": "val"})
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    recipe = ("--checkpoint_minutes=0", "--epochs=4", "--ema_decay=0.9", "-q", *FLARE, *options)
    arguments = ("flare", f"--data={store}", *recipe)
    assert command(*arguments, "-o", straight).code == 0

    interrupt(monkeypatch, epoch, batch, KeyboardInterrupt())
    outcome = command(*arguments, "-o", resumed)
    assert outcome.code == 1
    assert "interrupted; go on from the last checkpoint" in outcome.err
    assert f"lpbf-train flare -o {resumed} --resume" in outcome.err
    assert len(history(resumed)) == epoch
    torch.manual_seed(999)
    assert command("flare", "-o", resumed, "--resume", "-q") == (0, "", "")
    assert_same_run(resumed, straight)


def assert_same_run(run: Path, expected: Path) -> None:
    """Losses, weights, averages, optimiser and schedule, bit by bit."""
    assert history(run) == history(expected)
    got, wanted = (load_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (run, expected))
    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
        assert_same_state(got[part], wanted[part])


def test_an_interruption_before_the_first_checkpoint(command, store, tmp_path, monkeypatch):
    run = tmp_path / "run"
    interrupt(monkeypatch, 0, 0, KeyboardInterrupt())
    outcome = command("flare", f"--data={store}", "-o", run, "--epochs=1", "-q", *FLARE)
    assert outcome.code == 1
    assert "there is no checkpoint yet" in outcome.err
    assert command("flare", "-o", run, "--resume", "-q").code == 0
    assert len(history(run)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("bars", ("--epochs=40", "--batch_size=1")),
        (
            "builds",
            ("--epochs=20", "--batch_size=2", "--task=next-step", "--state_noise=0.1", "--pushforward"),
        ),
    ],
)
def test_a_killed_training_equals_an_uninterrupted_one(data, options, make_store, builds, tmp_path):
    """Bit for bit, for a model that draws random numbers; killed at any time, while writing too."""
    splits = dict.fromkeys("abcd", "train") | {"e": "val"}
    store = builds if data == "builds" else make_store(tmp_path / "s.zarr", splits)
    recipe = ("--ema_decay=0.9", "--checkpoint_minutes=0", "-q", *options)
    arguments = ("transolver++", f"--data={store}", *recipe, *SMALL)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    uninterrupted = start(*arguments, "-o", straight)

    checkpoint = killed / "checkpoints" / "last.ckpt"
    command, within_epochs, kills = arguments, 0, 0
    # At least twice, and at least once within an epoch, which chance grants soon.
    while kills < 2 or not within_epochs:
        kill_after_a_while(
            start(*command, "-o", killed), checkpoint, np.random.default_rng().uniform(0.0, 0.4)
        )
        path, _ = newest_checkpoint(killed)
        within_epochs += load_checkpoint(path)["callbacks"]["Checkpoints"]["batches_done"] > 0
        command, kills = ("transolver++", "--resume", "-q"), kills + 1
    finish(start(*command, "-o", killed))
    finish(uninterrupted)

    assert_same_run(killed, straight)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_epoch_begins_where_it_is_told(num_workers, store):
    dataset = lpbf.open_dataset(store)
    scaling = Scaling.of_store(dataset, ("displacement_z",), (30.0, 30.0, 60.0))
    loader = training_loader(
        Samples(dataset, Description("flare", {}, scaling)),
        batch_size=2,
        seed=0,
        num_workers=num_workers,
        rank=0,
        ranks=1,
    )

    def order(epoch: int) -> list[tuple[str, ...]]:
        batches = iter(loader)
        # As the trainer does when it resumes.
        loader.batch_sampler.set_epoch(epoch)
        return [batch.case_ids for batch in batches]

    whole = order(3)
    order(0)
    loader.batch_sampler.start_at(2)
    assert len(loader) == len(whole) == 3
    assert order(3) == whole[2:]
    assert len(order(4)) == 3


def test_the_mean_of_an_epoch_goes_on():
    losses = [torch.tensor([0.1, 0.7]), torch.tensor([0.3]), torch.tensor([0.9, 0.2])]
    straight, resumed = EpochMean(), EpochMean()
    for loss_B in losses:
        straight.update(loss_B)
    resumed.update(losses[0])
    state = resumed.state()
    resumed.reset()
    resumed.restore(state)
    for loss_B in losses[1:]:
        resumed.update(loss_B)
    assert resumed.mean() == straight.mean()
    assert float(straight.mean()) == pytest.approx(torch.cat(losses).mean())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip_a_bit_of_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    weight = max(load_checkpoint(path)["state_dict"].values(), key=torch.numel)
    content[content.index(weight.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    """As it is for an instant while it is replaced."""
    path.unlink()


@pytest.fixture
def unfinished(copied):
    (copied / "metrics.json").unlink()
    return copied


def test_a_run_older_than_an_option_goes_on(unfinished, command):
    """What its configuration does not tell is the default; anything else is another training."""
    path = unfinished / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for name in ("task", "increments", "across_removal", "state_noise", "pushforward", "betas"):
        del config[name]
    path.write_text(yaml.safe_dump(config))
    refused = command("flare", "-o", unfinished, "--resume", "--betas", "0.5", "0.9")
    assert refused.code == 2
    assert "betas is [0.5, 0.9], not [0.9, 0.999]" in refused.err
    assert command("flare", "-o", unfinished, "--resume", "-q") == (0, "", "")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit_of_a_weight, empty, remove])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage, unfinished, finished, command):
    damage(unfinished / "checkpoints" / "last.ckpt")
    outcome = command("flare", "-o", unfinished, "--resume", "-q")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: ")
    assert "last.ckpt" in outcome.err
    assert f"going on from {unfinished / 'checkpoints' / 'previous.ckpt'}" in outcome.err
    assert outcome.err.count("\n") == 1
    assert history(unfinished) == history(finished)


def test_no_checkpoint_is_whole(unfinished, command):
    for name in ("last.ckpt", "previous.ckpt"):
        truncate(unfinished / "checkpoints" / name)
    outcome = command("flare", "-o", unfinished, "--resume")
    assert outcome.code == 2
    assert "last.ckpt is damaged" in outcome.err
    assert "previous.ckpt is damaged" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_flipped_bit_is_found(copied):
    path = copied / "checkpoints" / "best.ckpt"
    flip_a_bit_of_a_weight(path)
    torch.load(path, weights_only=True)
    with pytest.raises(RunError, match="damaged"):
        load_checkpoint(path)


def test_one_checkpoint_is_whole_whenever_writing_stops(tmp_path, monkeypatch):
    """Stopped before each change of a name, in turn."""
    last, previous = (tmp_path / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt"))
    writer = AtomicCheckpointIO()
    for step in range(2):
        writer.save_checkpoint({"step": step}, last)
    replace = Path.replace
    for allowed in (0, 1):
        left = [allowed]

        def stop(self, target, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", stop)
            with pytest.raises(KeyboardInterrupt):
                writer.save_checkpoint({"step": 2}, last)
        whole = [torch.load(path)["step"] for path in (last, previous) if path.exists()]
        assert max(whole) == 1
