"""A training gives the same weights, bit for bit, when it is repeated on a CPU."""

from __future__ import annotations

import pytest
import torch

TINY = ("--recipe=tiny", "--min_steps=0", "--epochs=2", "--batch_size=2", "-q")


@pytest.fixture
def weights(command, store, tmp_path):
    def train(name, *options):
        run = tmp_path / name
        assert command(*options, f"--data={store}", "-o", run, *TINY) == (0, "", "")
        checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        return {part: checkpoint[part] for part in ("state_dict", "current_model_state")}

    return train


def bits(state):
    return {name: value.numpy().tobytes() for part in state.values() for name, value in part.items()}


# Attention, messages along edges, and a draw of random numbers in each step.
@pytest.mark.parametrize("model", ["flare", "meshgraphnet", "transolver++"])
def test_repeated(model, weights):
    first = weights("first", model)
    torch.manual_seed(999)
    assert bits(weights("second", model)) == bits(first)
    assert bits(weights("other", model, "--seed=1")) != bits(first)


def test_with_readers_in_processes(weights):
    options = ("flare", "--optimizer=muon", "--accumulate=2")
    assert bits(weights("none", *options)) == bits(weights("one", *options, "--num_workers=1"))
