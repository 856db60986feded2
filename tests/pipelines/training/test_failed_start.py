"""What a training or a fit leaves that cannot begin, or runs out of memory."""

from __future__ import annotations

import pytest
import torch

from pipelines.runs.folder import discard_run_folder
from pipelines.training import fit
from pipelines.training.memory import is_out_of_memory
from pipelines.training.module import Surrogate

SMALL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def allocate_too_much() -> None:
    torch.empty(1 << 60)


def raise_as_cuda_does() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def raise_as_numpy_does() -> None:
    raise MemoryError("Unable to allocate 8.00 EiB")


def fail_in_epoch(monkeypatch, epoch, fail):
    step = Surrogate.training_step

    def training_step(self, batch, index):
        if self.current_epoch == epoch:
            fail()
        return step(self, batch, index)

    monkeypatch.setattr(Surrogate, "training_step", training_step)


@pytest.mark.parametrize("fail", [allocate_too_much, raise_as_cuda_does, raise_as_numpy_does])
def test_too_little_memory_names_what_to_turn(fail, command, store, tmp_path, monkeypatch):
    run = tmp_path / "run"
    fail_in_epoch(monkeypatch, 0, fail)
    outcome = command("flare", f"--data={store}", "-o", run, "--batch_size=2", "-q", *SMALL)
    assert outcome.code == 2
    assert outcome.err.startswith("error: too little memory on cpu")
    assert "--batch_size" in outcome.err
    assert "--precision bf16-mixed" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not run.exists()


def test_options_that_are_turned_already_are_not_named(command, store, tmp_path, monkeypatch):
    fail_in_epoch(monkeypatch, 0, raise_as_cuda_does)
    options = ("--batch_size=1", "--precision=bf16-mixed", "--model.recompute=true", "-q")
    outcome = command("meshgraphnet", f"--data={store}", "-o", tmp_path / "run", *options)
    assert outcome.code == 2
    assert not any(name in outcome.err for name in ("--batch_size", "--precision", "recompute"))


def test_what_was_trained_before_the_memory_ran_out_is_kept(command, store, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        fail_in_epoch(patch, 1, raise_as_cuda_does)
        assert command("flare", f"--data={store}", "-o", run, "--epochs=2", "-q", *SMALL).code == 2
    assert command("flare", "-o", run, "--resume", "-q").code == 0


def test_other_errors_are_no_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_start_that_fails_does_not_block_the_next(command, store, tmp_path, monkeypatch):
    run = tmp_path / "run"
    arguments = ("flare", f"--data={store}", "-o", run, "--epochs=1", "-q", *SMALL)

    def fail() -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        fail_in_epoch(patch, 0, fail)
        with pytest.raises(RuntimeError, match="a bug"):
            command(*arguments)
    assert not run.exists()
    assert command(*arguments).code == 0


def test_a_fit_that_fails_does_not_block_the_next(command, store, tmp_path, monkeypatch):
    run = tmp_path / "run"
    arguments = ("mean_field", f"--data={store}", "-o", run, "-q")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(fit, "sample_nodes", fail)
        with pytest.raises(MemoryError):
            command(*arguments)
    assert not run.exists()
    assert command(*arguments).code == 0


def test_what_a_linked_folder_holds_is_discarded_and_the_link_kept(tmp_path):
    (tmp_path / "real" / "checkpoints").mkdir(parents=True)
    (tmp_path / "real" / "config.yaml").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    discard_run_folder(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir() if any(path.iterdir())] == []
    assert (tmp_path / "link").is_symlink()
